"""Labelled checks that were made elsewhere, from a table."""

from __future__ import annotations

import dataclasses
import math
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import numpy as np

from rankwatch.correlation.inputs.run_series import RunSeries, Series
from rankwatch.correlation.inputs.table_lines import number_in_cell, read_rows, step_in_cell

_SOUNDS_LOW = ("wer", "cer", "per", "eer", "error", "loss", "perplexity")
_WORDS = str.maketrans("-_/. ", "     ")


def with_checks(runs: Sequence[RunSeries], path: str | Path, lower_is_better: Collection[str] = ()) -> list[RunSeries]:
    """Runs with the checks of a table.

    Columns: ``run`` (may be missing where there is one run), ``step``, ``task``, ``value``, and where it applies
    ``layer`` (label or path), ``level`` and ``utterance``: with a line for each utterance, the check is the mean over
    those that have a value at every step.

    Args:
        runs: What the records say.
        path: The table.
        lower_is_better: Tasks of which less is better, as of a word error rate.

    Returns:
        The runs with further checks.

    Raises:
        ValueError: If the table names a run, a layer or a level that isn't there, a cell can't be read, or most of the
            utterances don't have a value at every step.
    """
    by_name = {run.name: run for run in runs}
    cells: dict[str, dict[tuple[str, str, str], dict[int, dict[str, float]]]] = defaultdict(lambda: defaultdict(dict))
    for where, row in read_rows(path, ("step", "task", "value")):
        run = by_name[_run_of(row, list(by_name), where)]
        layer = _layer_of(row.get("layer", ""), run, where)
        level = row.get("level", "").lower()
        if level not in ("", "frame", "utterance"):
            raise ValueError(f"{where}: level {level!r} is neither 'frame' nor 'utterance'")
        if not row["task"]:
            raise ValueError(f"{where} names no task")
        step, value = step_in_cell(row["step"], where), number_in_cell(row["value"], where)
        by_utterance = cells[run.name][row["task"], level, layer].setdefault(step, {})
        utterance = row.get("utterance", "")
        if utterance in by_utterance:
            raise ValueError(f"{where}: {row['task']!r} has two values for step {step}{_at(layer, utterance)}")
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
        new, said = [], [*run.notes, *(notes if run is runs[0] else ())]
        for (task, level, layer), by_step in cells[run.name].items():
            everywhere, every = _at_every_step(by_step)
            shared, what = len(next(iter(everywhere.values()))), f"{run.name}: {task!r}{_at(layer, '')}"
            if 2 * shared < every:
                step = min(by_step, key=lambda one: len(by_step[one]))
                raise ValueError(
                    f"{what} has a value at every step of {shared} of {every} utterances alone, and means over "
                    f"different utterances can't be compared: step {step} has the fewest ({len(by_step[step])}); "
                    "complete it, or leave it out"
                )
            if shared < every:
                left = f"{every - shared} of {every} utterances"
                said.append(f"{what}: {left} don't have a value at every step, and are left out.")
            new.append(_series(task, level, layer, everywhere, -1 if task in lower_is_better else 1))
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


def _at(layer: str, utterance: str) -> str:
    return (f" in {layer}" if layer else "") + (f" of {utterance!r}" if utterance else "")


def _at_every_step(by_step: Mapping[int, Mapping[str, float]]) -> tuple[dict[int, dict[str, float]], int]:
    """Leave out what isn't there at every step: a mean would rise where the hard utterances are missing.

    Returns:
        Values of the utterances that are, and how many utterances there are in all.
    """
    everything = dict.fromkeys(name for values in by_step.values() for name in values)
    shared = [name for name in everything if all(name in values for values in by_step.values())]
    return {step: {name: values[name] for name in shared} for step, values in by_step.items()}, len(everything)


def _series(task: str, level: str, layer: str, by_step: Mapping[int, Mapping[str, float]], direction: int) -> Series:
    steps = sorted(by_step)
    values = np.array([np.mean(list(by_step[step].values())) for step in steps])
    at = np.array(steps, np.int64)
    utterances = list(by_step[steps[0]])
    if len(utterances) < 2:
        return Series(task, "", level, layer, at, values, direction)
    rows = np.array([[by_step[step][one] for one in utterances] for step in steps])
    errors = rows.std(axis=1, ddof=1) / math.sqrt(len(utterances))
    return Series(task, "", level, layer, at, values, direction, errors, rows=rows)
