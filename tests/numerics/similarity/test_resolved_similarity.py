"""Similarity at a resolution: invariances, closed forms, dependence within utterances, labels, and what is refused."""

import math

import numpy as np
import pytest
import torch

from rankwatch.metrics import cca_squared, explained, probe_r2, similarity
from rankwatch.numerics.similarity.matched_rows import match_rows
from rankwatch.numerics.similarity.resolvents.balanced_whitening import whiten
from rankwatch.numerics.similarity.resolvents.delete_utterances import contributions
from rankwatch.numerics.similarity.resolvents.shared_directions import shared


def _dependent(rng, utterances, m, d, share):
    """Rows of variance one, of which `share` (d,) or a number is common to an utterance."""
    common = rng.standard_normal((utterances, d)).repeat(m, axis=0)
    return np.sqrt(share) * common + np.sqrt(1.0 - np.asarray(share)) * rng.standard_normal((utterances * m, d))


def _pair(seed, utterances=100, m=4, d=24, correlation=0.7, share=0.5):
    rng = np.random.default_rng(seed)
    common, x, y = (_dependent(rng, utterances, m, d, share) for _ in range(3))
    x, y = (math.sqrt(correlation) * common + math.sqrt(1.0 - correlation) * v for v in (x, y))
    return x, y, np.arange(utterances * m) // m


def test_unrelated_equal_and_half_shared_representations_read_as_what_they_are():
    for correlation in (0.0, 0.5, 0.9):
        errors, covered = [], 0
        for seed in range(8):
            x, y, groups = _pair(seed, correlation=correlation)
            found = cca_squared(x, y, groups=groups, kappa=0.0)
            errors.append(found.value - correlation**2)
            covered += found.low <= correlation**2 <= found.high
            assert found.plain > found.value
        assert abs(np.mean(errors)) < 0.01
        assert covered >= 5
    x, _, groups = _pair(0)
    rotation = np.linalg.qr(np.random.default_rng(1).standard_normal((24, 24)))[0]
    same = similarity(x, 3.0 * x @ rotation - 5.0, groups=groups)
    assert same.value == pytest.approx(1.0, abs=1e-9)
    assert same.high - same.low < 1e-7
    assert cca_squared(x, x, groups=groups, kappa=0.0).value == pytest.approx(1.0, abs=0.01)


def test_one_shared_direction_is_one_canonical_correlation():
    rng = np.random.default_rng(2)
    x, y = rng.standard_normal((2000, 8)), rng.standard_normal((2000, 5))
    y[:, 0] = x[:, 3]
    found = cca_squared(x, y, kappa=0.0)
    assert found.value == pytest.approx(1.0 / 5.0, abs=0.005)
    assert found.plain > found.value


def test_one_column_of_y_is_ezekiels_adjusted_r2():
    rng = np.random.default_rng(3)
    x = rng.standard_normal((400, 40))
    y = x[:, :1] + rng.standard_normal((400, 1))
    centred_x, centred_y = x - x.mean(0), y - y.mean(0)
    residual = centred_y - centred_x @ np.linalg.lstsq(centred_x, centred_y, rcond=None)[0]
    r2 = 1.0 - float((residual**2).sum() / (centred_y**2).sum())
    adjusted = 1.0 - (1.0 - r2) * 399 / (399 - 40)
    found = cca_squared(x, y, kappa=0.0)
    assert found.plain == pytest.approx(r2, abs=1e-7)
    assert found.value == pytest.approx(adjusted, abs=0.01)
    assert explained(x, y, kappa=0.0).value == pytest.approx(adjusted, abs=0.01)


def test_rotation_scale_and_shift_change_nothing():
    x, y, groups = _pair(4)
    x = x * np.arange(1.0, 25.0) ** -0.5
    rotation = np.linalg.qr(np.random.default_rng(5).standard_normal((24, 24)))[0]
    found, moved = similarity(x, y, groups=groups), similarity(40.0 * x @ rotation + 9.0, y, groups=groups)
    for name in ("value", "low", "high", "plain", "n_eff", "kappa"):
        assert getattr(moved, name) == pytest.approx(getattr(found, name), rel=1e-6)
    other = similarity(y, x, groups=groups)
    assert other.value == pytest.approx(found.value, abs=1e-4)  # which of the two is the larger is decided by rounding


def test_order_of_rows_and_utterances_changes_no_bit():
    x, y, groups = _pair(6)
    keep = np.random.default_rng(7).random(400) < 0.8
    x, y, groups = x[keep], y[keep], groups[keep]
    w = np.random.default_rng(8).random(100)[groups] + 0.5
    order = np.random.default_rng(9).permutation(len(x))
    renamed = np.random.default_rng(10).permutation(100)[groups]
    for measure in (similarity, cca_squared, explained, probe_r2):
        found = measure(x, y, groups=groups, weights=w)
        assert measure(x[order], y[order], groups=renamed[order], weights=w[order]) == found


