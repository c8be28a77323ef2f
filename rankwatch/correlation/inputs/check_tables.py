"""Labelled checks that were made elsewhere, from a table."""

from __future__ import annotations

import csv
import dataclasses
import math
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import numpy as np

from rankwatch.correlation.inputs.run_series import RunSeries, Series

_SOUNDS_LOW = ("wer", "cer", "per", "eer", "error", "loss", "perplexity")
_WORDS = str.maketrans("-_/. ", "     ")


def read_rows(path: str | Path, needed: Sequence[str]) -> list[dict[str, str]]:
    """The lines of a table with a header, by column; names of columns in lower case, cells without blanks around.

    Args:
        path: A CSV, TSV or semicolon-separated file in UTF-8.
        needed: Columns that must be there.

    Returns:
        A mapping for each line.

    Raises:
        ValueError: If a column is missing or there is no line.
    """
    with Path(path).open(encoding="utf-8-sig", newline="") as file:
        header = file.readline()
        file.seek(0)
        delimiter = max("\t;,", key=header.count)
        lines = list(csv.reader(file, delimiter=delimiter))
    names = [name.strip().lower() for name in lines[0]] if lines else []
    missing = [name for name in needed if name not in names]
    if missing:
        raise ValueError(f"{path} has no column {', '.join(map(repr, missing))}; its columns are {', '.join(names)}")
    found = [dict(zip(names, map(str.strip, line), strict=False)) for line in lines[1:] if any(line)]
    if not found:
        raise ValueError(f"{path} has a header, but no line below it")
    return found


def with_checks(runs: Sequence[RunSeries], path: str | Path, lower_is_better: Collection[str] = ()) -> list[RunSeries]:
    """Runs with the checks of a table.

    Columns: ``run`` (may be missing where there is one run), ``step``, ``task``, ``value``, and where it applies
    ``layer`` (label or path), ``level`` and ``utterance``: with a line for each utterance, the check is their mean.

    Args:
        runs: What the records say.
        path: The table.
        lower_is_better: Tasks of which less is better, as of a word error rate.

    Returns:
        The runs with further checks.

    Raises:
        ValueError: If the table names a run, a layer or a level that isn't there, or a cell can't be read.
    """
    by_name = {run.name: run for run in runs}
    cells: dict[str, dict[tuple[str, str, str], dict[int, dict[str, float]]]] = defaultdict(lambda: defaultdict(dict))
    for number, row in enumerate(read_rows(path, ("step", "task", "value")), start=2):
        where = f"{path}, line {number}"
        run = by_name[_run_of(row, list(by_name), where)]
        layer = _layer_of(row.get("layer", ""), run, where)
        level = row.get("level", "").lower()
        if level not in ("", "frame", "utterance"):
            raise ValueError(f"{where}: level {level!r} is neither 'frame' nor 'utterance'")
        step, value = _number(row["step"], where), _number(row["value"], where)
        by_utterance = cells[run.name][row["task"], level, layer].setdefault(int(step), {})
        utterance = row.get("utterance", "")
        if utterance in by_utterance:
            raise ValueError(f"{where}: {row['task']!r} has two values for step {int(step)}{_at(layer, utterance)}")
        by_utterance[utterance] = value
    tasks = {task for checks in cells.values() for task, _, _ in checks}
    unknown = sorted(set(lower_is_better) - tasks)
    if unknown:
        raise ValueError(
            f"{path} has no task {', '.join(map(repr, unknown))}; its tasks are {', '.join(sorted(tasks))}"
        )
    notes = [
        f"{task!r} sounds as if less of it were better, but more is taken for better; say --lower-is-better {task}"
        for task in sorted(tasks - set(lower_is_better))
        if any(word in _SOUNDS_LOW for word in task.lower().translate(_WORDS).split())
    ]
    found = []
    for run in runs:
        new = [
            _series(task, level, layer, by_step, -1 if task in lower_is_better else 1)
            for (task, level, layer), by_step in cells[run.name].items()
        ]
        said = [*run.notes, *notes] if run is runs[0] else run.notes
        found.append(dataclasses.replace(run, checks=[*run.checks, *new], notes=said))
    return found


def _run_of(row: Mapping[str, str], names: Sequence[str], where: str) -> str:
    name = row.get("run", "")
    if not name and len(names) == 1:
        return names[0]
    if name not in names:
        raise ValueError(f"{where}: there is no run {name!r}; the runs are called {', '.join(map(repr, names))}")
    return name


def _layer_of(cell: str, run: RunSeries, where: str) -> str:
    layer = run.paths.get(cell, cell)
    if layer and layer not in run.layers:
        raise ValueError(f"{where}: {run.name} has no layer {cell!r}; its layers are {', '.join(run.layers)}")
    return layer


def _number(cell: str, where: str) -> float:
    try:
        value = float(cell)
    except ValueError:
        raise ValueError(f"{where}: {cell!r} is no number") from None
    if not math.isfinite(value):
        raise ValueError(f"{where}: {cell!r} is no finite number; leave the line out where there is none")
    return value


def _at(layer: str, utterance: str) -> str:
    return (f" in {layer}" if layer else "") + (f" of {utterance!r}" if utterance else "")


def _series(task: str, level: str, layer: str, by_step: Mapping[int, Mapping[str, float]], direction: int) -> Series:
    steps = sorted(by_step)
    values = np.array([np.mean(list(by_step[step].values())) for step in steps])
    at = np.array(steps, np.int64)
    utterances = list(by_step[steps[0]])
    if len(utterances) < 2 or any(set(by_step[step]) != set(utterances) for step in steps):
        return Series(task, "", level, layer, at, values, direction)
    rows = np.array([[by_step[step][one] for one in utterances] for step in steps])
    errors = rows.std(axis=1, ddof=1) / math.sqrt(len(utterances))
    return Series(task, "", level, layer, at, values, direction, errors, rows=rows)
