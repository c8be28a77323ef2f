"""Runs are the independent units: means over them, with Student's interval."""

import numpy as np
import pytest
from scipy import stats

from rankwatch.correlation.statistics.over_runs import mean_loss, mean_over_runs, pooled_correlation


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


def test_the_mean_of_a_number_has_students_interval():
    found = mean_over_runs([0.0, 0.1, 2.0], "abc")
    width = stats.t.ppf(0.95, 2) * np.std([0, 0.1, 2.0], ddof=1) / np.sqrt(3)
    assert (found.low, found.high) == pytest.approx((0.7 - width, 0.7 + width))


def test_where_all_lose_as_exponential_numbers_do_the_interval_is_theirs():
    lost = stats.expon.ppf((np.arange(400) + 0.5) / 400) ** 1.05  # the share that loses is nearly certain
    found = mean_loss(lost, range(400))
    exact = [2 * lost.sum() / stats.chi2.ppf(q, 2 * 400) for q in (0.95, 0.05)]
    assert (found.low, found.high) == pytest.approx(exact, rel=0.01)


def test_losses_that_hardly_vary_have_about_students_interval():
    lost = 5.0 + np.array([-0.8, 0.4, 0.9, -0.3, 0.1, -0.3])
    ours, student = mean_loss(lost, range(6)), mean_over_runs(lost, range(6))
    assert student.high - student.low < ours.high - ours.low < 2.0 * (student.high - student.low)
    assert mean_loss([0.5, 1.0, 1.5], range(3)).high > 3.0  # three don't say how much they vary


def test_the_ends_are_quantiles_of_share_times_mean():
    generator = np.random.default_rng(0)
    share, mean = generator.beta(2.5, 3.5, 400_000), 3.0 / generator.gamma(2, size=400_000)
    found = mean_loss([0.0, 1.0, 0.0, 2.0, 0.0], range(5))  # two don't say how much they vary
    assert (found.low, found.high) == pytest.approx(np.quantile(share * mean, [0.05, 0.95]), rel=0.02)
    assert (found.value, found.units, found.beyond_these) == (pytest.approx(0.6), 5, True)


@pytest.mark.parametrize(("runs", "nothing"), [(3, 0.0), (3, 0.4), (6, 0.6)])
def test_the_interval_of_losses_holds_their_mean_where_students_does_not(runs, nothing):
    generator = np.random.default_rng(1)
    lost = generator.exponential(1.0, (1500, runs)) * (generator.random((1500, runs)) >= nothing)
    held = {mean_loss: 0, mean_over_runs: 0}
    for run in lost:
        for way in held:
            found = way(run, range(runs))
            held[way] += not (found.low > 1.0 - nothing or found.high < 1.0 - nothing)
    assert held[mean_loss] / 1500 > 0.89
    assert held[mean_over_runs] < held[mean_loss]


def test_that_a_few_runs_lose_nothing_is_no_interval_of_nothing():
    for way in (mean_over_runs, mean_loss):
        found = way([0.0, 0.0, 0.0], "abc")
        assert found.value == 0.0
        assert np.isnan([found.low, found.high]).all()
        assert not found.beyond_these
    assert np.isnan(mean_loss([0.0, 2.0], "ab").low)  # two runs speak of themselves alone
