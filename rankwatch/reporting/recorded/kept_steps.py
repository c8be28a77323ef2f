"""Readings step by step, thinned out evenly where there are many: bounded memory for a run of any length."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from rankwatch.reporting.recorded.spectrum_codes import encode

MOST_STEPS = 2_000
"""Steps that are kept, at least half of that where there were more; a screen has no more columns."""

MOST_ALARMED = 200
"""Steps at which an alarm was raised, which are kept whatever the thinning."""

NUMBERS = 5
"""Numbers kept of a layer's reading: effective rank, its interval's ends, probe accuracy and that of the majority."""


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
    """

    def __init__(self) -> None:
        self._rows: dict[int, tuple[int, StepRow]] = {}
        self._stride = 1
        self._open: tuple[int, StepRow] | None = None
        self.seen = 0

    def at(self, step: int) -> StepRow:
        """The row of a step, which stays open until another one begins."""
        if self._open is None or self._open[0] != step:
            self._close()
            self._open = (step, StepRow())
        return self._open[1]

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
