"""Rows that are not what the algebra expects: repetitions, dead columns, zero weights, a fit that fails."""

import math
import warnings

import numpy as np
import pytest
import torch

from rankwatch.extraction.rows.row_sampling import sample_rows
from rankwatch.numerics import effective_rank, estimate_rank
from rankwatch.numerics.rank import corrected_rank as analysis
from rankwatch.numerics.rank.spectrum_correction import NoFit
from rankwatch.numerics.rows.projection import projection_matrix


def _rows(n: int, d: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((n, d)) * np.arange(1.0, d + 1) ** -0.5


def _truth(d: int) -> float:
    return effective_rank(np.arange(1.0, d + 1) ** -0.5)


@pytest.mark.parametrize("center", [True, False])
@pytest.mark.parametrize("kind", ["twice", "silent", "twice silent", "in proportion"])
@pytest.mark.parametrize(("n", "d", "k"), [(200, 256, None), (100, 256, 128), (600, 128, None)])
def test_a_row_that_says_nothing_new_changes_little(n: int, d: int, k: int | None, kind: str, center: bool) -> None:
    x = _rows(n, d)
    before = estimate_rank(x, projection=k, center=center).value
    if kind == "in proportion":
        x[1] = 2.0 * x[0]
    else:
        x[1] = x[0] if kind == "twice" else 0.0
        x[2] = 0.0 if kind == "twice silent" else x[2]
    assert estimate_rank(x, projection=k, center=center).value == pytest.approx(before, rel=0.05)


def test_a_third_of_silent_frames_still_leaves_most_to_be_seen() -> None:
    x = _rows(240, 256)
    x[::3] = 0.0
    assert estimate_rank(x, groups=np.arange(240) // 4).value == pytest.approx(_truth(256), rel=0.15)


def test_a_few_points_over_and_over_are_a_few_dimensions() -> None:
    points = _rows(12, 256)
    found = estimate_rank(points[np.random.default_rng(1).integers(0, 12, 200)])
    assert found.value == pytest.approx(found.plain, rel=0.1)
    assert found.value < 12.0


@pytest.mark.parametrize(("n", "k"), [(120, None), (600, 128), (600, None)])
def test_dead_columns_are_as_if_they_were_not_there(n: int, k: int | None) -> None:
    x, dead = _rows(n, 256), np.random.default_rng(5).permutation(256)[:86]
    without = np.delete(x, dead, axis=1)
    truth = effective_rank(np.sqrt(np.delete(1.0 / np.arange(1.0, 257.0), dead)))
    x[:, dead] = 3.0
    found = estimate_rank(x, projection=k)
    assert found.value == pytest.approx(truth, rel=0.04)
    if k is None:
        assert found.value == pytest.approx(estimate_rank(without).value, rel=1e-3)
    assert found.low is not None
    assert found.low > 0.9 * truth
    assert found.spectrum.d == 256


def test_rows_of_no_weight_are_not_there() -> None:
    x = _rows(200, 256)
    weights = np.r_[np.zeros(20), np.ones(180)]
    found = estimate_rank(x, weights=weights)
    assert found.value == estimate_rank(x[20:]).value
    assert found.n == 180
    few = estimate_rank(x, weights=np.r_[np.ones(5), np.zeros(195)])
    assert "too_few_rows" in few.status
    assert few.low is None
    groups = np.arange(200) // 10
    thin = estimate_rank(x, groups=groups, weights=np.where(groups < 3, 1.0, 1e-9))
    assert "too_few_groups" in thin.status


def test_weights_are_relative_to_the_rows_that_are_left() -> None:
    x, weights = _rows(400, 64) + 3.0, np.ones(400)
    weights[:40] = 20.0
    broken = x.copy()
    broken[:40] = np.nan
    found = estimate_rank(broken, weights=weights)
    assert found.value == pytest.approx(estimate_rank(x[40:]).value, rel=1e-6)
    assert found.status == {"non_finite_rows"}
    nothing = estimate_rank(broken, weights=np.r_[np.ones(40), np.zeros(360)])
    assert math.isnan(nothing.value)


def test_one_vector_is_constant_whatever_its_weights() -> None:
    vector = np.linspace(-2.0, 3.0, 12)
    for seed in range(6):
        weights = np.random.default_rng(seed).integers(1, 500, 300)
        assert estimate_rank(np.tile(vector, (300, 1)), weights=weights).status == {"constant"}
        assert estimate_rank(np.ones((300, 1)), weights=weights).status == {"constant"}
    x = _rows(400, 64)
    weights = np.random.default_rng(0).random(400)
    assert estimate_rank(x + 1000.0, weights=weights).value == pytest.approx(
        estimate_rank(x, weights=weights).value, rel=1e-3
    )


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("seed", range(12))
def test_rows_of_very_unequal_size_are_read(seed: int) -> None:
    rng = np.random.default_rng(seed)
    z = rng.standard_normal((65, 65)) * np.exp(2.0 * rng.standard_normal((65, 1)))
    for center in (True, False):
        found = estimate_rank(z, center=center)
        assert 1.0 <= found.value <= 65.0
    spread = estimate_rank(rng.standard_normal((600, 32)) + 5.0, weights=rng.random(600) ** 20 * 500)
    assert 1.0 <= spread.value <= 32.0
    tiny = np.where(np.arange(600) < 60, 1e-15, 1.0)
    assert estimate_rank(rng.standard_normal((600, 32)), weights=tiny).n_eff == pytest.approx(540.0, rel=0.1)


def test_a_fit_that_fails_has_a_status_and_no_number(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*args: object) -> None:
        raise NoFit

    monkeypatch.setattr(analysis, "fit_spectrum", fails)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for x in (torch.randn(100, 16), torch.randn(100, 16).bfloat16(), torch.randn(100, 16) * torch.arange(16)):
            found = estimate_rank(x)
            assert math.isnan(found.value)
            assert (found.status, found.low, found.high) == ({"no_fit"}, None, None)


def test_rounding_of_means_that_nearly_vanish_stays_their_own() -> None:
    hidden = torch.randn(64, 4, 32, generator=torch.Generator().manual_seed(0)).bfloat16()
    hidden[0, 2:] = -hidden[0, :2]
    drawn = sample_rows(hidden, torch.full((64,), 4), torch.arange(64), per_utterance=2)
    sample = analysis.Sample.from_rows(drawn.utterance_rows, rounding=drawn.utterance_rounding)
    assert analysis.estimate_from_sample(sample).value == pytest.approx(
        estimate_rank(drawn.utterance_rows).value, rel=1e-3
    )


@pytest.mark.parametrize("scale", [1e-20, 1e20, -1.0])
def test_columns_of_any_scale_and_orientation_in_memory(scale: float) -> None:
    x = _rows(300, 40)
    wanted = estimate_rank(x).value
    assert estimate_rank(x * scale).value == pytest.approx(wanted, rel=1e-6)
    assert estimate_rank(x[::-1]).value == pytest.approx(wanted, rel=1e-6)
    assert estimate_rank(torch.from_numpy(x).T.contiguous().T).value == pytest.approx(wanted, rel=1e-6)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("spread", [1e-5, 3e-5, 1e-4, 1e-3])
@pytest.mark.parametrize(("n", "k"), [(1000, None), (400, None), (1000, 384)])
def test_a_cloud_around_a_huge_mean_is_a_cloud(n: int, k: int | None, spread: float) -> None:
    generator = torch.Generator().manual_seed(0)
    mean = torch.randn(768, generator=generator)
    found = estimate_rank(mean + spread * torch.randn(n, 768, generator=generator), projection=k)
    assert found.value == pytest.approx(768.0, rel=0.02)
    assert found.noise_floor == 0.0


def test_one_huge_column_does_not_hide_the_others() -> None:
    x = torch.randn(1000, 64, generator=torch.Generator().manual_seed(0))
    x[:, 0] += 1e4
    assert estimate_rank(x).value > 60.0


@pytest.mark.parametrize("constant", [3.0, 300.0])
@pytest.mark.parametrize("k", [128, 200])
def test_projected_constants_add_no_directions(k: int, constant: float) -> None:
    x = np.full((600, 256), constant)
    x[:, :80] = _rows(600, 80)
    assert estimate_rank(x, projection=k).value == pytest.approx(_truth(80), rel=0.015)


def test_rows_that_are_equal_but_for_rounding_are_repetitions() -> None:
    x = (_rows(240, 256, 3) + 0.5).astype(np.float32)
    once = estimate_rank(x).value
    x[:40] = x[0] * (1.0 + np.float32(6e-8) * np.arange(40, dtype=np.float32)[:, None] / 20)
    assert estimate_rank(x).value == pytest.approx(once, rel=0.1)


def test_the_order_of_weighted_and_rounded_rows_changes_no_bit() -> None:
    rng = np.random.default_rng(0)
    for _ in range(10):
        x, weights = rng.standard_normal((500, 8)) + 3.0, np.exp(3.0 * rng.standard_normal(500))
        order = rng.permutation(500)
        assert estimate_rank(x[order], weights=weights[order]).value == estimate_rank(x, weights=weights).value
    same = [analysis.Sample.from_rows(torch.ones(4, 3), rounding=r) for r in ([1, 2, 3, 4], [4, 3, 2, 1])]
    assert torch.equal(same[0].rounding, same[1].rounding)


def test_unequal_weights_are_not_taken_for_few_groups() -> None:
    rng = np.random.default_rng(0)
    assert not any(
        "too_few_groups" in estimate_rank(rng.standard_normal((10, 4)), weights=rng.random(10)).status
        for _ in range(50)
    )


@pytest.mark.parametrize("scale", [2.0**66, 2.0**-76])
def test_rounding_has_no_scale(scale: float) -> None:
    x = (_rows(300, 60) * scale).astype(np.float32)
    half = estimate_rank(torch.from_numpy(x).bfloat16())
    assert half.value == pytest.approx(estimate_rank(x).value, rel=0.01)
    assert half.noise_floor == pytest.approx(
        estimate_rank(torch.from_numpy(_rows(300, 60)).bfloat16()).noise_floor, 0.01
    )
    assert estimate_rank(x).noise_floor == 0.0


def test_another_default_device_changes_nothing() -> None:
    x, groups = torch.from_numpy(_rows(200, 256)), torch.arange(200) // 4
    x[40:60] = 0.0  # repetitions are looked for
    sample = analysis.Sample.from_rows(x, groups)
    wanted = analysis.estimate_from_sample(sample).value
    with torch.device("meta"):
        assert analysis.estimate_from_sample(sample).value == wanted
        assert analysis.estimate_from_sample(analysis.Sample.from_rows(x, groups)).value == wanted
        assert projection_matrix(256, 31, 4).device.type == "cpu"


def test_estimates_can_be_compared() -> None:
    x = _rows(200, 16)
    assert estimate_rank(x) == estimate_rank(x)
    assert estimate_rank(x) != estimate_rank(x[:100])
