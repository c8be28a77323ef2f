"""The training loss at each checkpoint: from a table, or from a logger's files beside the records."""

from __future__ import annotations

import dataclasses
import importlib.util
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from rankwatch.correlation.inputs.run_series import LOSS, Floats, Integers, RunSeries, Series
from rankwatch.correlation.inputs.table_lines import read_rows, step_in_cell
from rankwatch.reporting.recorded.log_folder import LogFolder, folder_of


def with_losses(
    runs: Sequence[RunSeries], records: Sequence[str], table: str | Path | None = None, tag: str = ""
) -> list[RunSeries]:
    """Runs with their loss among the measures, where it is known.

    The loss of a checkpoint is the mean of what was logged since the checkpoint before, as the loss of one batch says
    little.

    Args:
        runs: What the records say.
        records: Their paths, in the same order.
        table: A table with columns ``step``, ``value`` (or ``loss``) and, for several runs, ``run``.
        tag: Of the loss in TensorBoard's event files or in ``metrics.csv``; the one that looks like the training loss
            by default.

    Returns:
        The runs; those whose loss isn't known are as they were. A tag that isn't there, and a table that can't be
        read, raise `ValueError`.
    """
    if table is not None:
        found = _of_table(table, [run.name for run in runs])
        return [_with(run, *found[run.name]) if run.name in found else run for run in runs]
    return [_with_logged(run, path, tag) for run, path in zip(runs, records, strict=True)]


def _of_table(path: str | Path, names: Sequence[str]) -> dict[str, tuple[Integers, Floats]]:
    points: dict[str, dict[int, float]] = defaultdict(dict)
    for where, row in read_rows(path, ("step",)):
        name = row.get("run", "") or (names[0] if len(names) == 1 else "")
        if name not in names:
            raise ValueError(f"{where}: there is no run {name!r}; the runs are called {', '.join(names)}")
        cell = row.get("value", row.get("loss"))
        if cell is None:
            raise ValueError(f"{path} has no column 'value' or 'loss'")
        try:
            value = float(cell)
        except ValueError:
            raise ValueError(f"{where}: {cell!r} is no number") from None
        points[name][step_in_cell(row["step"], where)] = value
    return {name: _sorted(by_step) for name, by_step in points.items()}


def _sorted(points: dict[int, float]) -> tuple[Integers, Floats]:
    steps = sorted(points)
    return np.array(steps, np.int64), np.array([points[step] for step in steps])


def _with_logged(run: RunSeries, path: str, tag: str) -> RunSeries:
    if folder_of(path) is None:
        return run
    if importlib.util.find_spec("tensorboard") is None:
        return dataclasses.replace(run, notes=[*run.notes, f"{run.name}: without tensorboard, no loss was looked for."])
    curve, problems = LogFolder(path).loss(tag)
    if curve is None:
        if tag:
            raise ValueError(f"{run.name}: there is no loss {tag!r} in the logger's files beside {path}")
        said = problems or [f"{run.name}: no loss was found beside its records; --loss names a table of it."]
        return dataclasses.replace(run, notes=[*run.notes, *said])
    return _with(run, curve.steps, np.asarray(curve.values, np.float64))


def _with(run: RunSeries, steps: Integers, values: Floats) -> RunSeries:
    """The mean since the checkpoint before, at each checkpoint."""
    there = np.isfinite(values)
    steps, values = steps[there], values[there]
    found = [one.steps for one in (*run.measures, *run.checks)]
    checkpoints = np.unique(np.concatenate(found))
    # A check that was made a few steps after a reading is of the same checkpoint, and not of those few steps alone.
    near = min((float(np.diff(one).min()) / 4.0 for one in found if len(one) > 1), default=0.0)
    means, at = [], []
    for step in checkpoints:
        before = checkpoints[checkpoints < step - near]
        ours = values[(steps > (before[-1] if before.size else -1)) & (steps <= step)]
        if ours.size:
            means.append(ours.mean())
            at.append(step)
    if not at:
        return dataclasses.replace(run, notes=[*run.notes, f"{run.name}: its loss has no step of any checkpoint."])
    loss = Series(LOSS, "", "", "", np.array(at, np.int64), np.array(means), -1)
    return dataclasses.replace(run, measures=[*run.measures, loss])
