"""From the rows of steps to arrays over steps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from rankwatch.readings.reading import Key
from rankwatch.reporting.recorded.kept_steps import NUMBERS, StepRow
from rankwatch.reporting.recorded.recorded_run import CodebookCurve, Curve, Spectra


def assemble(
    rows: Sequence[tuple[int, StepRow]],
    curves: Mapping[Key, int],
    protocol_of: Mapping[Key, str],
    widths: Mapping[Key, int],
    quantizers: Mapping[str, int],
    n_codes: Mapping[str, int],
) -> dict[str, Any]:
    """The arrays of a `rankwatch.reporting.recorded.recorded_run.RecordedRun`.

    Args:
        rows: Steps, ascending, and what was recorded at each.
        curves: Index of each curve in the rows.
        protocol_of: Id of each curve's newest protocol.
        widths: Width of each curve's layer.
        quantizers: Index of each quantizer in the rows.
        n_codes: Codes in each group of a quantizer.

    Returns:
        Fields by name.
    """
    steps = np.array([step for step, _ in rows], np.int64)
    numbers = np.full((len(rows), len(curves), NUMBERS), np.nan, np.float32)
    codes = np.full((len(rows), len(quantizers), 3), np.nan, np.float32)
    for i, (_, row) in enumerate(rows):
        if row.numbers is not None and row.indices is not None and len(row.indices):
            numbers[i, row.indices] = row.numbers
        for index, values in row.codebooks.items():
            codes[i, index] = values
    summary = np.array([row.summary for _, row in rows], np.float32).reshape(len(rows), 4)
    parts = dict.fromkeys(part for _, row in rows for part in row.seconds)
    return {
        "steps": steps,
        "curves": {key: _curve(numbers[:, index], protocol_of.get(key, "")) for key, index in curves.items()},
        "spectra": _spectra(rows, steps, curves, widths),
        "codebooks": {
            name: CodebookCurve(codes[:, i, 0], codes[:, i, 1], codes[:, i, 2], n_codes.get(name, 0))
            for name, i in quantizers.items()
        },
        "health": summary[:, 0],
        "alarm_level": summary[:, 1],
        "learning_rate": summary[:, 2],
        "muted": summary[:, 3],
        "cost_share": np.array([row.share for _, row in rows], np.float32),
        "cost_seconds": {
            part: np.array([row.seconds.get(part, np.nan) for _, row in rows], np.float32) for part in parts
        },
    }


def _curve(numbers: npt.NDArray[np.float32], protocol: str) -> Curve:
    values, low, high, accuracy, majority = (np.ascontiguousarray(numbers[:, i]) for i in range(NUMBERS))
    if np.isnan(accuracy).all():
        accuracy = majority = np.empty(0, np.float32)
    return Curve(values, low, high, protocol, accuracy, majority)


def _spectra(
    rows: Sequence[tuple[int, StepRow]],
    steps: npt.NDArray[np.int64],
    curves: Mapping[Key, int],
    widths: Mapping[Key, int],
) -> dict[Key, Spectra]:
    found: dict[int, tuple[list[int], list[npt.NDArray[np.uint8]]]] = {}
    for place, (_, row) in enumerate(rows):
        for index, codes in row.codes.items():
            places, several = found.setdefault(index, ([], []))
            if not several or len(several[0]) == len(codes):
                places.append(place)
                several.append(codes)
    return {
        key: Spectra(steps[found[index][0]], np.stack(found[index][1]), widths.get(key, 0))
        for key, index in curves.items()
        if index in found
    }
