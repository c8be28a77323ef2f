r"""The floor that a narrow number format puts under a spectrum: bfloat16 or float16 activations are rounded.

A number stored with p bits behind its leading one is off by up to half of u = 2^(e - p), 2^e <= \|x\| < 2^(e + 1): an
error of variance u^2 / 12, independent from entry to entry. With mantissas spread evenly over the logarithm that is

.. math:: r \, x^2, \qquad r = \frac{2^{-2p}}{12} \int_1^2 \frac{dm}{m^3 \ln 2} = \frac{2^{-2p}}{32 \ln 2}

on the average, so a column of second moment s has a rounding variance of r s. A rank-16 cloud of 768 dimensions,
rounded to bfloat16, has 752 further directions.
"""

from __future__ import annotations

import math

import torch

STORED = {torch.bfloat16: 7, torch.float16: 10}
"""Bits behind the leading one."""

_DROPPED = {torch.bfloat16: 0xFFFF, torch.float16: 0x1FFF}
_LARGEST = 65504.0
_FIRST = 16  # rows that are looked at before all others


def rounding_share(dtype: torch.dtype) -> float:
    """Variance of a number's rounding relative to its square, r above; 0.0 for float32 and wider.

    Returns:
        The share r.

    Example:
        >>> rounding_share(torch.float32), round(rounding_share(torch.bfloat16) * 1e6, 2)
        (0.0, 2.75)
    """
    return 2.0 ** (-2 * STORED[dtype]) / (32.0 * math.log(2.0)) if dtype in STORED else 0.0


def rounding_of(rows: torch.Tensor, format_: torch.dtype | None = None) -> torch.Tensor:
    """Variance of each row's rounding, summed over its columns.

    Args:
        rows: (..., d) of any type.
        format_: What they were rounded to, if that isn't their own type.

    Returns:
        (...) float64 on the rows' device; zeros for float32 and wider.
    """
    share = rounding_share(format_ or rows.dtype)
    if share == 0.0:
        return torch.zeros(rows.shape[:-1], dtype=torch.float64, device=rows.device)
    return share * rows.double().square().sum(dim=-1)


def number_format(rows: torch.Tensor) -> torch.dtype:
    """The format that these numbers were rounded to, whatever they are stored in now.

    Told from the bits, since activations are often turned into float32 before anybody sees them. Whole numbers in
    float32 (counts, signs, one-hot rows) are exact in any format and say nothing.

    Args:
        rows: (n, d) of any type.

    Returns:
        bfloat16 or float16 if every number fits into it; else the type of `rows`.
    """
    if rows.dtype not in (torch.float32, torch.float64) or not rows.numel():
        return rows.dtype
    for part in (rows[:_FIRST], rows):
        single = part.float()
        if part.dtype == torch.float64 and bool((single != part).any()):
            return rows.dtype
        bits = single.contiguous().view(torch.int32)
        fits = [f for f, dropped in _DROPPED.items() if not bool((bits & dropped).any())]
        if torch.float16 in fits and bool((single.abs() > _LARGEST).any()):
            fits.remove(torch.float16)
        if not fits:
            return rows.dtype
    return rows.dtype if torch.equal(rows, rows.round()) else fits[0]
