"""Coefficients of all pairs at once are those of scipy, and Fisher's interval is what its formula says."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from rankwatch.correlation.statistics.coefficients import (
    COEFFICIENTS,
    fisher_interval,
    kendall,
    pearson,
    spearman,
    standard_error,
    to_z,
)

SCIPY = {"pearson": stats.pearsonr, "spearman": stats.spearmanr, "kendall": stats.kendalltau}


@pytest.mark.parametrize("kind", COEFFICIENTS)
@pytest.mark.parametrize("ties", [False, True])
def test_every_pair_is_as_scipy_has_it(kind, ties):
    generator = np.random.default_rng(0)
    x, y = generator.standard_normal((4, 15)), generator.standard_normal((3, 15))
    if ties:
        x, y = x.round(), y.round()
    found = COEFFICIENTS[kind](x, y)
    expected = [[SCIPY[kind](one, other)[0] for other in y] for one in x]
    np.testing.assert_allclose(found, expected, atol=1e-12)


@pytest.mark.parametrize("kind", COEFFICIENTS)
@pytest.mark.parametrize("constant", [0.0, 0.1, 1e9 + 0.1])
def test_a_series_that_does_not_vary_has_none(kind, constant):
    found = COEFFICIENTS[kind](np.full((1, 7), constant), np.arange(7.0)[None])
    assert np.isnan(found).all()


@settings(max_examples=20)
@given(st.integers(0, 50), st.floats(0.01, 100), st.floats(-1000, 1000))
def test_scale_and_shift_do_not_matter_and_order_alone_matters_to_ranks(seed, scale, shift):
    generator = np.random.default_rng(seed)
    x, y = generator.standard_normal((1, 12)), generator.standard_normal((1, 12))
    for coefficient in COEFFICIENTS.values():
        assert coefficient(scale * x + shift, y) == pytest.approx(coefficient(x, y), abs=1e-9)
        assert coefficient(-x, y) == pytest.approx(-coefficient(x, y), abs=1e-12)
    for coefficient in (spearman, kendall):
        assert coefficient(np.exp(x), y) == pytest.approx(coefficient(x, y), abs=1e-12)


def test_the_interval_is_fishers():
    low, high = fisher_interval(0.6, 1.0 / np.sqrt(17))
    assert np.arctanh(0.6) - np.arctanh(low) == pytest.approx(1.6448536 / np.sqrt(17), rel=1e-6)
    assert np.arctanh(high) - np.arctanh(0.6) == pytest.approx(1.6448536 / np.sqrt(17), rel=1e-6)
    assert np.isfinite(to_z(1.0))


@pytest.mark.parametrize(("kind", "expected"), [("pearson", 1 / 17), ("spearman", 1.125 / 17), ("kendall", 0.437 / 16)])
def test_errors_are_the_published_ones(kind, expected):
    assert standard_error(0.5, 20, kind) == pytest.approx(np.sqrt(expected))
    assert np.isinf(standard_error(0.5, 3, kind))
    assert fisher_interval(0.5, np.inf) == (-1.0, 1.0)


def test_pearson_of_a_line_is_one():
    x = np.arange(9.0)[None]
    assert pearson(x, 3 - 2 * x) == pytest.approx(-1.0)