def test_float32_rows_and_narrow_formats_agree_with_float64():
    x, y, groups = _pair(11)
    exact = similarity(x, y, groups=groups)
    single = similarity(x.astype(np.float32), y.astype(np.float32), groups=groups)
    assert single.value == pytest.approx(exact.value, abs=1e-6)
    half = similarity(*(torch.as_tensor(v).to(torch.bfloat16) for v in (x, y)), groups=groups)
    assert half.value == pytest.approx(exact.value, abs=2e-3)
    assert "rounded" not in half.status
    narrow = similarity(*(torch.as_tensor(v).to(torch.bfloat16) for v in (x, y)), groups=groups, kappa=1e-6)
    assert "rounded" in narrow.status


def test_directions_that_belong_to_utterances_do_not_pull_the_value():
    """Two thirds of the directions are nearly constant in an utterance: rows taken for alike would be far too low."""
    share = np.where(np.arange(24) < 8, 0.1, 0.95)
    errors = []
    for seed in range(8):
        x, y, groups = _pair(20 + seed, utterances=120, m=6, share=share)
        errors.append(similarity(x, y, groups=groups, kappa=0.1).value - 0.49)
    assert abs(np.mean(errors)) < 0.012


def test_the_resolvent_of_balanced_rows_is_the_populations():
    rng = np.random.default_rng(30)
    spectrum = np.arange(1.0, 25.0) ** -1.0
    x = _dependent(rng, 150, 4, 24, np.linspace(0.1, 0.9, 24)) * np.sqrt(spectrum)
    matched, _ = match_rows([x], np.arange(600) // 4)
    found = whiten(matched.centred(0), matched.utterances, 0.1)
    ridge = 0.1 * spectrum.mean()
    assert found.df == pytest.approx(float((spectrum / (spectrum + ridge)).sum()), rel=0.02)
    assert found.kappa == pytest.approx(0.1, rel=0.02)
    assert float(found.between[0]) > float(found.within[0]) > 1.0
    assert shared(found, found) == pytest.approx(float(((spectrum / (spectrum + ridge)) ** 2).sum()), rel=0.03)


def test_contributions_are_exact_for_what_they_are_exact_for():
    """V without an utterance, with the ridge and the weights as they are."""
    x, y, groups = _pair(31, utterances=20, m=2, d=5)
    matched, _ = match_rows([x, y], groups)
    one, two = (whiten(matched.centred(k), matched.utterances, 0.0) for k in (0, 1))
    change = contributions(one, two, 1.0, pairs=False).single

    def product(rows):
        hats = [u.rows[rows] @ torch.linalg.pinv(u.rows[rows]) for u in (one, two)]
        return float((hats[0] * hats[1]).sum())

    rows = torch.arange(40)
    exact = [product((rows // 2) != g) - product(rows >= 0) for g in range(20)]
    slope = change / torch.tensor(exact, dtype=torch.float64)
    assert torch.allclose(slope, slope[0].expand(20), rtol=1e-6)


def test_labels_count_when_they_are_frequent_enough():
    rng = np.random.default_rng(12)
    groups = np.arange(800) // 8
    labels = rng.integers(0, 6, 800)
    x = np.eye(6)[labels] @ rng.standard_normal((6, 20)) + rng.standard_normal((800, 20))
    found = cca_squared(x, labels, groups=groups)
    assert found.low < found.value < found.high < 1.0
    assert found.value < found.plain
    names = np.array(["a", "b", "c", "d", "e", "f"])[labels]
    assert cca_squared(x, names, groups=groups).value == pytest.approx(found.value, rel=1e-9)
    rare = names.astype(object)
    rare[:3] = "once"  # three rows of one utterance stand for no label at all
    again = cca_squared(x, rare, groups=groups)
    assert again.n == 797
    assert again.value == pytest.approx(found.value, abs=0.02)
    assert "constant" in cca_squared(x, np.zeros(800, dtype=int), groups=groups).status
    shuffled = rng.permutation(labels)
    none = cca_squared(x, shuffled, groups=groups)
    assert none.low < 0.0 < none.high


def test_what_is_explained_is_no_probe():
    x, y, groups = _pair(13, correlation=0.8)
    share, probe = explained(x, y, groups=groups, kappa=0.0), probe_r2(x, y, groups=groups, kappa=0.0)
    assert share.value == pytest.approx(0.64, abs=0.03)
    assert probe.value < share.value < probe.plain
    unrelated = probe_r2(x, _pair(14)[1], groups=groups, kappa=0.0)
    assert unrelated.value < 0.0 < unrelated.plain


def test_probe_is_trained_on_the_other_utterances():
    x, y, groups = _pair(15, utterances=20, m=3, d=4)
    found = probe_r2(x, y, groups=groups, kappa=0.0)
    errors = 0.0
    for g in range(20):
        rest = groups != g
        design = np.column_stack([np.ones(len(x)), x])
        beta = np.linalg.lstsq(design[rest], y[rest], rcond=None)[0]
        errors += float(((y[~rest] - design[~rest] @ beta) ** 2).sum())
    assert found.value == pytest.approx(1.0 - errors / float(((y - y.mean(0)) ** 2).sum()), abs=1e-7)


def test_what_is_out_of_reach_is_said():
    x, y, groups = _pair(16, utterances=20, m=10, d=24, share=0.9)
    found = similarity(x, y, groups=groups, kappa=0.01)
    assert "dependent_rows" in found.status
    few = similarity(x[::10], y[::10], kappa=0.01)
    assert "too_few_rows" in few.status
    assert similarity(x, np.ones((200, 2)), groups=groups).status >= {"constant"}
    one = similarity(x, y, groups=np.zeros(200))
    assert math.isnan(one.value)
    assert "too_few_groups" in one.status
    holes = x.copy()
    holes[5] = np.inf
    assert similarity(holes, y, groups=groups).n == 199
    with_constant = np.column_stack([x, np.full(200, 7.0)])
    assert math.isfinite(similarity(with_constant, y, groups=groups, kappa=1.0).value)
    for measure in (similarity, cca_squared, explained, probe_r2):
        with pytest.raises(ValueError, match="kappa"):
            measure(x, y, kappa=-1.0)


def test_shuffled_utterances_give_a_p_value():
    x, y, groups = _pair(17, utterances=40, d=6)
    assert similarity(x, y, groups=groups, permutations=19).p_value == 1 / 20
    assert cca_squared(x, _pair(18, utterances=40, d=6)[1], groups=groups, permutations=19).p_value > 1 / 20


def test_rows_that_repeat_within_utterances_are_rows_of_utterances():
    rng = np.random.default_rng(30)
    z, speakers = rng.standard_normal((150, 12)), np.repeat(np.arange(5), 30)
    z += rng.standard_normal((5, 12))[speakers]
    groups = np.repeat(np.arange(150), 4)

    def repeated(rows):
        return np.repeat(rows, 4, axis=0)

    once, four_times = similarity(z[:, :8], z[:, 4:]), similarity(repeated(z[:, :8]), repeated(z[:, 4:]), groups=groups)
    assert (four_times.value, four_times.low) == pytest.approx((once.value, once.low), abs=1e-9)
    # Labels of utterances, such as their speakers, do not vary within them, whatever the layer does.
    once, four_times = cca_squared(z, speakers), cca_squared(repeated(z), repeated(speakers), groups=groups)
    assert four_times.value == pytest.approx(once.value, abs=1e-4)
    noisy = cca_squared(repeated(z) + rng.standard_normal((600, 12)), repeated(speakers), groups=groups)
    assert 0.0 < noisy.value < once.value
    # Without the utterances' means nothing about them is left.
    deviations = rng.standard_normal((150, 4, 12))
    deviations = (deviations - deviations.mean(axis=1, keepdims=True)).reshape(600, 12)
    assert cca_squared(deviations, repeated(speakers), groups=groups).value == pytest.approx(0.0, abs=0.005)
    assert similarity(deviations, deviations[:, :6], groups=groups).value == pytest.approx(0.5**0.5, abs=0.01)


def test_utterances_with_directions_of_their_own_are_said_to_be_uneven():
    rng = np.random.default_rng(31)
    groups = np.repeat(np.arange(80), 8)
    x, y, z = (_dependent(rng, 80, 8, 24, 0.5) for _ in range(3))
    assert similarity(x, y, groups=groups).status <= {"imprecise"}
    for utterance in range(16):  # in these alone, and in each of them in another direction
        z[groups == utterance] += 8.0 * rng.standard_normal(24)
    found = similarity(x, z, groups=groups)
    assert "uneven_utterances" in found.status
    # Utterances of very different numbers of rows are not uneven for that.
    keep = rng.random(640) < np.repeat(rng.uniform(0.1, 1.0, 80), 8)
    assert "uneven_utterances" not in similarity(x[keep], y[keep], groups=groups[keep]).status
