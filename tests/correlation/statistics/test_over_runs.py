"""Runs are the independent units: means over them, with Student's interval."""

import numpy as np
import pytest
from scipy import stats

from rankwatch.correlation.statistics.over_runs import mean_over_runs, pooled_correlation


def test_the_interval_of_several_runs_is_students_of_their_z():
    values = np.array([0.2, 0.5, 0.7, 0.4])
    found = pooled_correlation(values, [np.nan] * 4, "abcd")
    z = np.arctanh(values)
    low, high = stats.t.interval(0.9, 3, z.mean(), z.std(ddof=1) / 2)
    assert (found.value, found.low, found.high) == pytest.approx(tuple(np.tanh([z.mean(), low, high])))
    assert found.units == 4
    assert found.beyond_these


def test_one_or_two_runs_speak_of_themselves_alone():
    found = pooled_correlation([0.5, 0.5], [0.3, 0.4], "ab")
    width = 1.6448536 * 0.5 / 2
    assert found.high == pytest.approx(np.tanh(np.arctanh(0.5) + width))
    assert not found.beyond_these
    assert np.isnan(pooled_correlation([0.5], [np.nan], "a").low)


def test_runs_of_one_group_count_once():
    alone = pooled_correlation([0.2, 0.5, 0.7], [0.1] * 3, "abc")
    z = np.tanh(np.arctanh([0.1, 0.3]))
    middle = float(np.tanh(np.arctanh(z).mean()))
    doubled = pooled_correlation([0.1, 0.3, 0.5, 0.7], [0.1] * 4, ["a", "a", "b", "c"])
    expected = pooled_correlation([middle, 0.5, 0.7], [0.1] * 3, "abc")
    assert (doubled.value, doubled.low, doubled.high) == pytest.approx((expected.value, expected.low, expected.high))
    assert alone.units == doubled.units == 3


def test_what_runs_do_not_have_is_left_out():
    assert pooled_correlation([np.nan, 0.4], [np.nan, 0.2], "ab") == pooled_correlation([0.4], [0.2], "b")
    nothing = pooled_correlation([np.nan], [0.1], "a")
    assert np.isnan(nothing.value)
    assert nothing.units == 0
    assert mean_over_runs([np.nan, 3.0], "ab").value == 3.0


def test_the_mean_of_losses_is_never_below_what_can_be():
    found = mean_over_runs([0.0, 0.1, 2.0], "abc", 0.0)
    assert found.low == 0.0
    assert found.high == pytest.approx(0.7 + stats.t.ppf(0.95, 2) * np.std([0, 0.1, 2.0], ddof=1) / np.sqrt(3))


def test_that_a_few_runs_lose_nothing_is_no_interval_of_nothing():
    found = mean_over_runs([0.0, 0.0, 0.0], "abc", 0.0)
    assert found.value == 0.0
    assert np.isnan([found.low, found.high]).all()
    assert not found.beyond_these
