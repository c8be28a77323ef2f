"""All pairs at once: the values of single pairs, of one set of layers and of two, and layers that say nothing."""

import math
from collections.abc import Sequence

import numpy as np
import pytest

from rankwatch.metrics import cka, cka_matrix, similarity, similarity_matrix


def _layers(seed=0):
    rng = np.random.default_rng(seed)
    common = rng.standard_normal((300, 12))
    keep = rng.random(300) < 0.8
    layers = [common @ rng.standard_normal((12, d)) + rng.standard_normal((300, d)) for d in (16, 20, 8)]
    return [v[keep] for v in layers], (np.arange(300) // 4)[keep], rng.random(int(keep.sum())) + 0.5


@pytest.mark.parametrize("weighted", [False, True])
def test_values_are_those_of_single_pairs(weighted):
    layers, groups, weights = _layers()
    common = {"groups": groups, "weights": weights if weighted else None}
    resolved, plain = similarity_matrix(layers, kappa=0.3, **common), cka_matrix(layers, **common)
    for i, x in enumerate(layers):
        assert resolved.value[i, i] == pytest.approx(1.0, abs=1e-6)
        for j, y in enumerate(layers):
            assert resolved.value[i, j] == pytest.approx(similarity(x, y, kappa=0.3, **common).value, abs=2e-4)
            assert plain.value[i, j] == pytest.approx(cka(x, y, **common).value, abs=1e-5)
    assert resolved.n == len(groups)
    assert resolved.kappa == pytest.approx(0.3, rel=0.05)


def test_two_models_and_targets():
    layers, groups, _ = _layers(1)
    square, rectangle = (
        similarity_matrix(layers, groups=groups),
        similarity_matrix(layers[:2], layers[2:], groups=groups),
    )
    assert rectangle.value.shape == (2, 1)
    assert rectangle.value[:, 0] == pytest.approx(square.value[:2, 2], abs=1e-6)
    assert len(rectangle.kappa) == 3
    assert cka_matrix(layers[:2], layers[2:], groups=groups).value[1, 0] == pytest.approx(
        cka(layers[1], layers[2], groups=groups).value, abs=1e-5
    )


def test_independent_rows_are_utterances_of_one_row():
    layers, _, _ = _layers(2)
    assert similarity_matrix(layers).value[0, 1] == pytest.approx(similarity(layers[0], layers[1]).value, abs=1e-5)
    assert cka_matrix(layers).value[0, 1] == pytest.approx(cka(layers[0], layers[1]).value, abs=1e-5)


def test_a_constant_layer_is_one_row_of_nothing():
    layers, groups, _ = _layers(3)
    layers[1] = np.ones_like(layers[1])
    for found in (similarity_matrix(layers, groups=groups), cka_matrix(layers, groups=groups)):
        assert np.isnan(found.value).sum() == 5
        assert found.status[1] == {"constant"}
        assert not found.status[0]
    few = [v[:6] for v in layers]
    assert np.isnan(similarity_matrix(few).value).all()
    assert math.isnan(cka_matrix([v[:4] for v in layers]).value[0, 2])


def test_order_of_rows_changes_no_bit():
    layers, groups, weights = _layers(4)
    order = np.random.default_rng(0).permutation(len(groups))
    found = similarity_matrix(layers, groups=groups, weights=weights)
    other = similarity_matrix([v[order] for v in layers], groups=groups[order], weights=weights[order])
    assert np.array_equal(found.value, other.value)


def test_intervals_are_those_of_single_pairs_on_request():
    layers, groups, weights = _layers(5)
    common = {"groups": groups, "weights": weights}
    assert similarity_matrix(layers, **common).low is None
    resolved = similarity_matrix(layers, layers[:2], **common, intervals=True)
    plain = cka_matrix(layers, **common, intervals=True)
    for i, x in enumerate(layers):
        for j, y in enumerate(layers[:2]):
            one, other = similarity(x, y, **common), cka(x, y, **common)
            assert (resolved.low[i, j], resolved.high[i, j]) == pytest.approx((one.low, one.high), abs=1e-3)
            assert (plain.low[i, j], plain.high[i, j]) == pytest.approx((other.low, other.high), abs=1e-4)
    few = [v[groups < 12] for v in layers]
    assert np.isnan(similarity_matrix(few, groups=groups[groups < 12], intervals=True).low).all()


class LookedUp(Sequence):
    """Rows that are made anew whenever they are asked for."""

    def __init__(self, layers):
        self.layers = layers

    def __getitem__(self, k):
        return self.layers[k].copy()

    def __len__(self):
        return len(self.layers)


def test_layers_that_are_looked_up_one_at_a_time_have_the_same_values_to_the_last_bit():
    layers, groups, weights = _layers(6)
    layers[1][7] = np.nan
    common = {"groups": groups, "weights": weights}
    for matrix in (similarity_matrix, cka_matrix):
        for others in (None, layers[1:]):
            one = matrix(layers, others, **common)
            other = matrix(LookedUp(layers), others if others is None else LookedUp(others), **common)
            assert np.array_equal(one.value, other.value, equal_nan=True)
            assert np.array_equal(one.df, other.df, equal_nan=True)
            assert one.status == other.status
    with_intervals = similarity_matrix(LookedUp(layers), **common, intervals=True)
    assert np.array_equal(with_intervals.low, similarity_matrix(layers, **common, intervals=True).low)
    with pytest.raises(ValueError, match=r"the same n, got \(\d+, 16\), \(5, 20\)$"):
        similarity_matrix(LookedUp([layers[0], layers[1][:5]]))
