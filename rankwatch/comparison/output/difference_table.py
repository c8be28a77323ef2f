"""The table on the terminal: a line for each layer and level."""

from __future__ import annotations

import math
from collections.abc import Sequence

from rankwatch.comparison.differences.difference import Difference
from rankwatch.comparison.differences.orders import orders
from rankwatch.comparison.records.turnovers import TurnoverRatio

_STAR = "* these two differ, though by so little that it doesn't matter, or by how much isn't known well enough"


def difference_cells(differences: Sequence[Difference]) -> list[list[str]]:
    """What was compared, as cells.

    Args:
        differences: All of them.

    Returns:
        Rows of equal length, the first of them the header: of two sides their ratio with its interval, of more their
        order.
    """
    names = list(dict.fromkeys(name for d in differences for name in (d.one, d.other)))
    sources = list(dict.fromkeys(d.place.source for d in differences))
    two, alike = len(names) == 2, any(d.similarity for d in differences)
    head = [*(["set"] if len(sources) > 1 else []), "level", "layer", *names]
    head += ["ratio", "95 % together", "verdict"] if two else ["order"]
    head += ["similarity"] if alike and two else []
    rows = [head]
    for order in orders(differences):
        here = [d for d in differences if d.place == order.place]
        ranks = {name: rank for d in here for name, rank in zip((d.one, d.other), d.ranks, strict=True)}
        row = [order.place.source] if len(sources) > 1 else []
        row += [order.place.level, order.place.layer, *(_number(ranks[name]) for name in names)]
        row += [_number(here[0].ratio, 3), _interval(here[0]), _word(here[0])] if two else [str(order)]
        row += [_similarity(here[0])] if alike and two else []
        rows.append(row)
    return rows


def difference_table(differences: Sequence[Difference]) -> list[str]:
    """What was compared, as lines of equal columns, the first of them the header, and what a star means."""
    rows = difference_cells(differences)
    return [*_aligned(rows), *([_STAR] if any("*" in cell for row in rows for cell in row) else [])]


def turnover_cells(turnovers: Sequence[TurnoverRatio]) -> list[list[str]]:
    """How fast layers move, as cells: a row for each layer and pair of runs, after a header."""
    sources = len({t.place.source for t in turnovers}) > 1
    pairs = len({(t.one, t.other) for t in turnovers}) > 1
    names = ["first", "second"] if pairs else [turnovers[0].one, turnovers[0].other]
    head = [*(["set"] if sources else []), "level", "layer", *(["runs"] if pairs else []), *names]
    rows = [[*head, "ratio", "95 % together", "verdict"]]
    for t in turnovers:
        row = [*([t.place.source] if sources else []), t.place.level, t.place.layer]
        row += [f"{t.one} / {t.other}"] if pairs else []
        row += [_number(value, 4) for value in t.turnovers]
        rows.append([*row, _number(t.ratio, 2), _interval(t, 2), t.verdict])
    return rows


def turnover_table(turnovers: Sequence[TurnoverRatio]) -> list[str]:
    """How fast layers move, as lines of equal columns, with a headline."""
    first, last = min(t.steps[0] for t in turnovers), max(t.steps[1] for t in turnovers)
    return [
        f"how fast layers move: mean turnover between readings, steps {first} to {last}",
        *_aligned(turnover_cells(turnovers)),
    ]


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(len(row[k]) for row in rows) for k in range(len(rows[0]))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def _number(value: float, digits: int = 1) -> str:
    return f"{value:.{digits}f}" if math.isfinite(value) else "-"


def _interval(d: Difference | TurnoverRatio, digits: int = 3) -> str:
    return "-" if d.low is None or d.high is None else f"[{d.low:.{digits}f}, {d.high:.{digits}f}]"


def _word(d: Difference) -> str:
    """The verdict; a star where the two differ on these data, by however little."""
    return d.verdict + ("*" if d.differs and d.verdict not in ("higher", "lower") else "")


def _similarity(d: Difference) -> str:
    if d.similarity is None:
        return ""
    value, low, high = d.similarity
    return f"{value:.2f}" + (f" [{low:.2f}, {high:.2f}]" if low is not None and high is not None else "")
