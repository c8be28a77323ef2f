"""Rows that count differently, and groups above the utterance."""

import numpy as np
import pytest

from rankwatch.numerics import Sample, effective_rank, estimate_from_sample, estimate_rank

D = 192
FIRST, SECOND = np.arange(1.0, D + 1) ** -1.0, np.roll(np.arange(1.0, D + 1) ** -0.6, 60)


def _two_kinds(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows of two populations, evenly drawn, of which the first counts five times as much."""
    rng = np.random.default_rng(seed)
    first = rng.random(n) < 0.5
    x = rng.standard_normal((n, D)) * np.sqrt(np.where(first[:, None], FIRST, SECOND))
    return x, np.where(first, 5.0, 1.0)


@pytest.mark.parametrize(("n", "k", "within"), [(512, None, 0.01), (128, None, 0.03), (512, 96, 0.015)])
def test_weights_give_the_population_that_they_describe(n: int, k: int | None, within: float) -> None:
    truth = effective_rank(np.sqrt((5.0 * FIRST + SECOND) / 6.0))
    draws = [_two_kinds(n, seed) for seed in range(5)]
    found = [estimate_rank(x, weights=w, projection=k) for x, w in draws]
    assert np.median([e.value for e in found]) == pytest.approx(truth, rel=within)
    assert np.median([estimate_rank(x, projection=k).value for x, _ in draws]) > 1.02 * truth
    assert sum((e.low or 0.0) <= truth <= (e.high or 0.0) for e in found) >= 3


def test_equal_weights_change_nothing_whatever_their_unit() -> None:
    x, _ = _two_kinds(400, 0)
    for rows in (x, x[:100]):
        assert estimate_rank(rows, weights=np.full(len(rows), 7.0)).value == pytest.approx(
            estimate_rank(rows).value, rel=1e-6
        )


def test_the_mean_that_is_taken_out_is_weighted() -> None:
    x, w = _two_kinds(400, 0)
    shifted = x + 50.0 * (w[:, None] > 1.0)
    found = estimate_rank(shifted, weights=w)
    mean = (w[:, None] * shifted).sum(0) / w.sum()
    plain = np.linalg.svd((shifted - mean) * np.sqrt(w)[:, None], compute_uv=False)
    assert found.plain == pytest.approx(effective_rank(plain), rel=1e-5)
    moments = Sample.from_rows(shifted, weights=w / w.mean()).moments
    np.testing.assert_allclose(moments.mean, mean, rtol=1e-6)
    np.testing.assert_allclose(moments.second_moment(), (w[:, None] * shifted**2).sum(0) / w.sum(), rtol=1e-6)


def test_a_whole_number_as_weight_is_a_repetition_in_the_utterance() -> None:
    x, _ = _two_kinds(100, 0)
    times = np.random.default_rng(1).integers(1, 4, 100)
    weighted = estimate_rank(x, groups=np.arange(100), weights=times)
    repeated = estimate_rank(np.repeat(x, times, axis=0), groups=np.repeat(np.arange(100), times))
    assert weighted.value == pytest.approx(repeated.value, rel=0.02)
    assert weighted.plain == pytest.approx(repeated.plain, rel=1e-6)


def test_weights_that_say_nothing_are_refused() -> None:
    x, w = _two_kinds(40, 0)
    for bad in (w[:-1], -w, np.zeros(40), np.where(w > 1.0, np.nan, w)):
        with pytest.raises(ValueError, match="weight"):
            estimate_rank(x, weights=bad)


@pytest.mark.slow
def test_with_batches_as_groups_the_interval_is_by_batch() -> None:
    """Batches of 16 utterances of 8 frames, which differ in how loud they are and in a few directions."""
    lam = np.arange(1.0, 65.0) ** -1.0
    spread = {"utterance": [], "batch": [], "value": []}
    for seed in range(24):
        rng = np.random.default_rng(seed)
        z = rng.standard_normal((40, 128, 64)) * np.sqrt(lam)
        z[:, :, :6] *= np.exp(0.4 * rng.standard_normal((40, 1, 1)))
        x, batch = z.reshape(-1, 64), np.repeat(np.arange(40), 128)
        for name, groups in (("utterance", np.arange(len(x)) // 8), ("batch", batch)):
            estimate = estimate_from_sample(Sample.from_rows(x, groups))
            spread[name].append(np.log((estimate.high or 0.0) / (estimate.low or 1.0)))
            if name == "batch":
                spread["value"].append(np.log(estimate.value))
    needed = 3.29 * np.std(spread["value"])
    assert 0.7 * needed < np.median(spread["batch"]) < 2.0 * needed
    assert np.median(spread["utterance"]) < 0.6 * needed
