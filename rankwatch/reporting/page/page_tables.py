"""Tables of a page: protocol, layers, alarms, comparison; plain text in cells."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from rankwatch.reporting.figures.comparison import Ranked, differing_hyperparameters, last_common_step, rank_runs
from rankwatch.reporting.recorded.alarm_spans import alarm_spans
from rankwatch.reporting.recorded.recorded_run import RecordedRun
from rankwatch.runtime.plain_data import to_plain

_MOST_ROWS = 400


@dataclass(frozen=True)
class Table:
    """A table.

    Attributes:
        title: What it shows.
        head: Titles of columns.
        rows: Cells.
        open: Whether it is shown at once.
        layer: Short name of the layer that it is about, or empty.
    """

    title: str
    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    open: bool = False
    layer: str = ""

    def to_plain(self) -> dict[str, Any]:
        """For a page's data."""
        rows = [list(row) for row in self.rows[:_MOST_ROWS]]
        return {"title": self.title, "head": list(self.head), "rows": rows, "open": self.open, "layer": self.layer}


def run_tables(run: RecordedRun, of: str = "") -> list[Table]:
    """Alarms, layers and protocol of a run.

    Args:
        run: What was recorded.
        of: The run's name where there are several.

    Returns:
        The tables that have rows.
    """
    behind = f" of {of}" if of else ""
    tables = [_alarms(run, behind), _layers(run, behind), _protocols(run, behind)]
    notes = [[note] for note in [*run.header.notes, *(run.end.notes if run.end else ())]]
    tables.append(Table(f"Notes{behind}", ["what the run had to say"], notes))
    return [table for table in tables if table.rows]


def _alarms(run: RecordedRun, behind: str) -> Table:
    labels = {row.layer: row.label for row in run.layers}
    rows = []
    for span in alarm_spans(run):
        where = dict.fromkeys(f"{labels.get(a.layer, a.layer)} {a.level} {a.source}" for a in span.alarms)
        until = "open" if span.is_open else str(span.until)
        kind = span.kind.replace("_", " ")
        message = span.message or span.alarms[0].message
        rows.append([span.severity, kind, str(span.since), str(span.raised), until, ", ".join(where), message])
    return Table(f"Alarms{behind}", ["severity", "kind", "since", "raised", "until", "where", "message"], rows)


def _layers(run: RecordedRun, behind: str) -> Table:
    rows = [
        [r.label, r.layer, str(r.width), r.layout, r.tap, r.lengths, str(r.projection or "none"), r.note]
        for r in run.layers
    ]
    head = ["label", "module", "width", "layout", "tap", "lengths from", "projection", "note"]
    first = (
        f"rankwatch {run.header.version}, every {run.header.every_n_steps} steps" if run.header.every_n_steps else ""
    )
    return Table(f"Layers{behind}" + (f" ({first})" if first else ""), head, rows)


def _protocols(run: RecordedRun, behind: str) -> Table:
    """One column for each source and level; layers differ in width and tap only."""
    groups: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for (source, level, _), curve in run.curves.items():
        if curve.protocol in run.protocols:
            groups.setdefault((source, level), []).append(to_plain(run.protocols[curve.protocol]))
    if not groups:
        return Table("", [], [])
    names = [name for name in next(iter(groups.values()))[0] if name not in ("source", "level")]
    rows = [[name, *(_distinct([one[name] for one in group]) for group in groups.values())] for name in names]
    head = ["", *(f"{source}, {level} level" for source, level in groups)]
    return Table(f"Protocol{behind}: numbers are compared only where it agrees", head, rows)


def _distinct(values: Sequence[object]) -> str:
    return ", ".join(dict.fromkeys("none" if value is None else str(value)[:200] for value in values))


def comparison_tables(runs: Sequence[RecordedRun]) -> list[Table]:
    """For each layer and level the runs in the order of its rank, at the last step that all have reached.

    Args:
        runs: Under one protocol.

    Returns:
        Tables; each says which layer it is about.
    """
    step, source = last_common_step(runs), runs[0].primary
    tables = []
    for row in runs[0].layers:
        for level in runs[0].levels:
            ranked = rank_runs(runs, row.label, level, source, step)
            rows = [[str(place), one.name, *_numbers(one), _said(one, ranked)] for place, one in _places(ranked)]
            title = f"{row.label}, {level} level: which run has more rank at step {step:,}, the last that all have"
            head = ["", "run", "effective rank", "90 % interval", ""]
            tables.append(Table(title, head, rows, open=True, layer=row.label))
    return [table for table in tables if table.rows]


def hyperparameter_table(runs: Sequence[RecordedRun]) -> Table | None:
    """Hyperparameters in which runs differ, or None where there are none to compare."""
    rows = differing_hyperparameters(runs)
    return Table("In what the runs differ", ["", *(run.name for run in runs)], rows, open=True) if rows else None


def _places(ranked: Sequence[Ranked]) -> list[tuple[int, Ranked]]:
    """A run that can't be told apart from the one before shares its place."""
    places: list[tuple[int, Ranked]] = []
    for i, one in enumerate(ranked):
        places.append((places[-1][0] if one.tied else i + 1, one))
    return places


def _numbers(one: Ranked) -> tuple[str, str]:
    known = math.isfinite(one.low) and math.isfinite(one.high)
    return f"{one.value:.1f}", f"{one.low:.1f} to {one.high:.1f}" if known else "none"


def _said(one: Ranked, ranked: Sequence[Ranked]) -> str:
    if not one.tied:
        return ""
    before = ranked[[other.run for other in ranked].index(one.run) - 1]
    why = "their intervals overlap" if all(map(math.isfinite, (one.high, before.low))) else "no interval"
    return f"can't be told apart from {before.name}: {why}"
