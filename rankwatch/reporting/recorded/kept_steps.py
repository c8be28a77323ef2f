"""Readings step by step, thinned out evenly where there are many: bounded memory for a run of any length."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from rankwatch.readings.drift.layer_drift import FIRST, PREVIOUS
from rankwatch.readings.reading import Key
from rankwatch.reporting.recorded.recorded_run import CodebookCurve, Curve, DriftCurve, Spectra
from rankwatch.reporting.recorded.spectrum_codes import encode

MOST_STEPS = 2_000
"""Steps that are kept, at least half of that where there were more; a screen has no more columns."""

MOST_ALARMED = 200
"""Steps at which an alarm was raised, which are kept whatever the thinning."""

NUMBERS = 13
"""Numbers kept of a layer's reading: effective rank, its interval's ends, probe accuracy and that of the majority;
drift since the reading before and since the first, each with its interval's ends and whether it is to be trusted."""


@dataclass
class StepRow:
    """What was recorded at one step.

    Attributes:
        curves: `NUMBERS` numbers by the curve's index.
        spectra: Singular values, as they were written, by the curve's index; codes once the step is complete.
        codebooks: Perplexity, normalised perplexity and share of active codes, by the quantizer's index.
        summary: Health, alarm level, learning rate, muted.
        share: The callback's part of the run's time.
        seconds: By part.
        alarmed: Whether an alarm was raised.
    """

    curves: dict[int, tuple[float, ...]] = field(default_factory=dict)
    spectra: dict[int, list[float]] = field(default_factory=dict)
    codes: dict[int, npt.NDArray[np.uint8]] = field(default_factory=dict)
    numbers: npt.NDArray[np.float32] | None = None
    indices: npt.NDArray[np.int32] | None = None
    codebooks: dict[int, tuple[float, float, float]] = field(default_factory=dict)
    summary: tuple[float, float, float, float] = (np.nan, np.nan, np.nan, np.nan)
    share: float = np.nan
    seconds: dict[str, float] = field(default_factory=dict)
    alarmed: bool = False

    def pack(self) -> None:
        """Numbers into arrays, which take a fifth of the memory."""
        self.indices = np.fromiter(self.curves, np.int32, len(self.curves))
        self.numbers = np.array(list(self.curves.values()), np.float32).reshape(len(self.curves), NUMBERS)
        self.curves = {}
        by_length: dict[int, list[int]] = {}
        for index, values in self.spectra.items():
            by_length.setdefault(len(values), []).append(index)
        for alike in by_length.values():
            codes = encode([self.spectra[index] for index in alike])
            self.codes.update(zip(alike, codes, strict=True))
        self.spectra = {}


class KeptSteps:
    """The steps of a run, of which every 1st, 2nd, 4th ... is kept, with those at which an alarm was raised.

    Attributes:
        seen: Steps that were ever begun; one that is read again, after a restart, counts once as long as it is kept.
        went_back: Steps from which on what had been recorded was given up, since the run was resumed from before.
    """

    def __init__(self) -> None:
        self._rows: dict[int, tuple[int, StepRow]] = {}
        self._stride = 1
        self._open: tuple[int, StepRow] | None = None
        self.seen = 0
        self.went_back: list[int] = []
        self._resumed = False

    def at(self, step: int) -> StepRow:
        """The row of a step, which stays open until another one begins."""
        if self._resumed:
            self._forget_from(step)
        if self._open is None or self._open[0] != step:
            self._close()
            self._open = (step, StepRow())
        return self._open[1]

    def resume(self) -> None:
        """The run goes on from a checkpoint: what it had recorded from the next step on is given up."""
        self._resumed = True

    def _forget_from(self, step: int) -> None:
        self._resumed = False
        self._close()
        later = [one for one in self._rows if one >= step]
        for one in later:
            del self._rows[one]
        self.seen -= len(later)
        if any(one > step for one in later):
            self.went_back.append(step)

    def _close(self) -> None:
        if self._open is None:
            return
        step, row = self._open
        self._open = None
        has_readings = bool(row.curves or row.codebooks)
        row.pack()
        if step in self._rows:  # read again after a restart, or a late word about it
            ordinal, before = self._rows[step]
            before.alarmed |= row.alarmed
            self._rows[step] = (ordinal, row if has_readings else before)
            return
        self._rows[step] = (self.seen, row)
        self.seen += 1
        if len(self._rows) > MOST_STEPS + MOST_ALARMED:
            self._stride *= 2
            alarmed = [step for step, (_, row) in self._rows.items() if row.alarmed][:MOST_ALARMED]
            last = max(self._rows)
            self._rows = {
                step: (ordinal, row)
                for step, (ordinal, row) in self._rows.items()
                if ordinal % self._stride == 0 or step in alarmed or step == last
            }
        elif self._stride > 1:
            self._drop_before(step)

    def _drop_before(self, newest: int) -> None:
        """The step before the newest was kept only for being the newest."""
        before = next(itertools.islice(reversed(self._rows), 1, None))
        ordinal, row = self._rows[before]
        if before != newest and ordinal % self._stride and not row.alarmed:
            del self._rows[before]

    def rows(self) -> Iterator[tuple[int, StepRow]]:
        """What is kept, in the order of steps; the open step is closed.

        Yields:
            A step and its row.
        """
        self._close()
        for step in sorted(self._rows):
            yield step, self._rows[step][1]


def assemble(
    rows: Sequence[tuple[int, StepRow]],
    curves: Mapping[Key, int],
    protocol_of: Mapping[Key, tuple[str, int]],
    widths: Mapping[Key, int],
    quantizers: Mapping[str, int],
    n_codes: Mapping[str, int],
) -> dict[str, Any]:
    """The arrays of a `rankwatch.reporting.recorded.recorded_run.RecordedRun`.

    Args:
        rows: Steps, ascending, and what was recorded at each.
        curves: Index of each curve in the rows.
        protocol_of: Id of each curve's newest protocol, and the first step that was read under it.
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
        "curves": {key: _curve(numbers[:, index], *protocol_of.get(key, ("", 0))) for key, index in curves.items()},
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


def _curve(numbers: npt.NDArray[np.float32], protocol: str, begun: int) -> Curve:
    values, low, high, accuracy, majority, *drift = (np.ascontiguousarray(numbers[:, i]) for i in range(NUMBERS))
    if np.isnan(accuracy).all():
        accuracy = majority = np.empty(0, np.float32)
    drifts = {
        since: DriftCurve(drift[i], drift[i + 1], drift[i + 2], drift[i + 3] == 1.0)
        for since, i in ((PREVIOUS, 0), (FIRST, 4))
    }
    there = {since: one for since, one in drifts.items() if not np.isnan(one.values).all()}
    return Curve(values, low, high, protocol, begun, accuracy, majority, there)


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
