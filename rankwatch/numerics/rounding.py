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


def half_format(rows: torch.Tensor) -> torch.dtype | None:
    """The narrow format that all of these numbers came from, or None.

    Told from the bits, since activations are mostly turned into float32 on their way. Whole numbers up to 256 pass for
    bfloat16, too; the floor of theirs is too low to matter.

    Args:
        rows: (n, d) of any float type.
    """
    if rows.dtype in STORED or rows.dtype != torch.float32 or not rows.numel():
        return rows.dtype if rows.dtype in STORED else None
    for part in (rows[:_FIRST], rows):
        bits = part.contiguous().view(torch.int32)
        fits = [f for f, dropped in _DROPPED.items() if not bool((bits & dropped).any())]
        if torch.float16 in fits and bool((part.abs() > _LARGEST).any()):
            fits.remove(torch.float16)
        if not fits:
            return None
    return fits[0]


def rounding_share(rows: torch.Tensor) -> float:
    """Variance of a number's rounding relative to its square, r above; 0.0 for float32 and wider.

    Example:
        >>> x = torch.randn(100, 8)
        >>> rounding_share(x), round(rounding_share(x.bfloat16()) * 1e6, 2)
        (0.0, 2.75)
    """
    format_ = half_format(rows)
    return 0.0 if format_ is None else 2.0 ** (-2 * STORED[format_]) / (32.0 * math.log(2.0))
