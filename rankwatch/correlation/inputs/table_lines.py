"""Tables that users write: lines by column, and cells as numbers, with the line in every complaint."""

from __future__ import annotations

import csv
import itertools
import math
from collections.abc import Sequence
from pathlib import Path


def read_rows(path: str | Path, needed: Sequence[str]) -> list[tuple[str, dict[str, str]]]:
    """The lines of a table with a header, by column; names of columns in lower case, cells without blanks around.

    Args:
        path: A CSV, TSV or semicolon-separated file in UTF-8.
        needed: Columns that must be there.

    Returns:
        For each line where it is, in words, and its cells; empty ones at the end may be left out in the table.

    Raises:
        ValueError: If it can't be read as text, a column is missing, a line has more cells than the header, or there is
            no line.
    """
    try:
        with Path(path).open(encoding="utf-8-sig", newline="") as file:
            header = file.readline()
            file.seek(0)
            reader = csv.reader(file, delimiter=max("\t;,", key=header.count))
            lines = [(f"{path}, line {reader.line_num}", [cell.strip() for cell in line]) for line in reader]
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{path} can't be read as a table ({error}): save it as CSV in UTF-8") from error
    names = [name.lower() for name in lines[0][1]] if lines else []
    missing = [name for name in needed if name not in names]
    if missing:
        raise ValueError(f"{path} has no column {', '.join(map(repr, missing))}; its columns are {', '.join(names)}")
    found = []
    for where, cells in lines[1:]:
        if any(cells[len(names) :]):
            raise ValueError(f"{where} has more cells than the header; cells with a comma in them stand in quotes")
        if any(cells):
            found.append((where, dict(itertools.zip_longest(names, cells[: len(names)], fillvalue=""))))
    if not found:
        raise ValueError(f"{path} has a header, but no line below it")
    return found


def step_in_cell(cell: str, where: str) -> int:
    """An optimiser step.

    Args:
        cell: Of a table.
        where: It stands, in words.

    Returns:
        The step.

    Raises:
        ValueError: If it is none.
    """
    step = number_in_cell(cell, where)
    if step < 0 or not step.is_integer():
        raise ValueError(f"{where}: {cell!r} is no optimiser step, a whole number from 0 on")
    return int(step)


def number_in_cell(cell: str, where: str) -> float:
    """A finite number.

    Args:
        cell: Of a table.
        where: It stands, in words.

    Returns:
        The number.

    Raises:
        ValueError: If it is none.
    """
    try:
        value = float(cell)
    except ValueError:
        raise ValueError(f"{where}: {cell!r} is no number") from None
    if not math.isfinite(value):
        raise ValueError(f"{where}: {cell!r} is no finite number; leave the line out where there is none")
    return value
