"""Layers against labels: several at once as each alone, rows without a label, and labels that are too rare."""

import numpy as np
import pytest
import torch

from rankwatch.metrics import cca_squared, cca_squared_matrix


def _labelled(seed=0, n=480):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 5, n)
    layers = [rng.standard_normal((5, d))[labels] + rng.standard_normal((n, d)) for d in (12, 9)]
    return layers, labels, np.arange(n) // 4


def _numbers(found):
    return found.value, found.low, found.high, found.plain, found.n


def test_all_targets_at_once_are_each_alone():
    layers, labels, groups = _labelled()
    names = np.array(["a", "e", "i", "o", "u"])[labels]
    some = [None if k % 3 == 0 else name for k, name in enumerate(names.tolist())]
    targets = [names, some, layers[1], torch.as_tensor(labels)]
    found = cca_squared_matrix((layer for layer in layers), targets, groups=groups)
    for layer, of_layer in zip(layers, found, strict=True):
        for target, one in zip(targets, of_layer, strict=True):
            alone = cca_squared(layer, target, groups=groups)
            assert _numbers(one) == pytest.approx(_numbers(alone), abs=1e-9)
            assert one.status == alone.status
    assert [one.n for one in found[0]] == [480, 320, 480, 480]
    assert found[0][0].value == pytest.approx(found[0][3].value, abs=1e-9)


@pytest.mark.parametrize("missing", ["", None, float("nan")])
def test_rows_without_a_label_are_left_out(missing):
    layers, labels, groups = _labelled(1)
    keep = np.arange(len(labels)) % 5 != 0
    given = np.where(keep, labels, -1).tolist()
    found = cca_squared(layers[0], [missing if label < 0 else label for label in given], groups=groups)
    expected = cca_squared(layers[0][keep], labels[keep], groups=groups[keep])
    assert _numbers(found) == pytest.approx(_numbers(expected), abs=1e-9)
    assert not found.status & {"non_finite_rows"}


def test_rare_labels_are_one_together_or_left_out():
    layers, labels, groups = _labelled(2)
    numbers = labels.copy()
    numbers[:8] = [10, 11, 12, 13, 14, 15, 16, 17]  # eight rows of two utterances: too few even together
    found = cca_squared(layers[0], numbers, groups=groups)
    assert found.n == 472
    assert found.value == pytest.approx(cca_squared(layers[0][8:], labels[8:], groups=groups[8:]).value, abs=1e-9)
    numbers[::12] = np.arange(100, 140)  # forty rows of forty labels are one label
    one = numbers.copy()
    one[numbers >= 10] = 9
    together, named = (cca_squared(layers[0], y, groups=groups) for y in (numbers, one))
    assert together.n == named.n == 480
    assert together.value == pytest.approx(named.value, abs=1e-6)


def test_rows_that_are_not_finite_are_left_out_and_said():
    layers, labels, groups = _labelled(3)
    layers[0][7, 3] = np.nan
    target = layers[1].copy()
    target[9, 0] = np.inf
    found = cca_squared_matrix(layers, [labels, target], groups=groups)
    assert [[one.n for one in of_layer] for of_layer in found] == [[479, 478], [480, 479]]
    assert [["non_finite_rows" in one.status for one in of_layer] for of_layer in found] == [
        [True, True],
        [False, True],
    ]


def test_one_label_or_none_says_nothing():
    layers, labels, groups = _labelled(4)
    for useless in (np.zeros(480), [None] * 480, np.arange(480) // 4):
        found = cca_squared(layers[0], useless, groups=groups)
        assert np.isnan(found.value)
        assert found.status >= {"constant"}
    with pytest.raises(ValueError, match="one label for each of 480 rows, got 7"):
        cca_squared(layers[0], labels[:7], groups=groups)
    assert cca_squared_matrix([], [labels], groups=groups) == []


@pytest.mark.parametrize("kappa", [-1.0, float("nan"), float("inf")])
def test_a_resolution_is_finite_and_not_negative(kappa):
    layers, labels, groups = _labelled(5)
    with pytest.raises(ValueError, match="kappa must be finite and not negative"):
        cca_squared_matrix(layers, [labels], groups=groups, kappa=kappa)
