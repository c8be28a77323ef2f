"""Rounding of narrow number formats is reported, and not read as rank."""

import numpy as np
import pytest
import torch

from rankwatch.numerics import Spectrum, estimate_rank
from rankwatch.numerics.rows.rounding import number_format, rounding_share

HALVES = [torch.bfloat16, torch.float16]


def _cloud(rank: int, n: int = 1024, d: int = 256, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(n, rank, generator=generator) @ torch.randn(rank, d, generator=generator)


@pytest.mark.parametrize("dtype", HALVES)
def test_the_share_is_the_variance_of_the_error(dtype: torch.dtype) -> None:
    x = _cloud(40) * torch.logspace(-1, 1, 256)
    error = (x.to(dtype).double() - x.double()).square().mean(dim=0) / x.double().square().mean(dim=0)
    assert float(error.median()) == pytest.approx(rounding_share(dtype), rel=0.05)


@pytest.mark.parametrize("dtype", HALVES)
@pytest.mark.parametrize("projection", [None, 128])
@pytest.mark.parametrize("rank", [1, 16])
def test_a_narrow_cloud_stays_narrow(rank: int, projection: int | None, dtype: torch.dtype) -> None:
    x = _cloud(rank)
    rounded = estimate_rank(x.to(dtype), projection=projection)
    assert rounded.value == pytest.approx(estimate_rank(x, projection=projection).value, rel=0.02)
    assert rounded.plain > estimate_rank(x, projection=projection).plain * (1.001 if rank > 1 else 1.01)
    variance = rounding_share(dtype) * x.square().mean(dim=0).median()
    largest = torch.linalg.matrix_norm((x - x.mean(dim=0)).double(), 2) / len(x) ** 0.5
    assert rounded.noise_floor == pytest.approx(float(variance.sqrt() / largest), rel=0.1)


def test_the_status_says_when_rounding_would_have_counted() -> None:
    assert estimate_rank(_cloud(1).bfloat16()).status == {"rounded"}
    assert not estimate_rank(_cloud(1)).status
    assert estimate_rank(_cloud(1)).noise_floor == 0.0


@pytest.mark.parametrize("slope", [0.5, 1.0, 2.0])
def test_a_spectrum_above_the_floor_is_left_alone(slope: float) -> None:
    rotation = torch.linalg.qr(_cloud(256, 256)).Q
    x = torch.randn(1024, 256, generator=torch.Generator().manual_seed(3))
    x = (x * torch.arange(1.0, 257.0) ** (-slope / 2)) @ rotation
    assert estimate_rank(x.bfloat16()).value == pytest.approx(estimate_rank(x).value, rel=2e-3)


def test_huge_columns_do_not_raise_the_floor_of_the_others() -> None:
    x = _cloud(16)
    x[:, :3] *= 300.0
    assert estimate_rank(x.bfloat16()).value == pytest.approx(estimate_rank(x).value, rel=0.01)


def test_the_bits_tell_where_numbers_came_from() -> None:
    x = _cloud(30)
    for dtype in HALVES:
        for wider in (torch.float32, torch.float64):
            assert number_format(x.to(dtype).to(wider)) == dtype
            assert estimate_rank(x.to(dtype).to(wider)).value == estimate_rank(x.to(dtype)).value
    assert number_format(x) == torch.float32
    assert number_format(x.double() + 1e-12) == torch.float64
    assert number_format(torch.zeros(0, 3)) == torch.float32
    assert number_format(torch.eye(5)) == torch.float32
    assert number_format(torch.arange(20.0).reshape(4, 5)) == torch.float32
    one = x.bfloat16().float()
    one[-1, -1] = 1.0 + 2.0**-20
    assert number_format(one) == torch.float32
    assert number_format(torch.full((2, 2), 0.5 + 2.0**-9)) == torch.float16


def test_noise_is_taken_from_the_tail_only_where_it_explains_it() -> None:
    spectrum = Spectrum(np.array([4.0, 1.0, 0.011]), np.array([2.0, 3.0, 95.0]))
    above = spectrum.above(np.full(100, 0.01))
    assert above.support.tolist() == pytest.approx([3.99, 0.99, 0.0])
    assert above.d == 100
    kept = Spectrum(np.array([4.0, 0.1]), np.array([2.0, 98.0])).above(np.full(100, 0.01))
    assert kept.support.tolist() == pytest.approx([3.99, 0.09])
