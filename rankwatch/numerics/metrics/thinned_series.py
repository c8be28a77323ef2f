"""A series of any length in bounded memory: means over blocks that grow with it."""

from __future__ import annotations

from collections.abc import Sequence


def append_thinned(rows: list[list[float]], values: Sequence[float], most: int = 128) -> None:
    """Append one point; where there are more than `most` rows, neighbours are joined two by two.

    Between `most` / 2 and `most` rows cover the whole series then, each the mean over equally many points (the last one
    over as many as there are yet).

    Args:
        rows: What is there: the number of points in each row, then the mean of each of their values. Changed in place.
        values: The new point's.
        most: Rows at most; even.

    Example:
        >>> rows = []
        >>> for i in range(6):
        ...     append_thinned(rows, [float(i)], most=4)
        >>> rows
        [[2, 0.5], [2, 2.5], [2, 4.5]]
    """
    new: list[float] = [1, *values]
    if rows and rows[-1][0] < rows[0][0]:
        rows[-1] = _joined(rows[-1], new)
        return
    rows.append(new)
    if len(rows) > most:
        pairs = zip(rows[:most:2], rows[1:most:2], strict=True)
        rows[:] = [*(_joined(*pair) for pair in pairs), *rows[most:]]


def _joined(a: Sequence[float], b: Sequence[float]) -> list[float]:
    n = a[0] + b[0]
    return [n, *((a[0] * x + b[0] * y) / n for x, y in zip(a[1:], b[1:], strict=True))]
