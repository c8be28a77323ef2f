"""Spectra as bytes: a picture needs no more than a hundredth of a decade, and there may be 100,000 of them."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

DECADES = 6.35
"""What the codes 0 to 254 span, downwards from 1: 0.025 decades each, so a value is within 3 % of what was read."""

MISSING = 255


def encode(values: npt.ArrayLike) -> npt.NDArray[np.uint8]:
    """Singular values as codes.

    Args:
        values: Relative to the largest, any shape.

    Returns:
        Codes of the same shape; values that are no positive number are `MISSING`, those below the span are its end.

    Example:
        >>> encode([1.0, 0.1, 1e-9, 0.0]).tolist()
        [0, 40, 254, 255]
    """
    numbers = np.asarray(values, dtype=np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        codes = np.round(-np.log10(numbers) * (254 / DECADES))
    there = np.isfinite(numbers) & (numbers > 0.0)
    return np.where(there, np.clip(codes, 0, 254), MISSING).astype(np.uint8)


def decode(codes: npt.NDArray[np.uint8]) -> npt.NDArray[np.float64]:
    """What `encode` was given, within 3 %; NaN for `MISSING`.

    Args:
        codes: Any shape.

    Returns:
        Values of the same shape.

    Example:
        >>> decode(encode([1.0, 0.1])).round(3).tolist()
        [1.0, 0.1]
    """
    values = 10.0 ** (codes.astype(np.float64) * (-DECADES / 254))
    return np.where(codes == MISSING, np.nan, values)


def positions(width: int, n: int) -> npt.NDArray[np.float64]:
    """Where the values of `rankwatch.readings.reading.Reading.spectrum` stand.

    Args:
        width: d.
        n: How many there are.

    Returns:
        Shape ``(n,)``, spaced geometrically from 1 to `width`.
    """
    return np.geomspace(1.0, max(width, 1), n)
