"""A sample is the same, bit for bit, however its rows were ordered and spread over processes."""

from collections.abc import Callable

import numpy as np
import pytest
import torch

from rankwatch.numerics import Sample, analyse, indicators


def _rows(n: int = 60, d: int = 24, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    scale = torch.logspace(3, -6, n)[torch.randperm(n, generator=generator)]
    return torch.randn(n, d, generator=generator) * scale[:, None]


def _same(a: Sample, b: Sample) -> bool:
    left, right = a.to_tensors(), b.to_tensors()
    return all(torch.equal(left[name], right[name]) for name in left)


@pytest.mark.parametrize("projection", [None, 7])
@pytest.mark.parametrize("grouped", [True, False])
def test_merging_shards_in_any_order_equals_the_whole(projection: int | None, grouped: bool) -> None:
    x, keys = _rows(), torch.arange(60) // 4 * 17 % 101
    groups = keys if grouped else None
    whole = Sample.from_rows(x, groups, projection, seed=3)
    order = torch.randperm(60, generator=torch.Generator().manual_seed(1))
    parts = [order[:1], order[1:35], order[35:35], order[35:]]
    shards = [Sample.from_rows(x[p], keys[p] if grouped else None, projection, seed=3) for p in parts]
    merged = Sample.merge([shards[2], shards[3], shards[0], shards[1]])
    assert _same(whole, merged)
    assert analyse(whole).value == analyse(merged).value
    assert indicators(whole, analyse(whole)) == pytest.approx(indicators(merged, analyse(merged)), nan_ok=True)


def test_non_finite_rows_are_left_out_and_counted() -> None:
    x = _rows()
    broken = torch.cat([x, torch.full((2, 24), torch.nan), torch.full((1, 24), torch.inf)])
    sample = Sample.from_rows(broken)
    assert sample.n_nonfinite == 3
    assert torch.equal(sample.rows, Sample.from_rows(x).rows)
    assert analyse(sample).status == "non_finite_rows"


def test_moments_are_those_of_the_unprojected_rows_in_float64() -> None:
    x = _rows() + 100.0
    moments = Sample.from_rows(x, projection=5).moments
    exact = x.double().numpy()
    unit = exact / np.linalg.norm(exact, axis=1, keepdims=True)
    np.testing.assert_allclose(moments.mean(), exact.mean(0), rtol=1e-10)
    np.testing.assert_allclose(moments.variance(), exact.var(0), rtol=1e-7)
    np.testing.assert_allclose(moments.unit_variance(), unit.var(0), rtol=1e-7)


def test_tensors_carry_everything() -> None:
    sample = Sample.from_rows(_rows(), torch.arange(60) // 2, 6, seed=9)
    copy = Sample.from_tensors(sample.to_tensors())
    assert _same(sample, copy)
    assert (copy.d, copy.k, copy.seed, copy.n, copy.n_nonfinite) == (24, 6, 9, 60, 0)


def test_projection_that_is_not_narrower_is_none() -> None:
    assert Sample.from_rows(_rows(), projection=24).k is None


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: Sample.from_rows(torch.zeros(3)), "shape"),
        (lambda: Sample.from_rows(_rows(), groups=[1, 2]), "group key"),
        (lambda: Sample.from_rows(_rows(), projection=0), "positive"),
        (lambda: Sample.merge([]), "nothing"),
        (lambda: Sample.merge([Sample.from_rows(_rows()), Sample.from_rows(_rows(), seed=1)]), "differ"),
    ],
)
def test_bad_input_is_named(call: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()
