"""What must hold for any rows: invariances, bounds, and agreement with other ways to the same number."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rankwatch.numerics import Spectrum, effective_rank, estimate_rank, rankme
from rankwatch.numerics.metrics.eigenvalue_metrics import (
    alpha_req,
    dimensions_above,
    explained_variance_dimensions,
    participation_ratio,
    stable_rank,
)

FEW = settings(max_examples=15, deadline=None, derandomize=True)
shapes = st.tuples(st.integers(40, 120), st.integers(2, 48), st.integers(0, 2**31))


def _rows(shape: tuple[int, int, int], slope: float = 1.0) -> np.ndarray:
    n, d, seed = shape
    x = np.random.default_rng(seed).standard_normal((n, d)) * np.arange(1.0, d + 1) ** (-slope / 2)
    return x.astype(np.float32)


@FEW
@given(shapes, st.floats(0.0, 2.5))
def test_ranks_stay_within_their_bounds(shape: tuple[int, int, int], slope: float) -> None:
    x = _rows(shape, slope)
    n, d = x.shape
    estimate = estimate_rank(x)
    assert 1.0 <= estimate.plain <= min(n - 1, d) + 1e-9
    assert 1.0 <= rankme(x) <= min(n, d)
    assert estimate.low is not None
    assert estimate.high is not None
    assert 1.0 <= estimate.low <= estimate.value <= estimate.high <= d
    assert estimate.spectrum.weights.sum() == pytest.approx(d)


@FEW
@given(shapes, st.integers(-60, 60))
def test_scale_and_the_order_of_rows_change_nothing(shape: tuple[int, int, int], exponent: int) -> None:
    x = _rows(shape)
    other = np.random.default_rng(1).permutation(x) * np.float32(2.0) ** exponent
    assert rankme(other) == pytest.approx(rankme(x), rel=1e-12)
    assert estimate_rank(other).value == pytest.approx(estimate_rank(x).value, rel=1e-6)
    assert estimate_rank(np.random.default_rng(1).permutation(x)).value == estimate_rank(x).value


@FEW
@given(shapes)
def test_rotation_changes_nothing_and_repetition_not_the_plain_value(shape: tuple[int, int, int]) -> None:
    x = _rows(shape)
    rotation = np.linalg.qr(np.random.default_rng(2).standard_normal((x.shape[1], x.shape[1])))[0]
    rotated = estimate_rank(x.astype(np.float64) @ rotation)
    assert rotated.value == pytest.approx(estimate_rank(x).value, rel=1e-4)
    assert rotated.plain == pytest.approx(estimate_rank(x).plain, rel=1e-4)
    assert rankme(np.concatenate([x, x])) == pytest.approx(rankme(x), rel=1e-9)
    assert estimate_rank(np.concatenate([x, x])).plain == pytest.approx(estimate_rank(x).plain, rel=1e-6)


@FEW
@given(shapes, st.sampled_from([torch.float16, torch.bfloat16, torch.float32, torch.float64]))
def test_every_float_type_is_read(shape: tuple[int, int, int], dtype: torch.dtype) -> None:
    x = torch.from_numpy(_rows(shape)).to(dtype)
    assert estimate_rank(x).value == estimate_rank(x.float()).value


def test_more_rows_narrow_the_interval_on_average() -> None:
    def width(n: int) -> float:
        found = [estimate_rank(_rows((n, 32, seed))) for seed in range(12)]
        return float(np.mean([np.log((e.high or 0.0) / (e.low or 1.0)) for e in found]))

    assert width(80) > width(160) > width(640)


@pytest.mark.parametrize("slope", [0.5, 1.0, 2.0])
@pytest.mark.parametrize(("n", "d"), [(600, 200), (120, 200)])
def test_the_predicted_plain_value_is_what_rows_read(slope: float, n: int, d: int) -> None:
    spectrum = Spectrum(np.arange(1.0, d + 1) ** -slope, np.ones(d))
    read = np.mean([estimate_rank(_rows((n, d, seed), slope)).plain for seed in range(4)])
    assert spectrum.plain_at(n) == pytest.approx(read, rel=0.03)
    assert spectrum.plain_at(10**9) == pytest.approx(spectrum.effective_rank(), rel=1e-4)


def test_an_estimate_predicts_its_own_plain_value() -> None:
    estimate = estimate_rank(_rows((500, 160, 3)))
    assert estimate.spectrum.plain_at(500) == pytest.approx(estimate.plain, rel=5e-3)


def test_metrics_of_closed_form_spectra() -> None:
    flat, power = np.ones(50), np.arange(1.0, 201.0) ** -1.5
    assert participation_ratio(flat) == stable_rank(flat) == dimensions_above(flat) == pytest.approx(50.0)
    assert explained_variance_dimensions(flat, 0.9) == 45.0
    assert alpha_req(power) == pytest.approx(1.5)
    geometric = 0.5 ** np.arange(60.0)
    assert stable_rank(geometric) == pytest.approx(2.0)
    assert participation_ratio(geometric) == pytest.approx(3.0)
    # p_i = (1 - q) q^i has the entropy -ln(1 - q) - q ln(q) / (1 - q).
    q = 0.5
    assert effective_rank(q ** np.arange(80.0)) == pytest.approx(np.exp(-np.log(1 - q) - q * np.log(q) / (1 - q)))


def test_a_spectrum_of_fractions_keeps_its_trace_and_number() -> None:
    spectrum = Spectrum(np.array([9.0, 4.0, 1.0]), np.array([0.6, 1.9, 2.5]))
    values = spectrum.eigenvalues()
    assert values.size == spectrum.d == 5
    assert values.sum() == pytest.approx(9.0 * 0.6 + 4.0 * 1.9 + 2.5)
    assert np.all(np.diff(values) <= 0.0)
    assert spectrum.singular_values([1, 5])[1] == pytest.approx(1.0)
    assert spectrum.effective_rank("sigma^2") < spectrum.effective_rank()
