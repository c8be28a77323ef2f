"""The curves that runs have in common: same evaluation set, level and layer, read under one protocol."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from rankwatch.comparison.differences.difference import Place
from rankwatch.readings.protocol import TRAIN
from rankwatch.reporting.figures.comparison import differing_protocols
from rankwatch.reporting.recorded.recorded_run import DriftCurve, RecordedRun

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class LogCurve:
    """One layer of one run, shape ``(n_steps,)`` each; NaN where there is nothing.

    Attributes:
        steps: Optimiser steps, ascending.
        logs: ln(effective rank).
        halves: Half of its 90 % interval; 0 where all rows are one vector, whose rank is known to be 1.
        drift: Since the ``"previous"`` and the ``"first"`` full reading, as far as there is any.
    """

    steps: npt.NDArray[np.int64]
    logs: Array
    halves: Array
    drift: Mapping[str, DriftCurve] = field(default_factory=dict)

    def at(self, step: int) -> int | None:
        """Index of the newest value up to a step; None where there is none."""
        there = np.flatnonzero((self.steps <= step) & np.isfinite(self.logs))
        return int(there[-1]) if there.size else None


@dataclass(frozen=True)
class CommonCurves:
    """What runs may be compared in.

    Attributes:
        curves: For each place a curve of each run, in their order.
        notes: Which evaluation sets are left out, and why, in sentences.
        last_step: The last step that all runs have reached.
    """

    curves: dict[Place, tuple[LogCurve, ...]]
    notes: tuple[str, ...]
    last_step: int


def common_curves(runs: Sequence[RecordedRun]) -> CommonCurves:
    """Find them, evaluation set by evaluation set; the training pass, whose rows are others each time, doesn't count.

    Args:
        runs: Two or more.

    Returns:
        Curves by evaluation set, level and the layer's short name.

    Raises:
        ValueError: If there is none under one protocol, with the reason and what to do.
    """
    first, reasons = runs[0], []
    found: dict[Place, tuple[LogCurve, ...]] = {}
    for source in [one for one in first.sources if one != TRAIN]:
        reason = differing_protocols([_of_source(run, source) for run in runs])
        if reason:
            reasons.append((source, reason))
            continue
        tables = [_by_place(run, source) for run in runs]
        for place in tables[0]:
            if all(place in table for table in tables):
                found[place] = tuple(table[place] for table in tables)
    if not found:
        said = " ".join(reason for _, reason in reasons) or "They have no evaluation set in common."
        raise ValueError(f"{said} {_advice(said)}")
    notes = [f"Evaluation set {source!r} is left out: {reason}" for source, reason in reasons]
    last = min(int(run.steps[-1]) for run in runs if run.steps.size)
    return CommonCurves(found, (*notes, *_earlier_protocols(runs), *_unshared(runs, found)), last)


def _of_source(run: RecordedRun, source: str) -> RecordedRun:
    return dataclasses.replace(run, curves={key: curve for key, curve in run.curves.items() if key[0] == source})


def _by_place(run: RecordedRun, source: str) -> dict[Place, LogCurve]:
    labels = {row.layer: row.label for row in run.layers}
    return {
        Place(source, level, labels.get(layer, layer)): _log_curve(run, (source, level, layer))
        for _, level, layer in sorted(
            (key for key in run.curves if key[0] == source), key=lambda key: (key[1], labels.get(key[2], key[2]))
        )
    }


def _log_curve(run: RecordedRun, key: tuple[str, str, str]) -> LogCurve:
    curve = run.curves[key]
    under = run.steps >= curve.since  # readings of before were made under another protocol
    values, low, high = (
        np.where(under, array.astype(np.float64), np.nan) for array in (curve.values, curve.low, curve.high)
    )
    with np.errstate(divide="ignore", invalid="ignore"):
        halves = 0.5 * (np.log(high) - np.log(low))
        logs = np.log(values)
    return LogCurve(run.steps, logs, np.where(values == 1.0, 0.0, halves), curve.drift)


def _earlier_protocols(runs: Sequence[RecordedRun]) -> list[str]:
    """Which runs have readings that don't count, since the protocol has changed."""
    said = []
    for run in runs:
        begun = [
            curve.since
            for key, curve in run.curves.items()
            if key[0] != TRAIN and np.isfinite(curve.values[run.steps < curve.since]).any()
        ]
        if begun:
            said.append(f"{run.name} was read under another protocol before step {max(begun)}; only later ones count.")
    return said


def _unshared(runs: Sequence[RecordedRun], found: dict[Place, tuple[LogCurve, ...]]) -> list[str]:
    sources = {place.source for place in found}
    names = {place.layer for place in found}
    said = []
    for run in runs:
        more = [row.label for row in run.layers if row.label not in names]
        if more and sources:
            said.append(f"{run.name} has layers that the others don't have: {', '.join(more)}.")
    return said


def _advice(reason: str) -> str:
    """What to do about protocols that differ."""
    if " d " in reason:
        return (
            "Effective ranks of layers of different width can't be compared; how alike such layers are can be: "
            "rankwatch compare MODULE:CLASS@A.ckpt MODULE:CLASS@B.ckpt --audio DIR."
        )
    command = "rankwatch replay MODULE:FACTORY --checkpoints 'FOLDER/*.ckpt' --audio DIR --out NEW_FOLDER"
    return (
        f"Replay the checkpoints of each with the same audio and settings, {command}, and compare the new folders; or "
        "compare two checkpoints: rankwatch compare MODULE:CLASS@A.ckpt MODULE:CLASS@B.ckpt --audio DIR."
    )
