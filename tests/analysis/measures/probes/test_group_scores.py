"""What a probe reaches in groups, and with the same mix of labels in all of them."""

import dataclasses

import numpy as np
import pytest

from rankwatch.analysis.decision.group_gaps import GroupGap, largest_gap
from rankwatch.analysis.decision.sentences import _gap
from rankwatch.analysis.measures.probes.group_scores import ACCURACY, SAME_MIX, group_scores

WHERE = {"model": "m", "layer": "L00", "target": "phone", "level": "span"}


def scores(easy, utterances=40, rows=10):
    """Groups whose shares of an easy label are `easy`; the hard one is right in 4 of 10, the easy one in 9."""
    right, labels, names, units = [], [], [], []
    for group, share in enumerate(easy):
        for k in range(utterances):
            count = round(share * rows)
            labels += ["easy"] * count + ["hard"] * (rows - count)
            right += [(k + j) % 10 < 9 for j in range(count)] + [(k + j) % 10 < 4 for j in range(rows - count)]
            names += [f"g{group}"] * rows
            units += [f"{group} {k}"] * rows
    found = list(group_scores(*map(np.array, (right, labels, names, units)), "accent", **WHERE))
    return {m: {f.group.partition("=")[2]: f for f in found if f.measure == m} for m in (ACCURACY, SAME_MIX)}


def test_a_gap_that_is_the_groups_mix_of_labels_goes_with_the_same_mix():
    found = scores((0.8, 0.2))
    assert found[ACCURACY]["g0"].value == pytest.approx(0.8)
    assert found[ACCURACY]["g1"].value == pytest.approx(0.5)
    for one in found[SAME_MIX].values():
        assert one.value == pytest.approx(0.65)
        assert one.low < 0.65 < one.high
    best, worst, gap, sure = largest_gap(found[ACCURACY], 1)
    assert (best, worst, sure) == ("g0", "g1", True)
    assert gap[0] == pytest.approx(0.3)
    assert not largest_gap(found[SAME_MIX], 1)[3]


def test_changes_are_those_of_leaving_each_unit_out():
    found = scores((0.7, 0.3), utterances=20)[SAME_MIX]["g0"]
    assert len(found.without) == 20
    for unit, change in list(found.without.items())[:3]:
        k = int(unit.split()[1])
        easy = [(u + j) % 10 < 9 for u in range(20) if u != k for j in range(7)]
        hard = [(u + j) % 10 < 4 for u in range(20) if u != k for j in range(3)]
        assert found.value + change == pytest.approx(0.5 * np.mean(easy) + 0.5 * np.mean(hard))


def test_groups_without_labels_in_common_have_no_such_score():
    assert not scores((1.0, 0.0))[SAME_MIX]


def test_groups_that_are_always_right_may_still_differ_by_chance():
    found = scores((0.5, 0.5), utterances=16)[ACCURACY]
    perfect = {n: dataclasses.replace(m, value=1.0, without=dict.fromkeys(m.without, 0.0)) for n, m in found.items()}
    _, _, (value, low, high), sure = largest_gap(perfect, 1)
    assert value == 0.0
    assert low < -0.1 < 0.1 < high
    assert not sure


@pytest.mark.parametrize(
    ("same_mix", "words"),
    [
        (None, "too few labels in common"),
        ((0.2, 0.1, 0.3), "a gap of 0.20 with the same mix of labels"),
        ((0.02, -0.1, 0.1), "it may be their mix of labels"),
    ],
)
def test_the_conclusion_says_what_the_mix_of_labels_has_to_do_with_a_gap(same_mix, words):
    gap = GroupGap("m", "phone", "L00", "sex", ("f", 0.8), ("m", 0.5), (0.3, 0.2, 0.4), True, same_mix)
    assert words in _gap(gap, several=False)


@pytest.mark.filterwarnings("error")
def test_a_group_of_one_speaker_has_its_score_and_no_interval():
    right, labels = np.array([True, False] * 20), np.array(["a", "a", "b", "b"] * 10)
    names = np.array(["g0"] * 20 + ["g1"] * 20)
    units = np.array(["only one"] * 20 + [f"speaker {k}" for k in range(20)])
    found = [f for f in group_scores(right, labels, names, units, "accent", **WHERE) if f.group == "accent=g0"]
    assert {f.measure for f in found} == {ACCURACY, SAME_MIX}
    for one in found:
        assert one.value == pytest.approx(0.5)
        assert (one.low, one.high, one.utterances) == (None, None, 1)
        assert "too_few_groups" in one.status
        assert np.isfinite(list(one.without.values())).all()
