"""Tables with a header: comma-separated (or with semicolons, as some spreadsheets write it) and tab-separated."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from rankwatch.corpora.columns import as_label, as_seconds, find_roles
from rankwatch.corpora.corpus import Utterance
from rankwatch.corpora.draft import Draft, base_folder
from rankwatch.extraction.inputs.text_files import read_text


@dataclass(frozen=True)
class Table:
    """A table's header and rows.

    Attributes:
        file: Where it was read from.
        columns: Names of its columns.
        rows: Its rows, each with a cell for every column.
    """

    file: Path
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    def column(self, name: str | None) -> list[str]:
        """All cells of a column, without spaces around them.

        Args:
            name: The column, or None for one that isn't there.

        Returns:
            Its cells; empty ones for None.

        Raises:
            ValueError: If there is no such column.
        """
        if name is None:
            return [""] * len(self.rows)
        if name not in self.columns:
            there = ", ".join(self.columns) or "none"
            raise ValueError(f"{self.file} has no column {name!r}; there are {there}")
        place = self.columns.index(name)
        return [row[place].strip() for row in self.rows]


def read_table(file: Path, encoding: str = "utf-8", *, may_be_empty: bool = False) -> Table:
    """Read a table; cells that are missing at a line's end are empty, and empty lines are none.

    Args:
        file: The table. Cells are separated by whichever of comma, semicolon and tab its first line has most of.
        encoding: Its encoding, unless a byte-order mark says another.
        may_be_empty: Whether a header without rows is a table, too.

    Returns:
        The table.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is in another encoding, or has no rows.
    """
    if not file.is_file():
        raise FileNotFoundError(f"there is no file {file}")
    text = read_text(file, encoding)
    first = text.partition("\n")[0]
    delimiter = max("\t,;", key=first.count)
    if delimiter == "\t":
        # A quotation mark is a label's own: it marks stress in X-SAMPA. Cells that are quoted as a whole are unquoted.
        lines = [[_unquoted(cell) for cell in line.split("\t")] for line in text.splitlines()]
    else:
        lines = list(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter))
    header, *rows = [line for line in lines if any(line)] or [[]]
    if not rows and not (header and may_be_empty):
        raise ValueError(f"{file} has a header and no rows")
    width = len(header)
    full = tuple(tuple(row[:width]) + ("",) * (width - len(row)) for row in rows)
    return Table(file, tuple(name.strip() for name in header), full)


def _unquoted(cell: str) -> str:
    return cell[1:-1].replace('""', '"') if len(cell) > 1 and cell[0] == cell[-1] == '"' else cell


def read_audio_table(
    draft: Draft, file: Path, columns: Mapping[str, str] | None = None, root: Path | None = None
) -> None:
    """Read a table whose rows are utterances.

    Args:
        draft: What is filled.
        file: The table.
        columns: Which column holds what, where that isn't plain from the columns' names.
        root: Where relative paths begin; the table's folder by default.

    Raises:
        ValueError: If no column holds the audio's path.
    """
    table = read_table(file, draft.encoding)
    roles = find_roles(table.columns, columns)
    if "audio" not in roles:
        raise ValueError(f"{file} has no column of audio files (such as 'path'); there are {', '.join(table.columns)}")
    cells = {role: table.column(column) for role, column in roles.items()}
    others = [column for column in table.columns if column not in roles.values()]
    labels = [[as_label(cell) for cell in table.column(column)] for column in others]
    base = root or base_folder(cells["audio"], [file.parent, Path.cwd()])
    for i, name in enumerate(cells["audio"]):
        row = {role: column[i] for role, column in cells.items()}
        where = f"{file.name}, row {i + 1}"
        try:
            start, end = times(row.get("start"), row.get("end"), row.get("seconds"))
            seconds = as_seconds(row.get("seconds")) if start is None and end is None else None
        except ValueError as error:
            draft.leave_out(where, str(error))
            continue
        known = {column: found for column, values in zip(others, labels, strict=True) if (found := values[i])}
        utterance = Utterance(
            row.get("id") or segment_id(name, start, end),
            base / name if name else Path(),
            start,
            end,
            row.get("speaker") or None,
            row.get("text") or None,
            known,
            seconds=seconds,
        )
        if draft.add(where, utterance) and row.get("alignment"):
            draft.alignments[utterance.id] = base / row["alignment"]


def times(start: object, end: object, seconds: object) -> tuple[float | None, float | None]:
    """Where a segment begins and ends in its file.

    Args:
        start: Its start, or empty.
        end: Its end, or empty.
        seconds: Its length, which counts where there is a start and no end.

    Returns:
        Start and end in seconds; None where it begins or ends with its file.

    Raises:
        ValueError: If one isn't a number, or the end isn't behind the start.
    """
    first, last, length = as_seconds(start), as_seconds(end), as_seconds(seconds)
    if first is not None and last is None and length is not None:
        last = first + length
    if (first or 0.0) < 0.0 or (last is not None and last <= (first or 0.0)):
        raise ValueError(f"a segment from {first or 0.0:g} to {last} s is none")
    return first, last


def segment_id(name: str, start: float | None, end: float | None) -> str:
    """An id for a segment that has none of its own.

    Args:
        name: The audio's path as it was written.
        start: Its start, or None.
        end: Its end, or None.

    Returns:
        The path, and where it isn't the whole file, its times.

    Example:
        >>> segment_id("a.wav", None, None), segment_id("a.wav", 1.0, 2.5)
        ('a.wav', 'a.wav:1-2.5')
    """
    if start is None and end is None:
        return name
    return f"{name}:{start or 0.0:g}-{'' if end is None else f'{end:g}'}"
