"""Tables with a header: comma-separated (or with semicolons, as some spreadsheets write it) and tab-separated."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from pathlib import Path

from rankwatch.corpora.columns import Columns
from rankwatch.corpora.draft import Draft
from rankwatch.corpora.formats.records import add_records
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
        lines = list(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, skipinitialspace=True))
    header, *rows = [line for line in lines if any(line)] or [[]]
    if not rows and not (header and may_be_empty):
        raise ValueError(f"{file} has a header and no rows")
    width = len(header)
    full = tuple(tuple(row[:width]) + ("",) * (width - len(row)) for row in rows)
    return Table(file, tuple(name.strip() for name in header), full)


def _unquoted(cell: str) -> str:
    return cell[1:-1].replace('""', '"') if len(cell) > 1 and cell[0] == cell[-1] == '"' else cell


def read_audio_table(draft: Draft, file: Path, columns: Columns | None = None, root: Path | None = None) -> None:
    """Read a table whose rows are utterances: ours, SpeechBrain's, or any other with a column of paths.

    A table without such a column raises ValueError.

    Args:
        draft: What is filled.
        file: The table.
        columns: Which column holds what, where that isn't plain from the columns' names.
        root: Where relative paths begin; the table's folder by default.
    """
    table = read_table(file, draft.encoding)
    rows = [dict(zip(table.columns, row, strict=True)) for row in table.rows]
    add_records(draft, file, [(f"row {i}", row) for i, row in enumerate(rows, 1)], columns, root)
