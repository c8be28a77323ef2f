"""What a measurement rests on: what its rows are grouped by, and how many speakers they come from."""

from dataclasses import replace

import numpy as np
import pytest
from made_up_layers import MadeUpCorpus

from rankwatch.analysis.measures.label_measures import of_target
from rankwatch.analysis.measures.targets import probe_units, recordings_of, rests_on, targets_of


@pytest.fixture(scope="module")
def rows():
    """Forty-eight utterances by eight speakers."""
    corpus = MadeUpCorpus(utterances=48)
    return corpus.model([corpus.layer(phone=1.0, width=4)])


def test_groups_are_called_what_they_are(rows):
    whole = np.arange(48)
    assert rests_on(rows, recordings_of(rows), whole) == {"grouped_by": "utterances", "speakers": 8}
    cut = replace(rows, recordings=tuple(f"r{k // 2}" for k in range(48)))
    assert rests_on(cut, recordings_of(cut), whole) == {"grouped_by": "recordings", "speakers": 8}
    few = replace(rows, recordings=tuple(f"r{k // 8}" for k in range(48)))  # six long ones: their pieces count
    assert rests_on(few, recordings_of(few), whole)["grouped_by"] == "utterances"
    speakers = np.asarray([one.speaker for one in rows.utterances])
    assert rests_on(rows, speakers, np.array([0, 0, 8, 1])) == {"grouped_by": "speakers", "speakers": 2}


def test_speakers_are_counted_only_where_all_are_known(rows):
    one, *others = rows.utterances
    some = replace(rows, utterances=(replace(one, speaker=None), *others))
    assert rests_on(some, recordings_of(some), np.arange(48))["speakers"] is None
    assert rests_on(some, recordings_of(some), np.arange(1, 48))["speakers"] == 8


def test_a_property_of_speakers_is_grouped_by_them(rows):
    sexes = tuple(replace(one, labels={"sex": "fm"[int(one.speaker[1:]) % 2]}) for one in rows.utterances)
    (sex,) = (one for one in targets_of(replace(rows, utterances=sexes))[0] if one.name == "sex")
    assert rests_on(rows, sex.groups, np.arange(48))["grouped_by"] == "speakers"


def test_a_probes_interval_is_over_speakers_where_sixteen_or_more_are_left_out(rows):
    """Eight say nothing of others: then it is over utterances, and speaks for these eight."""
    many = tuple(replace(one, speaker=f"s{k % 24}") for k, one in enumerate(rows.utterances))
    for of, expected in ((rows, (48, "utterances")), (replace(rows, utterances=many), (24, "speakers"))):
        (phone,) = (one for one in targets_of(of)[0] if one.name == "phone")
        found = {one.measure: one for one in of_target(of, of.layers[0], phone, {})}
        assert (found["probe_accuracy"].utterances, found["probe_accuracy"].grouped_by) == expected
        assert len(found["probe_macro_f1"].without) == expected[0]
        assert (found["cca_squared"].utterances, found["cca_squared"].grouped_by) == (48, "utterances")
    some = np.flatnonzero(np.arange(48) % 24 < 15)  # rows of fifteen of them alone
    assert probe_units(phone, some) is phone.groups
