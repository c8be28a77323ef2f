"""Plain similarities: the values that public tools give for the same rows, and bounds of Procrustes'."""

import math

import numpy as np
import pytest

from rankwatch.metrics import cca_squared, plain_cka, plain_procrustes, procrustes, pwcca, svcca
from rankwatch.numerics.similarity.cka import cka
from rankwatch.numerics.similarity.plain_similarities import canonical_correlations


def _rows():
    rng = np.random.default_rng(20260118)
    x = rng.standard_normal((200, 12))
    y = x @ rng.standard_normal((12, 12)) * 0.3 + rng.standard_normal((200, 12))
    return x * np.arange(1, 13.0) ** -0.5, y


def test_values_are_those_of_public_tools():
    """Of netrep (LinearCKA and LinearMetric: cosines of the angles), resi, and SVCCA's own code, run once on these."""
    x, y = _rows()
    assert plain_cka(x, y) == pytest.approx(0.3181716415368038, abs=1e-12)
    assert cka(x, y).plain == pytest.approx(0.3181716415368038, abs=1e-12)
    assert plain_procrustes(x, y) == pytest.approx(0.5503969651778964, abs=1e-12)
    assert procrustes(x, y).plain == pytest.approx(0.5503969651778964, abs=1e-12)
    assert float(canonical_correlations(x, y).mean()) == pytest.approx(0.5554415419804394, abs=1e-12)
    assert svcca(x, y) == pytest.approx(0.5554415419804394, abs=1e-12)  # resi's adds 1e-10 to the variances
    white = np.linalg.qr(x - x.mean(0))[0]
    assert pwcca(white, y) == pytest.approx(0.5535048161939004, abs=1e-12)


def test_squared_canonical_correlations_are_those_of_a_regression():
    x, y = _rows()
    expected = float(canonical_correlations(x, y).square().mean())
    assert cca_squared(x, y, kappa=0.0).plain == pytest.approx(expected, abs=1e-8)
    hats = [np.linalg.qr(v - v.mean(0))[0] for v in (x, y)]
    assert expected == pytest.approx(float(((hats[0].T @ hats[1]) ** 2).sum()) / 12, abs=1e-12)


def test_svcca_keeps_what_holds_its_share_of_the_variance():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((500, 6)) * np.array([10.0, 10.0, 1e-3, 1e-3, 1e-3, 1e-3])
    y = np.column_stack([x[:, :2], rng.standard_normal((500, 4)) * 1e-3])
    assert svcca(x, y) == pytest.approx(1.0, abs=1e-6)
    assert svcca(x, y, variance=1.0) < 0.6


def test_bounds_hold_the_populations_procrustes_similarity():
    for shared, truth in ((0, 0.0), (6, 0.5), (12, 1.0)):
        inside = []
        for seed in range(6):
            rng = np.random.default_rng(seed)
            groups = np.arange(400) // 4
            x, y = rng.standard_normal((2, 400, 12))
            y[:, :shared] = x[:, :shared]
            found = procrustes(x, y, groups=groups)
            assert found.low <= found.value <= found.high
            inside.append(found.value)
            assert found.low - 0.03 <= truth <= found.high + 1e-9
        assert np.mean(inside) == pytest.approx(truth, abs=0.07)


def test_constant_and_few_rows_have_no_procrustes_similarity():
    x, y = _rows()
    assert math.isnan(procrustes(x, np.zeros((200, 3))).value)
    assert procrustes(x[:5], y[:5]).status == {"too_few_groups"}
    assert math.isnan(plain_procrustes(x, np.zeros((200, 3))))


def test_order_of_rows_changes_no_bit():
    x, y = _rows()
    order = np.random.default_rng(1).permutation(200)
    assert procrustes(x[order], y[order]) == procrustes(x, y)
    assert (pwcca(x[order], y[order]), svcca(x[order], y[order])) == (pwcca(x, y), svcca(x, y))
