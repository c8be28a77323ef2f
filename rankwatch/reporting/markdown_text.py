"""Markdown for TensorBoard's Text page."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence

from rankwatch.readings.alarm import Alarm
from rankwatch.readings.codebook_reading import AnyReading, CodebookReading
from rankwatch.readings.protocol import Protocol
from rankwatch.readings.reading import ACCURACY, MAJORITY, Reading
from rankwatch.readings.report import Report, RunEnd, RunHeader
from rankwatch.reporting.console import end_summary, one_line
from rankwatch.reporting.tags import Tags
from rankwatch.runtime.plain_data import to_plain


def layers_text(header: RunHeader) -> str:
    """Which module each short name stands for, and how it is read."""
    rows = []
    for row in header.layers:
        found = (row.width, row.layout, row.tap, row.lengths, row.projection or "none")
        rows.append((row.label, f"`{row.layer}`", *found, row.cost, row.note))
    titles = ("label", "module", "width", "layout", "tap", "lengths from", "projection", "costs", "note")
    notes = "".join(f"\n\n{note}" for note in header.notes)
    first = f"rankwatch {header.version}, every {header.every_n_steps} optimiser steps"
    return f"{first}\n\n{table(titles, rows)}{notes}"


def protocols_text(readings: Iterable[AnyReading]) -> str:
    """The conditions of these readings: numbers of different columns are not comparable."""
    protocols = {(r.protocol.source, r.protocol.level, r.protocol.id): r.protocol for r in readings}
    groups: dict[tuple[str, ...], list[Protocol]] = {}
    for (source, level, _), protocol in protocols.items():
        groups.setdefault((source, level), []).append(protocol)
    fields = [name for name in to_plain(next(iter(protocols.values()))) if name not in ("source", "level")]
    rows = [["id", *(_distinct(p.id for p in group) for group in groups.values())]]
    for name in fields:
        rows.append([name, *(_distinct(getattr(p, name) for p in group) for group in groups.values())])
    titles = ["", *(f"{source}, {level} level" for source, level in groups)]
    return f"Numbers are compared only where these agree.\n\n{table(titles, rows)}"


def status_text(report: Report, tags: Tags) -> str:
    """All is well, or what isn't; then each layer's latest numbers on the primary source."""
    word = {0: "**No alarm.**", 1: "**Warning.**", 2: "**CRITICAL.**"}[report.alarm_level]
    health = f"Health {report.health:.2f} at step {report.step} (worst layer relative to its own reference)."
    lines = [f"{word} {health}"]
    if report.message:
        lines.append("\n".join(f"> {line}" for line in report.message.splitlines()))
    if report.open_alarms:
        lines.append("\n".join(_bullet(alarm, tags) for alarm in report.open_alarms))
    return "\n\n".join(lines)


_HEALTH = re.compile(r"Health .*? at step (\d{1,15}) ")
_BULLET = re.compile(
    r"- \*\*(?P<severity>info|warning|critical): (?P<kind>[^*\n]+)\*\*, (?P<label>\S*) `(?P<layer>[^`\n]*)`, "
    r"(?P<level>\w+) level, (?P<source>[^,\n]*), since step (?P<since>\d{1,15}), raised at (?P<step>\d{1,15}): "
    r"(?P<message>.*)"
)


def read_status(text: str) -> tuple[int | None, str, list[Alarm]]:
    """What `status_text` was made from, as far as it is there.

    Args:
        text: The text, or anything else.

    Returns:
        The step or None, the episode's message or an empty text, and the open alarms, whose layers are short names.
    """
    at = _HEALTH.search(text)
    message = "\n".join(line[2:] for line in text.splitlines() if line.startswith("> "))
    alarms = [
        Alarm(
            step=int(one["step"]),
            kind=one["kind"],
            severity=one["severity"],
            layer=one["label"] or one["layer"],
            level="utterance" if one["level"] == "utterance" else "frame",
            source=one["source"],
            message=one["message"],
            since=int(one["since"]),
        )
        for one in _BULLET.finditer(text)
    ]
    return int(at[1]) if at else None, message, alarms


def readings_text(report: Report, tags: Tags) -> str:
    """The latest reading of every layer, a table per level; sources side by side."""
    parts = []
    for level in dict.fromkeys(reading.level for reading in report.readings):
        cells: dict[str, dict[str, str]] = {}
        here = [reading for reading in report.readings if reading.level == level]
        for reading in here:
            cells.setdefault(reading.layer, {})[reading.source] = _value(reading)
        sources = list(dict.fromkeys(reading.source for reading in here))
        rows = [
            (tags.labels.get(layer, ""), f"`{layer}`", *(values.get(source, "") for source in sources))
            for layer, values in cells.items()
        ]
        titles = ("label", "module", *(f"effective rank on {source}" for source in sources))
        parts.append(f"{level} level, step {report.step}\n\n{table(titles, rows)}")
    if report.codebooks:
        rows = [_codebook_row(reading) for reading in report.codebooks]
        titles = ("quantizer", "perplexity", "predictions'", "codes", "perplexity / codes", "active codes", "status")
        parts.append(f"codes used in the training pass, step {report.step}\n\n{table(titles, rows)}")
    return "\n\n".join(parts)


def end_text(end: RunEnd, name: str) -> str:
    """The summary that the terminal gets, a paragraph a line."""
    return "\n\n".join(line.strip() for line in end_summary(end, name, width=10_000).splitlines())


def table(titles: Sequence[object], rows: Iterable[Sequence[object]]) -> str:
    """A Markdown table; columns without any content are left out.

    Returns:
        The table, without a line break at its end.

    Example:
        >>> print(table(("a", "b"), [(1, "")]))
        | a |
        | --- |
        | 1 |
    """
    lines = [[_cell(value) for value in row] for row in rows]
    used = [i for i in range(len(titles)) if any(line[i] for line in lines)]
    head = [_cell(titles[i]) for i in used]
    body = [[line[i] for i in used] for line in lines]
    return "\n".join("| " + " | ".join(line) + " |" for line in (head, ["---"] * len(used), *body))


def _cell(value: object) -> str:
    return " ".join(str(value).replace("|", "\\|").split())


def _bullet(alarm: Alarm, tags: Tags) -> str:
    label = tags.labels.get(alarm.layer, "")
    when = f"since step {alarm.since}, raised at {alarm.step}"
    where = f"{label} `{alarm.layer}`, {alarm.level} level, {alarm.source}"
    return f"- **{alarm.severity}: {alarm.kind}**, {where}, {when}: {one_line(alarm.message)}"


def _value(reading: Reading) -> str:
    number = f"{reading.effective_rank:.1f}" if reading.ok else "none"
    if reading.ok and reading.effective_rank_low is not None and reading.effective_rank_high is not None:
        number += f" [{reading.effective_rank_low:.1f}, {reading.effective_rank_high:.1f}]"
    number += f" ({_words(reading.status)})" if reading.status else ""
    accuracy, majority = (reading.metrics.get(metric, math.nan) for metric in (ACCURACY, MAJORITY))
    return number if math.isnan(accuracy) else f"{number}; probe accuracy {accuracy:.2f} (majority {majority:.2f})"


def _codebook_row(reading: CodebookReading) -> tuple[str, ...]:
    numbers = (reading.normalized_perplexity, reading.active_code_fraction)
    shares = ("" if math.isnan(number) else f"{number:.0%}" for number in numbers)
    perplexity = f"{reading.perplexity:.1f}" if reading.ok else "none"
    predicted = "" if reading.prediction_perplexity is None else f"{reading.prediction_perplexity:.1f}"
    codes = str(reading.n_codes or "unknown")
    return f"`{reading.quantizer}`", perplexity, predicted, codes, *shares, _words(reading.status)


def _words(status: Iterable[str]) -> str:
    return ", ".join(sorted(status)).replace("_", " ")


def _distinct(values: Iterable[object]) -> str:
    return ", ".join(dict.fromkeys("none" if value is None else str(value) for value in values))
