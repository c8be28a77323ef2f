"""The corrected effective rank: accuracy on known spectra, and a defined answer for degenerate rows."""

import math

import numpy as np
import pytest
import torch

from rankwatch.numerics import Sample, collapse_indicators, effective_rank, estimate_from_sample, estimate_rank, rankme

D = 256
RANKS = np.arange(1.0, D + 1)
SPECTRA = {
    "power -0.5": RANKS**-0.5,
    "power -1": RANKS**-1.0,
    "power -1.5": RANKS**-1.5,
    "exponential": np.exp(-RANKS / 50) + 1e-4,
    "flat": np.ones(D),
    "spike": np.r_[30.0, RANKS[:-1] ** -0.8],
}


def _gaussian(eigenvalues: np.ndarray, n: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((n, eigenvalues.size)) * np.sqrt(eigenvalues)


@pytest.mark.parametrize("name", SPECTRA)
@pytest.mark.parametrize(
    ("n", "k", "within"), [(1024, None, 0.015), (512, None, 0.02), (200, None, 0.04), (1024, 128, 0.03)]
)
def test_the_population_is_found_where_the_plain_value_is_far_off(
    name: str, n: int, k: int | None, within: float
) -> None:
    eigenvalues = SPECTRA[name]
    truth = effective_rank(np.sqrt(eigenvalues))
    estimate = estimate_rank(_gaussian(eigenvalues, n), projection=k)
    assert estimate.value == pytest.approx(truth, rel=within)
    assert abs(estimate.value - truth) < 0.5 * abs(estimate.plain - truth)
    assert estimate.spectrum.weights.sum() == pytest.approx(D)


def test_plain_and_rankme_are_the_decomposition_of_the_rows() -> None:
    x = _gaussian(SPECTRA["power -1"], 700) + 0.5
    estimate = estimate_rank(torch.from_numpy(x).float())
    x = torch.from_numpy(x).float().double().numpy()
    centred = np.linalg.svd(x - x.mean(0), compute_uv=False)
    assert estimate.plain == pytest.approx(effective_rank(centred), rel=1e-9)
    assert estimate.rankme == pytest.approx(rankme(x), rel=1e-9)
    assert estimate_rank(x, center=False).plain == pytest.approx(rankme(x), rel=1e-6)


@pytest.mark.parametrize("scale", [1e-20, 1e18])
def test_scale_changes_nothing(scale: float) -> None:
    x = torch.from_numpy(_gaussian(SPECTRA["power -1"], 400)).float()
    scaled = estimate_rank((x.double() * scale).float())
    assert scaled.value == pytest.approx(estimate_rank(x).value, rel=1e-6)
    assert scaled.rankme == pytest.approx(rankme(x), rel=1e-6)


V = torch.linspace(-2.0, 3.0, 12)
DEGENERATE = {
    "zeros": (torch.zeros(40, 12), 1.0, {"constant"}),
    "constant": (V.repeat(40, 1), 1.0, {"constant"}),
    "no rows": (torch.zeros(0, 12), math.nan, {"too_few_rows"}),
    "one row": (V[None], math.nan, {"too_few_rows"}),
    "all NaN": (torch.full((40, 12), math.nan), math.nan, {"non_finite_rows", "too_few_rows"}),
    "rank one": (torch.linspace(-1.0, 1.0, 40)[:, None] * V, 1.0, set()),
    "one column": (torch.linspace(-1.0, 1.0, 40)[:, None], 1.0, set()),
    "two points": (torch.stack([V, -V]).repeat(20, 1), 1.0, set()),
}


@pytest.mark.parametrize("name", DEGENERATE)
def test_degenerate_rows_have_a_defined_answer(name: str) -> None:
    x, value, status = DEGENERATE[name]
    sample = Sample.from_rows(x)
    estimate = estimate_from_sample(sample)
    assert estimate.value == pytest.approx(value, abs=1e-3, nan_ok=True)
    assert estimate.status == status
    assert (estimate.low is None) == bool(status)
    grouped = Sample.from_rows(x, torch.arange(x.shape[0]) // 2)
    assert estimate_from_sample(grouped).value == pytest.approx(value, abs=1e-3, nan_ok=True)
    assert len(collapse_indicators(grouped, estimate_from_sample(grouped))) == 8


def test_utterances_may_be_named_by_anything() -> None:
    x, keys = _gaussian(SPECTRA["power -1"], 300), np.arange(300) // 4
    wanted = estimate_rank(x, groups=keys).value
    assert estimate_rank(x, groups=[f"speaker-{key:03}" for key in keys]).value == wanted
    assert estimate_rank(x, groups=torch.from_numpy(keys) - 40).value == wanted
    with pytest.raises(ValueError, match="group key"):
        estimate_rank(x, groups=keys[:-1])


def test_rounding_of_a_constant_row_is_constant_and_a_rank_one_cloud_is_not() -> None:
    generator = torch.Generator().manual_seed(0)
    rounding = V.repeat(64, 1) * (1 + 1e-7 * torch.randn(64, 12, generator=generator))
    assert estimate_rank(rounding).status == {"constant"}
    shared = V + 1e-3 * torch.randn(64, 1, generator=generator) * V
    assert not estimate_rank(shared).status
    assert estimate_rank(shared).value == pytest.approx(1.0, abs=0.1)
