"""Ratios of two ranks of the same utterances: their intervals hold, and are narrower than the two apart."""

import math

import numpy as np
import pytest
import torch

from rankwatch.metrics import effective_rank, estimate_rank, rank_ratio

D, UTTERANCES, FRAMES = 32, 48, 4
GROUPS = torch.arange(UTTERANCES).repeat_interleave(FRAMES)


def pair(seed, shared=0.9, exponents=(1.0, 1.2), tails=0):
    """Two models that see nearly the same of each frame, a third of it the same in all frames of an utterance."""
    rng = np.random.default_rng(seed)
    z = rng.standard_normal((2, UTTERANCES * FRAMES, D)) * math.sqrt(0.7)
    z += np.repeat(rng.standard_normal((2, UTTERANCES, D)), FRAMES, axis=1) * math.sqrt(0.3)
    if tails:
        z *= np.repeat(np.sqrt(tails / rng.chisquare(tails, UTTERANCES)), FRAMES)[:, None]
    views = z[0], shared * z[0] + math.sqrt(1.0 - shared**2) * z[1]
    return [torch.from_numpy(x * np.arange(1, D + 1) ** (-0.5 * e)) for x, e in zip(views, exponents, strict=True)]


def estimates(*args, groups=GROUPS, **options):
    return [estimate_rank(x, groups=groups) for x in pair(*args, **options)]


@pytest.mark.parametrize(("options", "narrower"), [({}, 0.6), ({"tails": 5}, 0.7), ({"shared": 0.0}, 1.01)])
def test_the_interval_holds_and_is_narrower_than_the_two_apart(options, narrower):
    one, other = (effective_rank(np.arange(1, D + 1) ** (-0.5 * e)) for e in (1.0, 1.2))
    held, paired, apart = 0, [], []
    for seed in range(60):
        a, b = estimates(seed, **options)
        found = rank_ratio(a, b)
        held += found.low <= one / other <= found.high
        paired.append(math.log(found.high / found.low))
        apart.append(math.hypot(*(math.log(e.high / e.low) for e in (a, b))))
    assert held >= 50  # fewer than 50 of 60 at 90 %: 1 in 50
    assert np.mean(paired) < narrower * np.mean(apart)


def test_a_model_and_itself_rotated_and_scaled_differ_by_nothing():
    x, _ = pair(0)
    turn = torch.linalg.qr(torch.randn(D, D, generator=torch.Generator().manual_seed(1), dtype=torch.float64))[0]
    a, b = (estimate_rank(rows, groups=GROUPS) for rows in (x, 7.0 * x @ turn))
    found = rank_ratio(a, b)
    assert found.correlation == pytest.approx(1.0, abs=1e-6)
    assert found.value == pytest.approx(1.0, abs=1e-6)
    assert 0.999 < found.low < 1.0 < found.high < 1.001


def test_swapping_the_two_inverts_the_ratio_and_more_confidence_widens_it():
    a, b = estimates(1)
    found, back = rank_ratio(a, b), rank_ratio(b, a)
    assert (back.value, back.low, back.high) == pytest.approx((1 / found.value, 1 / found.high, 1 / found.low))
    sure = rank_ratio(a, b, confidence=0.999)
    assert sure.low < found.low < found.high < sure.high


def test_utterances_are_matched_by_name_in_whatever_order_rows_come():
    x, y = pair(2)
    names = [f"u{g * 7 % UTTERANCES}" for g in GROUPS.tolist()]
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(0))
    a = estimate_rank(x, groups=names)
    shuffled = estimate_rank(y[order], groups=[names[i] for i in order])
    assert set(a.utterances) == set(names)
    assert rank_ratio(a, shuffled) == rank_ratio(a, estimate_rank(y, groups=names))
    numbers = [{name: k for k, name in enumerate(sorted(set(names), reverse=True))}[name] for name in names]
    renamed = rank_ratio(*(estimate_rank(rows, groups=numbers) for rows in (x, y)))
    assert renamed.low == pytest.approx(rank_ratio(a, shuffled).low, rel=1e-9)


def test_influences_are_what_an_unusual_utterance_changes():
    x, _ = pair(3)
    x[:FRAMES, 0] += 6.0
    found = estimate_rank(x, groups=GROUPS)
    influence = found.error.influence
    without = estimate_rank(x[FRAMES:], groups=GROUPS[FRAMES:])
    assert int(np.argmax(np.abs(influence))) == 0
    assert math.log(found.value / without.value) == pytest.approx(influence[0], rel=0.35)


def test_other_utterances_are_refused_and_what_has_no_interval_is_not_known():
    x, y = pair(4)
    a, b = estimates(4)
    with pytest.raises(ValueError, match="same utterances"):
        rank_ratio(a, estimate_rank(y[FRAMES:], groups=GROUPS[FRAMES:]))
    with pytest.raises(ValueError, match="confidence"):
        rank_ratio(a, b, confidence=1.0)
    few = slice(0, 10 * FRAMES)
    unknown = rank_ratio(*(estimate_rank(rows[few], groups=GROUPS[few]) for rows in (x, y)))
    assert (unknown.low, unknown.high) == (None, None)
    assert "too few groups" in unknown.reason
    assert unknown.value > 0.0
    assert "aren't known" in rank_ratio(estimate_rank(x), b).reason
    constant = estimate_rank(torch.ones(UTTERANCES * FRAMES, D), groups=GROUPS)
    assert "constant" in rank_ratio(a, constant).reason
