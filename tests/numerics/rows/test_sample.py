"""A sample is the same, bit for bit, however its rows were ordered."""

from collections.abc import Callable

import numpy as np
import pytest
import torch

from rankwatch.numerics import Sample, collapse_indicators, estimate_from_sample


def _rows(n: int = 60, d: int = 24, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    scale = torch.logspace(3, -6, n)[torch.randperm(n, generator=generator)]
    return torch.randn(n, d, generator=generator) * scale[:, None]


def _same(a: Sample, b: Sample) -> bool:
    tensors = all(torch.equal(getattr(a, name), getattr(b, name)) for name in ("rows", "groups", "rounding"))
    names = ("mean", "variance", "unit_variance")
    return tensors and all(np.array_equal(getattr(a.moments, name), getattr(b.moments, name)) for name in names)


@pytest.mark.parametrize("projection", [None, 7])
@pytest.mark.parametrize("grouped", [True, False])
def test_rows_in_any_order_are_one_sample(projection: int | None, grouped: bool) -> None:
    x, keys = _rows(), torch.arange(60) // 4 * 17 % 101
    whole = Sample.from_rows(x, keys if grouped else None, projection, seed=3)
    order = torch.randperm(60, generator=torch.Generator().manual_seed(1))
    other = Sample.from_rows(x[order], keys[order] if grouped else None, projection, seed=3)
    assert _same(whole, other)
    assert estimate_from_sample(whole).value == estimate_from_sample(other).value
    assert collapse_indicators(whole, estimate_from_sample(whole)) == pytest.approx(
        collapse_indicators(other, estimate_from_sample(other)), rel=0, nan_ok=True
    )


def test_non_finite_rows_are_left_out_and_counted() -> None:
    x = _rows()
    broken = torch.cat([x, torch.full((2, 24), torch.nan), torch.full((1, 24), torch.inf)])
    sample = Sample.from_rows(broken)
    assert sample.n_nonfinite == 3
    assert torch.equal(sample.rows, Sample.from_rows(x).rows)
    assert estimate_from_sample(sample).status == {"non_finite_rows"}


def test_moments_are_those_of_the_unprojected_rows_in_float64() -> None:
    x = _rows() + 100.0
    moments = Sample.from_rows(x, projection=5).moments
    exact = x.double().numpy()
    unit = exact / np.linalg.norm(exact, axis=1, keepdims=True)
    np.testing.assert_allclose(moments.mean, exact.mean(0), rtol=1e-10)
    np.testing.assert_allclose(moments.variance, exact.var(0), rtol=1e-7)
    np.testing.assert_allclose(moments.unit_variance, unit.var(0), rtol=1e-7)


def test_projection_that_is_not_narrower_is_none() -> None:
    assert Sample.from_rows(_rows(), projection=24).k is None


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: Sample.from_rows(torch.zeros(3)), "shape"),
        (lambda: Sample.from_rows(_rows(), groups=[1, 2]), "group key"),
        (lambda: Sample.from_rows(_rows(), projection=0), "positive"),
    ],
)
def test_bad_input_is_named(call: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()
