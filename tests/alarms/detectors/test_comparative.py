"""How the variance is shared: within utterances, between them, among layers, sources and codes."""

import dataclasses

import pytest
from curves import check, past_of
from readings import reading

from rankwatch.alarms.detectors import Codebook, DataChanged, DomainGap, LayerApart, Moment, Temporal, Utterances
from rankwatch.readings.reading import key_of


def beside(now, others):
    """A moment in which `others` (reading, its past) were read too."""
    readings = {key_of(r): r for r in (now, *(r for r, _ in others))}
    return Moment("held_back", readings, {key_of(r): past for r, past in others})


def within(share, usually=0.5, detector=None, **made):
    past = past_of([60.0] * 10, within_utterance_share=usually)
    return detector.check(reading(99, 60.0, within_utterance_share=share, **made), past, Moment("held_back"))


def test_frames_of_an_utterance_that_are_alike():
    assert within(0.02, detector=Temporal()) is not None
    assert within(0.04, detector=Temporal()) is None
    assert within(0.02, usually=0.05, detector=Temporal()) is None  # it was always near that
    assert within(0.02, detector=Temporal(), source="train") is None


def test_utterances_that_are_alike_while_their_frames_differ():
    assert within(0.99, detector=Utterances()) is not None
    assert within(0.97, detector=Utterances()) is None
    assert within(0.99, usually=0.97, detector=Utterances()) is None
    fresh = Utterances().check(reading(0, 60.0, within_utterance_share=1.0), past_of([]), Moment("held_back"))
    assert fresh is None  # so it is in random networks


def test_utterances_may_seem_alike_by_chance_where_there_are_few():
    """Of 8 utterances in 4 dimensions a share of 0.2 and one of nothing are within the error of each other."""
    past = past_of([60.0] * 10, within_utterance_share=0.8)
    now = reading(99, 60.0, within_utterance_share=1.0, participation_ratio=4.0)
    assert Utterances().check(now, past, Moment("held_back")) is not None
    few = dataclasses.replace(now, protocol=dataclasses.replace(now.protocol, utterances=8))
    assert Utterances().check(few, past, Moment("held_back")) is None


def test_one_layer_that_leaves_the_others():
    now = reading(99, 40.0)
    others = [(reading(99, 60.0, layer=f"layers.{i}"), past_of([60.0] * 10)) for i in (1, 2)]
    found = LayerApart().check(now, past_of([60.0] * 10), beside(now, others))
    assert not found.grave
    falling = [(reading(99, 40.0, layer=f"layers.{i}"), past_of([60.0] * 10)) for i in (1, 2)]
    assert LayerApart().check(now, past_of([60.0] * 10), beside(now, falling)) is None
    assert LayerApart().check(now, past_of([60.0] * 10), beside(now, others[:1])) is None  # of two nobody is apart


@pytest.mark.parametrize(("inside", "found"), [(60.0, True), (50.0, False)])
def test_out_of_domain_falls_while_in_domain_holds(inside, found):
    now = reading(99, 30.0, source="music")
    moment = beside(now, [(reading(99, inside), past_of([60.0] * 10))])
    assert (DomainGap().check(now, past_of([60.0] * 10), moment) is not None) is found


def test_a_codebook_that_is_hardly_used():
    made = {"level": "codebook", "source": "train"}
    assert check(Codebook(), [], 1.9, **made) is not None  # next to nothing, from the start
    assert check(Codebook(), [], 30.0, **made) is None
    assert check(Codebook(), [100.0] * 10, 40.0, **made) is not None
    assert check(Codebook(), [100.0] * 10, 60.0, **made) is None
    assert check(Codebook(), [100.0] * 10, 40.0) is None  # another level


def test_changed_data_is_a_notice():
    now = reading(99, 30.0, source="train")
    held = beside(now, [(reading(99, 58.0), past_of([60.0] * 10))])
    assert DataChanged().check(now, past_of([60.0] * 10), held).notice
    fallen = beside(now, [(reading(99, 30.0), past_of([60.0] * 10))])
    assert DataChanged().check(now, past_of([60.0] * 10), fallen) is None
