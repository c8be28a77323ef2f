"""Which protocols may be compared, those of earlier versions among them."""

import hashlib
import json
from dataclasses import replace

from rankwatch.readings.protocol import Protocol
from rankwatch.runtime.plain_data import from_plain, to_plain

NORM = Protocol("music", "frame", 512, 4, 768, None, tap="norm")
OLD = {name: value for name, value in to_plain(NORM).items() if name != "tap"}
"""As it was recorded before there were taps."""


def test_a_record_without_a_tap_says_that_it_is_unknown_under_the_id_that_it_had():
    protocol = from_plain(Protocol, OLD)
    assert protocol.tap == "unknown"
    assert protocol.id == hashlib.sha256(json.dumps(OLD, sort_keys=True).encode()).hexdigest()[:8]


def test_taps_that_differ_are_different_protocols():
    assert NORM.id != replace(NORM, tap="residual_sum").id
    assert NORM.continuing(replace(NORM, tap="residual_sum").id) is None
    assert NORM.continuing(NORM.id) == NORM.id
    assert NORM.differing_fields(replace(NORM, tap="residual_sum", d=512)) == ["d", "tap"]


def test_a_tap_that_one_of_two_does_not_know_is_no_difference():
    unknown = replace(NORM, tap="unknown")
    assert NORM.continuing(from_plain(Protocol, OLD).id) == NORM.id
    assert unknown.continuing(NORM.id) == NORM.id
    assert NORM.differing_fields(unknown) == unknown.differing_fields(NORM) == []
    assert unknown.continuing(unknown.id) == unknown.id
    assert unknown.continuing(replace(NORM, d=512).id) is None
    assert NORM.continuing(replace(unknown, d=512).id) is None
