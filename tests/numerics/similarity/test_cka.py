"""CKA: brute force over distinct utterances, invariances, closed forms, and what can't be told."""

import itertools
import math

import numpy as np
import pytest
import torch

from rankwatch.numerics.similarity.cka import cka, masses, terms
from rankwatch.numerics.similarity.matched_rows import match_rows


def _rows(seed, n=240, p=12, q=9, shared=5):
    """Rows of which the first columns are common to x and y, half of the variance shared within utterances of four."""
    rng = np.random.default_rng(seed)
    groups = np.arange(n) // 4

    def draw(d):
        return np.sqrt(0.5) * (rng.standard_normal((n // 4, d)).repeat(4, axis=0) + rng.standard_normal((n, d)))

    x, y = draw(p), draw(q)
    y[:, :shared] = x[:, :shared]
    return x, y, groups


def _by_hand(x, y, groups, w):
    """HSIC as it is defined: averages over distinct utterances."""
    names = sorted(set(groups.tolist()))
    c = {g: (w[groups == g, None] * x[groups == g]).T @ y[groups == g] for g in names}
    a, b = ({g: w[groups == g] @ v[groups == g] for g in names} for v in (x, y))
    mass = {g: w[groups == g].sum() for g in names}
    sums, counts = np.zeros(3), np.zeros(3)
    for g, h in itertools.permutations(names, 2):
        sums[0] += (c[g] * c[h]).sum()
        counts[0] += mass[g] * mass[h]
    for g, h, k in itertools.permutations(names, 3):
        sums[1] += a[h] @ c[g] @ b[k]
        counts[1] += mass[g] * mass[h] * mass[k]
    for g, h, k, m in itertools.permutations(names, 4):
        sums[2] += (a[g] @ a[h]) * (b[k] @ b[m])
        counts[2] += mass[g] * mass[h] * mass[k] * mass[m]
    return float((np.array([1.0, -2.0, 1.0]) * sums / counts).sum())


def test_sums_are_those_over_distinct_utterances_with_all_and_without_each():
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(6), [1, 2, 3, 1, 2, 4])
    x = rng.standard_normal((13, 3)) + 1.0
    y = x[:, :2] + rng.standard_normal((13, 2))
    matched, _ = match_rows([x, y], groups, rng.random(13) + 0.5)
    utterances = matched.utterances
    found, without = terms(matched.centred(0), matched.centred(1), utterances).hsic(masses(utterances))
    names = np.repeat(np.arange(6), utterances.sizes.numpy())
    x, y, w = matched.centred(0).numpy(), matched.centred(1).numpy(), utterances.weights.numpy()
    assert found == pytest.approx(_by_hand(x, y, names, w), rel=1e-12)
    for g in range(6):
        rest = names != g
        assert float(without[g]) == pytest.approx(_by_hand(x[rest], y[rest], names[rest], w[rest]), rel=1e-10)


def test_one_row_an_utterance_is_song_et_al():
    x, y, _ = _rows(1, n=60)
    n = 60
    kernel, other = x @ x.T, y @ y.T
    np.fill_diagonal(kernel, 0.0), np.fill_diagonal(other, 0.0)

    def hsic(k, m):
        total = k.sum() * m.sum() / ((n - 1) * (n - 2))
        return ((k * m).sum() + total - 2.0 / (n - 2) * k.sum(0) @ m.sum(0)) / (n * (n - 3))

    expected = hsic(kernel, other) / math.sqrt(hsic(kernel, kernel) * hsic(other, other))
    assert cka(x, y).value == pytest.approx(expected, rel=1e-10)


def test_rotation_scale_and_shift_change_nothing():
    x, y, groups = _rows(2)
    rotation = np.linalg.qr(np.random.default_rng(3).standard_normal((12, 12)))[0]
    found, moved = cka(x, y, groups=groups), cka(7e3 * x @ rotation + 40.0, y, groups=groups)
    assert moved.value == pytest.approx(found.value, abs=1e-10)
    assert moved.low == pytest.approx(found.low, abs=1e-10)
    assert moved.plain == pytest.approx(found.plain, abs=1e-10)
    assert cka(y, x, groups=groups).value == pytest.approx(found.value, abs=1e-12)


def test_order_of_rows_and_utterances_changes_no_bit():
    x, y, groups = _rows(4)
    keep = np.random.default_rng(5).random(240) < 0.8  # utterances of one to four rows
    x, y, groups = x[keep], y[keep], groups[keep]
    w = np.random.default_rng(6).random(len(x))
    order = np.random.default_rng(7).permutation(len(x))
    renamed = np.random.default_rng(8).permutation(60)[groups]
    found = cka(x, y, groups=groups, weights=w)
    assert cka(x[order], y[order], groups=renamed[order], weights=w[order]) == found


def test_closed_forms_hold_within_the_interval_and_plain_is_far_off():
    equal, nothing = 0, 0
    for seed in range(20):
        x, y, groups = _rows(10 + seed)
        found = cka(x, y, groups=groups)
        equal += found.low <= 5.0 / math.sqrt(12 * 9) <= found.high
        none = cka(x[:, :5], x[:, 5:], groups=groups)
        nothing += none.low <= 0.0 <= none.high
        assert none.plain > none.high
    assert min(equal, nothing) >= 15
    x, _, groups = _rows(3)
    same = cka(x, -2.0 * x, groups=groups)
    assert (same.value, same.plain) == (pytest.approx(1.0, abs=1e-12), pytest.approx(1.0, abs=1e-12))
    assert same.high - same.low < 1e-9


def test_rows_of_one_utterance_are_not_independent():
    """Eight rows of each of 30 utterances are one vector: Song's estimate reads what isn't there."""
    rng = np.random.default_rng(9)
    x, y = (rng.standard_normal((30, 20)).repeat(8, axis=0) for _ in range(2))
    groups = np.arange(240) // 8
    left_out, song = cka(x, y, groups=groups), cka(x, y)
    assert abs(left_out.value) < 0.1 < 0.3 < song.value
    assert left_out.n_eff == pytest.approx(30, rel=0.05)


def test_weights_count_like_repeated_rows():
    x, y, groups = _rows(11, n=80)
    times = np.random.default_rng(12).integers(1, 4, 80)
    repeated = np.repeat(np.arange(80), times)
    weighted, plain = cka(x, y, groups=groups, weights=times), cka(x[repeated], y[repeated], groups=groups[repeated])
    assert weighted.value == pytest.approx(plain.value, rel=1e-10)
    assert weighted.plain == pytest.approx(plain.plain, rel=1e-10)


def test_narrow_formats_are_read_as_what_they_hold():
    x, y, groups = (torch.as_tensor(v) for v in _rows(13))
    exact = cka(x, y, groups=groups)
    for dtype in (torch.bfloat16, torch.float16):
        assert cka(x.to(dtype), y.to(dtype), groups=groups).value == pytest.approx(exact.value, abs=2e-3)


def test_shuffled_utterances_give_a_p_value():
    x, y, groups = _rows(14)
    found = cka(x, y, groups=groups, permutations=39)
    assert found.p_value == 1 / 40
    assert found == cka(x, y, groups=groups, permutations=39)
    assert cka(x[:, :5], x[:, 5:], groups=groups, permutations=39).p_value > 1 / 40


def test_what_cannot_be_told_is_said():
    x, y, groups = _rows(15)
    assert cka(x, np.ones((240, 3)), groups=groups).status >= {"constant"}
    assert math.isnan(cka(x, np.ones((240, 3)), groups=groups).value)
    one = cka(x, y, groups=np.zeros(240))
    assert math.isnan(one.value)
    assert one.status >= {"too_few_groups", "too_few_rows"}
    few = cka(x[:40], y[:40], groups=groups[:40])
    assert few.status == {"too_few_groups", "imprecise"}
    assert few.low is None
    holes = x.copy()
    holes[3, 2] = np.nan
    rest = np.arange(240) != 3
    found = cka(holes, y, groups=groups)
    assert "non_finite_rows" in found.status
    assert found.value == cka(x[rest], y[rest], groups=groups[rest]).value
    assert found.n == 239
    with pytest.raises(ValueError, match="same n"):
        cka(x, y[:-1])
    with pytest.raises(ValueError, match="one group"):
        cka(x, y, groups=groups[:-1])
    with pytest.raises(ValueError, match="weights"):
        cka(x, y, weights=-np.ones(240))
