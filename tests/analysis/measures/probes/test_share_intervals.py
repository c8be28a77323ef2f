"""How sure a share of right answers is, also where all or none of them are right."""

import numpy as np
import pytest
from scipy.stats import binom, binomtest

from rankwatch.analysis.measures.measurement import Measurement, difference
from rankwatch.analysis.measures.probes.probe_scores import Counts
from rankwatch.analysis.measures.probes.share_intervals import effective_answers, equal_units, least_error, wilson


@pytest.mark.parametrize(("right", "of"), [(0, 20), (7, 20), (50, 50), (499, 500)])
def test_it_is_wilsons_interval(right, of):
    wanted = binomtest(right, of).proportion_ci(0.9, method="wilson")
    assert wilson(right / of, of) == pytest.approx((wanted.low, wanted.high))


def test_it_holds_the_truth_where_nearly_everything_is_right():
    """A jackknife alone has no width where all of 40 are right, which happens in 44 of 100 samples at 0.98."""
    counts = np.arange(41)
    held = []
    for truth in np.linspace(0.9, 0.995, 20):
        holds = [low <= truth <= high for low, high in (wilson(k / 40, 40) for k in counts)]
        held.append(float(binom.pmf(counts, 40, truth) @ holds))
    assert min(held) > 0.8  # it swings with the truth, since counts are whole
    assert np.mean(held) > 0.87


def test_answers_that_depend_on_each_other_count_less():
    assert effective_answers(0.5, 0.05, 30, 1000) == pytest.approx(100)
    assert effective_answers(0.5, 0.001, 30, 200) == 200  # no more than there are
    assert effective_answers(0.0, 0.0, 30, 200) == 30
    assert equal_units([5, 5, 5, 0]) == pytest.approx(3.0)


def measured(layer, value, changes):
    names = [str(k) for k in range(len(changes))]
    parts = {"measure": "probe_accuracy", "target": "", "level": "", "low": None, "high": None, "n": 40}
    without = dict(zip(names, changes, strict=True))
    least = least_error(len(changes))
    return Measurement("m", layer, value=value, utterances=len(changes), without=without, least_error=least, **parts)


def test_two_perfect_layers_are_not_exactly_equal():
    one, other = measured("a", 1.0, [0.0] * 20), measured("b", 1.0, [0.0] * 20)
    value, low, high = difference(one, other, 1.64)
    assert (value, low, high) == pytest.approx((0.0, -1.64 / 22, 1.64 / 22))
    assert one.error == pytest.approx(1 / 22)


def test_a_score_knows_how_many_rows_each_group_has():
    has = np.array([[2.0, 1.0], [0.0, 1.0]])
    counts = Counts(np.array(["a", "b"]), has, np.zeros((2, 2)), np.zeros((2, 2)))
    assert counts.rows.tolist() == [3.0, 1.0]
