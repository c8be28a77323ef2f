"""Text for the terminal: the table at the start, one line per alarm, the summary at the end."""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Mapping, Sequence

from rankwatch.readings.alarm import Alarm
from rankwatch.readings.report import LayerRow, RunEnd, RunHeader

WIDTH = 110
_ALWAYS = ("", "layer", "width", "layout", "lengths from", "projection")
_LONG = 12  # a longer source of lengths stands below the table, where the table would be too wide

_FEW = 4
"""Readings after which a rank that falls can't be told yet: the first ones are no reference."""
_NO_ALARMS = "No alarms."
_TOO_EARLY = (
    "No alarms, but with {} readings or fewer it can't be told whether a rank falls: a checkpoint is healthy here "
    "as far as is known."
)


def start_table(header: RunHeader, width: int = WIDTH) -> str:
    """What is watched, one line a layer; long paths lose their middle, notes and long sources of lengths stand below.

    Args:
        header: The run.
        width: Longest line.

    Returns:
        The table, with line breaks.
    """
    notes: dict[str, int] = {}
    for row in header.layers:
        if row.note:
            notes.setdefault(row.note, len(notes) + 1)
    titles = ["", "layer", "width", "layout", "tap", "lengths from", "projection", "costs", "note"]
    table, below = _table(header.layers, titles, notes, {}), []
    if _width(table) > width - 2:
        long = dict.fromkeys(row.lengths for row in header.layers if len(row.lengths) > _LONG)
        letters = {lengths: f"({_letter(place)})" for place, lengths in enumerate(long)}
        below = [f"{letter} {lengths}" for lengths, letter in letters.items()]
        table = _table(header.layers, titles, notes, letters)
    lines = [*textwrap.wrap(_heading(header), width), *_aligned(table, width - 2), *_paragraphs(below, width)]
    lines += _paragraphs([f"[{number}] {note}" for note, number in notes.items()], width)
    lines += _paragraphs(header.notes, width)
    return "\n".join(lines)


def alarm_line(alarm: Alarm) -> str:
    """One alarm in one line.

    Returns:
        The line, without a line break.

    Example:
        >>> alarm_line(Alarm(1200, "dimensional_collapse", "critical", "layers.3", "frame", "music", "3 of 768", 900))
        'CRITICAL step 1200: dimensional_collapse, layers.3, frame level, music (since step 900): 3 of 768'
    """
    since = f" (since step {alarm.since})" if alarm.since != alarm.step else ""
    where = f"{alarm.layer}, {alarm.level} level, {alarm.source}{since}"
    return f"{alarm.severity.upper()} step {alarm.step}: {alarm.kind}, {where}: {one_line(alarm.message)}"


def end_summary(end: RunEnd, name: str, width: int = WIDTH, *, replayed: bool = False) -> str:
    """How the run went, what watching it took, and where everything is; of a replay how long that was."""
    took = f"{100 * end.share:.2f} % of the run's time ({end.seconds:.1f} s)"
    took = f"in {end.seconds:.1f} s" if replayed else f"taking {took}"
    lines = [f"{name}: {_count(end.readings, 'reading')} up to step {end.step}, {took}."]
    if not end.measured:
        lines = [
            f"{name}: nothing could be read up to step {end.step}, so this run was not watched: no number, no alarm."
        ]
    if end.alarms:
        kinds = Counter((alarm.severity, alarm.kind) for alarm in end.alarms)
        counted = ", ".join(f"{count} x {severity} {kind}" for (severity, kind), count in sorted(kinds.items()))
        lines.append(f"Alarms: {counted}. The first: {alarm_line(end.alarms[0])}")
    elif end.measured:
        lines.append(_NO_ALARMS if end.readings > _FEW else _TOO_EARLY.format(_FEW))
    if end.stopped:
        lines.append("The run was stopped by an alarm.")
    if end.checkpoint:
        lines.append(f"Last healthy checkpoint: {end.checkpoint}")
    if end.records:
        lines.append(f"Everything in full: {end.records}")
    return "\n".join([lines[0], *_paragraphs([*lines[1:], *end.notes], width)])


def shorten(text: str, width: int) -> str:
    """Keep both ends of a text that is too long.

    Returns:
        The text, or its two ends with dots between them, `width` characters long.

    Example:
        >>> shorten("wav2vec2.encoder.layers.11.final", 20)
        'wav2vec2....11.final'
    """
    if len(text) <= width:
        return text
    kept = max(width - 3, 2)
    return text[: kept - kept // 2] + "..." + text[len(text) - kept // 2 :]


def one_line(text: str) -> str:
    """Line breaks become single spaces."""
    return " ".join(text.split())


def _heading(header: RunHeader) -> str:
    layers, steps = _count(len(header.layers), "layer"), _count(header.every_n_steps, "optimiser step")
    levels, sources = " and ".join(header.levels), ", ".join(header.sources)
    return f"{header.name} {header.version}: {layers} at {levels} level, every {steps}, on {sources}:"


def _table(
    layers: Sequence[LayerRow], titles: Sequence[str], notes: Mapping[str, int], letters: Mapping[str, str]
) -> list[list[str]]:
    """Titles and rows, without the columns in which no layer has anything."""
    rows = [_cells(row, notes, letters.get(row.lengths, row.lengths)) for row in layers]
    used = [i for i in range(len(titles)) if titles[i] in _ALWAYS or any(row[i] for row in rows)]
    return [[line[i] for i in used] for line in (titles, *rows)]


def _letter(place: int) -> str:
    return chr(ord("a") + place % 26) * (1 + place // 26)


def _width(table: Sequence[Sequence[str]]) -> int:
    return sum(max(len(line[i]) for line in table) for i in range(len(table[0]))) + 2 * (len(table[0]) - 1)


def _cells(row: LayerRow, notes: Mapping[str, int], lengths: str) -> list[str]:
    projection = "none" if row.projection is None else f"to {row.projection}"
    note = f"[{notes[row.note]}]" if row.note else ""
    return [row.label, row.layer, str(row.width), row.layout, row.tap, lengths, projection, row.cost, note]


def _aligned(table: Sequence[Sequence[str]], width: int) -> list[str]:
    """Columns two spaces apart; long paths give way."""
    widths = [max(len(line[i]) for line in table) for i in range(len(table[0]))]
    excess = _width(table) - width
    for column, least in ((1, 28), (1, 12)):
        cut = max(0, min(excess, widths[column] - least))
        widths[column] -= cut
        excess -= cut
    lines = []
    for line in table:
        cells = [shorten(cell, column).ljust(column) for cell, column in zip(line, widths, strict=True)]
        lines.append(("  " + "  ".join(cells)).rstrip())
    return lines


def _paragraphs(texts: Sequence[str], width: int) -> list[str]:
    lines = []
    for text in texts:
        lines += textwrap.wrap(
            one_line(text),
            width,
            initial_indent="  ",
            subsequent_indent="    ",
            break_long_words=False,
            break_on_hyphens=False,  # a path is to be copied as a whole
        )
    return lines


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
