"""Tables with a header: comma-separated (or with semicolons, as some spreadsheets write it) and tab-separated."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rankwatch.corpora.columns import Columns
from rankwatch.corpora.draft import Draft
from rankwatch.corpora.formats.records import add_records
from rankwatch.extraction.inputs.text_files import read_text, split_lines

TOO_MANY = "it has more cells than there are columns: put cells that hold a separator in quotation marks"


@dataclass(frozen=True)
class Table:
    """A table's header and rows.

    Attributes:
        file: Where it was read from.
        columns: Names of its columns.
        rows: Its rows, each with a cell for every column.
        numbers: The number of each row, from 1.
        left_out: What was left out, and why: rows with more cells than there are columns.
    """

    file: Path
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    numbers: tuple[int, ...]
    left_out: Mapping[str, str]

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

    A row with more cells than there are columns is left out: which of them belong together can't be known.

    Args:
        file: The table. Cells are separated by whichever of comma, semicolon and tab its first line has most of.
        encoding: Its encoding, unless a byte-order mark says another.
        may_be_empty: Whether a header without rows is a table, too.

    Returns:
        The table.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is in another encoding or has no rows, if a column is there twice, or a quotation mark has
            none that ends it.
    """
    if not file.is_file():
        raise FileNotFoundError(f"there is no file {file}")
    text = read_text(file, encoding)
    first = next((line for line in split_lines(text) if line.strip()), "")
    delimiter = max("\t,;", key=first.count)
    if delimiter == "\t":
        # A quotation mark is a label's own: it marks stress in X-SAMPA. Cells that are quoted as a whole are unquoted.
        lines = [[_unquoted(cell) for cell in line.split("\t")] for line in split_lines(text)]
    else:
        lines = _csv_lines(file, text, delimiter)
    header, *rows = [line for line in lines if any(line)] or [[]]
    if not rows and not (header and may_be_empty):
        raise ValueError(f"{file} has a header and no rows" if header else f"{file} is empty")
    columns = tuple(name.strip() for name in header)
    twice = next((name for i, name in enumerate(columns) if name and name in columns[:i]), None)
    if twice is not None:
        raise ValueError(f"{file} has two columns {twice!r}: rename or remove one of them")
    width = len(columns)
    full = {i: (*row[:width], *[""] * (width - len(row))) for i, row in enumerate(rows, 1) if not any(row[width:])}
    left_out = {f"row {i}": TOO_MANY for i in range(1, len(rows) + 1) if i not in full}
    return Table(file, columns, tuple(full.values()), tuple(full), left_out)


def _csv_lines(file: Path, text: str, delimiter: str) -> list[list[str]]:
    """Rows of cells; a quotation mark that nothing ends would make one cell of all rows behind it."""

    def reader(*, strict: bool) -> Any:
        source = io.StringIO(text, newline="")
        return csv.reader(source, delimiter=delimiter, skipinitialspace=True, strict=strict)

    try:
        lines = list(reader(strict=False))
    except csv.Error as error:
        raise ValueError(f"{file} can't be read as a table ({error})") from error
    first = 1
    try:
        if any("\n" in cell for line in lines for cell in line):
            again = reader(strict=True)
            for _ in again:
                first = again.line_num + 1
    except csv.Error as error:
        why = f"in the row that begins in line {first} a quotation mark isn't closed, or stands within a cell"
        raise ValueError(f"{file}: {why} ({error})") from error
    return lines


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
    for row, why in table.left_out.items():
        draft.leave_out(f"{file.name}, {row}", why)
    rows = [dict(zip(table.columns, row, strict=True)) for row in table.rows]
    add_records(draft, file, [(f"row {i}", row) for i, row in zip(table.numbers, rows, strict=True)], columns, root)
