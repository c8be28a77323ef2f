"""Each step of the correction against the algebra that it stands for."""

import numpy as np
import pytest
import scipy.integrate
import scipy.linalg
import torch

from rankwatch.numerics import effective_rank, estimate_rank
from rankwatch.numerics.rank.centred_rows import Rows
from rankwatch.numerics.rank.leave_utterances_out import Parts, _leverage, directions
from rankwatch.numerics.rows.projection import projection_matrix


def _centred(n: int, d: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(n, d, generator=generator, dtype=torch.float64) * torch.arange(1.0, d + 1) ** -0.5
    return x - x.mean(dim=0)


@pytest.mark.parametrize(("n", "d"), [(60, 20), (30, 50)])
@pytest.mark.parametrize("size", [1, 2, 3, 5])
def test_woodbury_equals_leaving_groups_out_one_by_one(n: int, d: int, size: int) -> None:
    x = _centred(n, d)
    found = directions(Rows(x, torch.zeros(d, dtype=torch.float64), None, None))
    t = np.array([0.01, 0.3, 5.0])
    sizes = Parts.of(torch.arange(n) // size).sizes
    outside = _leverage(found, found.eigenvalues, sizes, t)
    for j, ridge in enumerate(t):
        for g in range(n // size):
            inside = np.arange(n) // size == g
            rest, own = x[~inside], x[inside]
            resolvent = torch.linalg.inv(rest.T @ rest / n + ridge * torch.eye(d, dtype=torch.float64))
            expected = float(torch.trace(own @ resolvent @ own.T))
            assert outside[g, j] == pytest.approx(expected, rel=1e-8)


def test_parts_follow_the_order_of_the_rows() -> None:
    keys = torch.tensor([-1, -1, 3, 3, 3, 8])
    parts = Parts.of(keys, torch.tensor([1.0, 1.0, 0.5, 0.5, 0.5, 2.5], dtype=torch.float64))
    assert (parts.sizes.tolist(), parts.first.tolist()) == ([1, 1, 3, 1], [0, 1, 2, 3])
    assert parts.masses.tolist() == [1.0, 1.0, 1.5, 2.5]
    assert parts.groups == pytest.approx(6.0**2 / (1.0 + 1.0 + 1.5**2 + 2.5**2))
    parts = Parts.of(torch.tensor([1] * 150 + [2]))
    assert (parts.sizes.tolist(), parts.first.tolist()) == ([64, 64, 22, 1], [0, 3])


def test_a_projection_is_orthonormal_up_to_its_scale_and_depends_on_its_seed() -> None:
    frame = projection_matrix(96, 32, 7)
    torch.testing.assert_close(frame.T @ frame, 3.0 * torch.eye(32), atol=1e-5, rtol=0.0)
    assert not torch.equal(frame, projection_matrix(96, 32, 8))
    with pytest.raises(ValueError, match="1 <= k"):
        projection_matrix(96, 96)


def _utterances(kind: str, seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng, groups = np.random.default_rng(seed), np.repeat(np.arange(128), 4)
    z = rng.standard_normal((128, 4, 160))
    if kind == "shared":
        z = np.sqrt(0.5) * (z + rng.standard_normal((128, 1, 160)))
    elif kind == "repeated":
        z[:] = z[:, :1]
    x = z.reshape(512, 160) / np.sqrt(np.arange(1.0, 161.0))
    return (x * np.exp(rng.standard_normal((512, 1))) if kind == "loud and soft" else x), groups


@pytest.mark.parametrize(
    ("kind", "plain_low", "within", "worth"),
    [
        ("independent", 0.03, 0.01, (430, 512)),
        ("shared", 0.06, 0.012, (220, 380)),
        ("loud and soft", 0.08, 0.02, (100, 330)),
        ("repeated", 0.20, 0.03, (100, 130)),
    ],
)
def test_dependent_and_unequal_rows_count_for_what_they_are_worth(
    kind: str, plain_low: float, within: float, worth: tuple[int, int]
) -> None:
    truth = effective_rank(1.0 / np.sqrt(np.arange(1.0, 161.0)))
    found = [estimate_rank(x, groups=groups) for x, groups in (_utterances(kind, s) for s in range(4))]
    assert np.mean([e.plain for e in found]) < truth * (1.0 - plain_low)
    assert np.mean([e.value for e in found]) == pytest.approx(truth, rel=within)
    assert worth[0] < np.mean([e.n_eff for e in found]) <= worth[1]


@pytest.mark.parametrize(("n", "k"), [(256, None), (96, None), (256, 64)])
def test_nine_of_ten_intervals_hold_the_truth(n: int, k: int | None) -> None:
    d, trials = 128, 50
    lam = np.arange(1.0, d + 1.0) ** -1.5
    truth, held, widths = effective_rank(np.sqrt(lam)), 0, []
    for seed in range(trials):
        x = np.random.default_rng(seed).standard_normal((n, d)) * np.sqrt(lam)
        estimate = estimate_rank(x, projection=k, seed=seed)
        assert estimate.low is not None
        assert estimate.high is not None
        held += estimate.low <= truth <= estimate.high
        widths.append(np.log(estimate.high / estimate.low))
    # 90 % +- three standard errors of 50 trials; and an interval that says everything says nothing.
    assert held >= 0.77 * trials
    assert np.median(widths) < 0.15


def test_uncentred_rows_with_one_huge_mean() -> None:
    x = np.random.default_rng(0).standard_normal((400, 64)).astype(np.float32)
    shifted = estimate_rank(x + np.float32(1000.0))
    assert shifted.value == pytest.approx(estimate_rank(x).value, rel=1e-3)
    assert estimate_rank(x + np.float32(1000.0), center=False).value < 1.5
    assert shifted.rankme is not None
    assert shifted.rankme < 1.5


@pytest.mark.parametrize("slope", [0.5, 1.0, 2.0])
def test_the_fit_agrees_with_the_integral_that_needs_none(slope: float) -> None:
    """Ln R = ln S1 - S2 / (2 S1), both integrals over df(kappa) itself: only for n > d and independent rows."""
    n, d = 1500, 160
    x = np.random.default_rng(3).standard_normal((n, d)) * np.arange(1.0, d + 1) ** (-slope / 2)
    eigenvalues = scipy.linalg.svdvals(x - x.mean(axis=0)) ** 2 / (n - 1)
    t = np.geomspace(eigenvalues[-1] * 1e-9, eigenvalues[0] * 1e9, 20_000)
    df = (eigenvalues[:, None] / (eigenvalues[:, None] + t)).sum(0)
    kappa = t / (1.0 - df / (n - 1))
    first = 2.0 * scipy.integrate.trapezoid(df, np.sqrt(kappa))
    second = 2.0 * scipy.integrate.trapezoid(df * np.log(kappa), np.sqrt(kappa))
    integral = np.exp(np.log(first / np.pi) - second / (2.0 * first))
    assert estimate_rank(x).value == pytest.approx(integral, rel=4e-3)
    assert estimate_rank(x).plain == pytest.approx(effective_rank(np.sqrt(eigenvalues)), rel=1e-6)
