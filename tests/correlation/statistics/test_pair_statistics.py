"""Intervals hold known correlations of made-up series, and curves that only rise are no evidence."""

import math

import numpy as np
import pytest
from made_up_checks import autoregressive

from rankwatch.correlation.statistics.coefficients import fisher_interval
from rankwatch.correlation.statistics.pair_statistics import beyond_the_step, over_time

STEPS = np.arange(1, 21) * 1000
DRAWS = 150
"""The tables of docs/pages/correlate.md have 500 a row: tests/benchmarks/correlation_coverage.py."""


def rising(generator, draws, noise=0.0, n=20):
    at = np.arange(1, n + 1) / n
    curves = 1.0 - np.exp(-at / np.exp(generator.uniform(math.log(0.1), math.log(1.5), (draws, 1))))
    return (curves - curves.mean(1, keepdims=True)) / curves.std(1, keepdims=True)


def coverage(statistics, kind, truth):
    hits = 0
    for one in statistics:
        low, high = fisher_interval(one.values[kind], one.errors[kind])
        hits += bool(low[0, 0] <= truth <= high[0, 0])
    return hits / len(statistics)


@pytest.mark.parametrize(("phi", "rho"), [(0.0, 0.6), (0.8, 0.0), (0.8, 0.8)])
def test_known_correlations_of_autocorrelated_series_are_held(phi, rho):
    x, y = autoregressive(np.random.default_rng(1), 20, phi, rho, DRAWS)
    found = [over_time(*one) for one in zip(x, y, strict=True)]
    # Four standard errors of a share of 150 draws around 85 to 97 %.
    assert 0.82 <= coverage(found, "pearson", rho) <= 1.0
    assert 0.82 <= coverage(found, "spearman", 6 / math.pi * math.asin(rho / 2)) <= 1.0
    assert 0.82 <= coverage(found, "kendall", 2 / math.pi * math.asin(rho)) <= 1.0


@pytest.mark.parametrize(("phi", "rho"), [(0.0, 0.0), (0.5, 0.6)])
def test_correlations_beyond_the_step_are_held_around_trends(phi, rho):
    generator = np.random.default_rng(2)
    x, y = autoregressive(generator, 20, phi, rho, DRAWS)
    x, y = 0.2 * x + rising(generator, DRAWS), 0.2 * y + rising(generator, DRAWS)
    found = [beyond_the_step(*one, STEPS) for one in zip(x, y, strict=True)]
    assert 0.82 <= coverage(found, "pearson", rho) <= 0.98


def test_pure_trend_correlates_over_time_and_is_no_evidence_beyond_the_step():
    generator = np.random.default_rng(3)
    x, y = autoregressive(generator, 20, 0.5, 0.0, DRAWS)
    x, y = 0.05 * x + rising(generator, DRAWS), 0.05 * y + rising(generator, DRAWS)
    as_they_are = [over_time(*one) for one in zip(x, y, strict=True)]
    assert np.mean([one.values["pearson"] for one in as_they_are]) > 0.9
    lows = []
    for pair in zip(x, y, strict=True):
        one = beyond_the_step(*pair, STEPS)
        lows.append([fisher_interval(one.values[kind], one.errors[kind])[0][0, 0] for kind in ("pearson", "spearman")])
    assert (np.array(lows) > 0).all(axis=1).mean() <= 0.1


def test_a_series_that_does_not_vary_has_no_coefficient():
    x = np.stack([np.full(20, 0.3), np.random.default_rng(0).standard_normal(20)])
    for found in (over_time(x, x[1]), beyond_the_step(x, x[1], STEPS)):
        assert np.isnan(found.values["pearson"][0, 0])
        assert np.isnan(found.values["kendall"][0, 0])
        assert found.values["pearson"][1, 0] == pytest.approx(1.0)


def test_order_and_sign_are_those_of_the_series():
    generator = np.random.default_rng(4)
    x, y = generator.standard_normal((2, 20)), generator.standard_normal((3, 20))
    whole = beyond_the_step(x, y, STEPS)
    assert whole.values["spearman"].shape == whole.pairs.shape == (2, 3)
    alone = beyond_the_step(-x[1], y[2], STEPS)
    for kind, values in whole.values.items():
        assert alone.values[kind][0, 0] == pytest.approx(-values[1, 2])


@pytest.mark.parametrize(
    ("n", "over", "beyond"), [(4, False, False), (5, True, False), (10, True, False), (11, True, True)]
)
def test_few_checkpoints_have_fewer_statistics(n, over, beyond):
    x = np.random.default_rng(0).standard_normal((1, n))
    assert (over_time(x, x) is not None) == over
    assert (beyond_the_step(x, x, np.arange(n)) is not None) == beyond
