"""The recent past of each curve, and the reference that a layer is compared with: itself."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any

import numpy as np

from rankwatch.numerics.metrics.thinned_series import append_thinned
from rankwatch.readings.codebook_reading import AnyReading, CodebookReading
from rankwatch.readings.drift.layer_drift import FIRST, PREVIOUS
from rankwatch.readings.reading import ACCURACY, Key, Reading

IGNORED_READINGS = 4
"""Readings at the start that are no reference: a short dip (or a high value of the initialisation) is normal."""
_SETTLING = 1.5
"""Multiple of the readings in the learning rate's warm-up that are no reference: layers settle after its peak."""
_INITIAL = 8  # readings from the very start that are remembered for good
_SUSTAINED = 8  # readings that a level must last to count as sustained
_MOST_READINGS = 512  # readings remembered of each curve: bounded memory and a small checkpoint
_MOST_CLEAN = 64  # clean readings that a reference is made of
_ACCURACIES = 3  # probe accuracies whose median counts: one high value doesn't
TRACKED = ("participation_ratio", "within_utterance_variance_fraction", "probe_accuracy", "mean_energy_fraction")
"""Metrics that detectors compare with their own past."""


@dataclass
class Series:
    """One curve under one protocol.

    A reading is *clean* where no detector found anything in it that can become critical.

    Attributes:
        protocol: Id of the protocol; a reading under another one starts the series anew.
        steps: Optimiser steps, ascending, the newest 512.
        values: Effective ranks at them; NaN where there was none.
        n_readings: Readings ever taken under this protocol.
        initial_ranks: The first 8 effective ranks.
        best_sustained: The highest level that lasted: maximum over time of the median of the newest 8 clean readings.
        n_lr_warmup: Readings taken in the learning rate's first warm-up; they are no reference.
        recent_clean: The newest 64 clean readings: how many readings came before, the effective rank, the `TRACKED`
            metrics.
        accuracies: The newest 3 accuracies of a linear probe, clean or not.
        best_accuracy: The highest median that three accuracies in a row had; None before there were three.
        long_term: Of a quantizer the whole past, thinned: readings joined, their mean step, perplexity, active codes.
        drifts: The newest 64 drifts to be trusted: step, steps since the full reading before, drift since it and since
            the first one after the warm-up (NaN where there is none).
    """

    protocol: str
    steps: list[int] = field(default_factory=list)
    values: list[float] = field(default_factory=list)
    n_readings: int = 0
    initial_ranks: list[float] = field(default_factory=list)
    best_sustained: float = 0.0
    n_lr_warmup: int = 0
    recent_clean: list[list[float]] = field(default_factory=list)
    accuracies: list[float] = field(default_factory=list)
    best_accuracy: float | None = None
    long_term: list[list[float]] = field(default_factory=list)
    drifts: list[list[float]] = field(default_factory=list)
    _cache: dict[Any, float | None] = field(default_factory=dict, repr=False, compare=False)  # until the next reading

    def add(self, reading: AnyReading, *, clean: bool, lr_warming_up: bool = False) -> None:
        """Append one reading, and forget the oldest beyond the bounds."""
        self._cache.clear()
        step, value = reading.step, reading.value
        if clean and math.isfinite(value):
            tracked = [reading.metrics.get(name, math.nan) for name in TRACKED]
            self.recent_clean.append([self.n_readings, value, *tracked])
            del self.recent_clean[:-_MOST_CLEAN]
        self.n_readings += 1
        self.n_lr_warmup += lr_warming_up
        if len(self.initial_ranks) < _INITIAL:
            self.initial_ranks.append(value)
        self.steps.append(step)
        self.values.append(value)
        for column in (self.steps, self.values):
            del column[:-_MOST_READINGS]
        self._sustain()
        self._add_accuracy(reading.metrics.get(ACCURACY, math.nan))
        if isinstance(reading, Reading) and (drift := reading.drift_since(PREVIOUS)) is not None:
            first = reading.drift_since(FIRST)
            since_first = math.nan if first is None else first.value
            self.drifts.append([step, step - drift.step, drift.value, since_first])
            del self.drifts[:-_MOST_CLEAN]
        if isinstance(reading, CodebookReading) and math.isfinite(value):
            append_thinned(self.long_term, [step, value, reading.active_codes])

    def _sustain(self) -> None:
        oldest = max(self.n_readings - _SUSTAINED, self.n_lr_warmup)
        level = [row[1] for row in self.recent_clean[-_SUSTAINED:] if row[0] >= oldest]
        if len(level) == _SUSTAINED and self.n_readings >= 2 * _SUSTAINED - _SUSTAINED // 2:
            self.best_sustained = max(self.best_sustained, float(np.median(level)))

    def _add_accuracy(self, accuracy: float) -> None:
        if math.isfinite(accuracy):
            self.accuracies = [*self.accuracies, accuracy][-_ACCURACIES:]
            if len(self.accuracies) == _ACCURACIES:
                self.best_accuracy = max(self.best_accuracy or 0.0, median(self.accuracies))

    def initial_level(self, readings: int, quantile: float = 0.8, of_first: float = 0.5) -> float | None:
        """What it read before there is a reference.

        The higher of the median (or another quantile) of the first `readings` (at most 8), and of a high quantile of
        all clean ones, those of the learning rate's warm-up too: a layer may rise before it falls.

        Returns:
            The level, or None as long as there are fewer than two readings.
        """
        about = ("initial", readings, quantile, of_first)
        if about not in self._cache:  # of all layers, for each that has fallen
            usable = [value for value in self.initial_ranks[:readings] if np.isfinite(value)]
            clean = [row[1] for row in self.recent_clean]
            high = float(np.quantile(clean, quantile)) if len(clean) >= readings else 0.0
            self._cache[about] = max(float(np.quantile(usable, of_first)), high) if len(usable) >= 2 else None
        return self._cache[about]

    def reference(self, ignored_readings: int, recent: int = 60, quantile: float = 0.8) -> float | None:
        """What the layer usually reads: a high quantile of its own clean readings.

        A quantile and not the maximum, which one lucky reading decides; of the last `recent` only, since a
        slow contraction late in training is normal; without the first `ignored_readings` and those of the learning
        rate's first warm-up, since a short dip (or a high value of the random initialisation) is normal there.
        Readings that aren't clean push nothing out: however long a collapse lasts, it is compared with what was before.

        Returns:
            The reference, or None as long as fewer than two readings after the warm-up are there.
        """
        about = (ignored_readings, recent, quantile)
        if about not in self._cache:  # several detectors ask, also for other layers' curves
            usable = self._usable(0, ignored_readings)[-recent:]
            self._cache[about] = float(np.quantile(usable, quantile)) if len(usable) >= 2 else None
        return self._cache[about]

    def usual(self, name: str, ignored_readings: int, quantile: float = 0.5) -> float | None:
        """Quantile of a tracked metric over clean readings after the warm-up, as `reference` is of the rank."""
        if (about := (name, ignored_readings, quantile)) not in self._cache:
            usable = self._usable(1 + TRACKED.index(name), ignored_readings)
            self._cache[about] = float(np.quantile(usable, quantile)) if len(usable) >= 2 else None
        return self._cache[about]

    def clean_quantile(self, name: str, quantile: float) -> float | None:
        """Quantile of a tracked metric over all clean readings that are remembered.

        Those of the start too, unlike `usual`: for what a collapse moves while the learning rate still rises.

        Returns:
            The quantile, or None where there are fewer than four readings.
        """
        known = [row[2 + TRACKED.index(name)] for row in self.recent_clean]
        usable = [value for value in known if math.isfinite(value)]
        return float(np.quantile(usable, quantile)) if len(usable) >= IGNORED_READINGS else None

    def latest_clean(self, readings: int = 3, within: int | None = None) -> list[float]:
        """The newest clean effective ranks after the learning rate's first warm-up.

        Returns:
            At most as many as `readings`; none where the newest is not among the last `within` readings.
        """
        settled = [row for row in self.recent_clean[-readings:] if row[0] >= self.n_lr_warmup]
        if within is not None and settled and settled[-1][0] < self.n_readings - within:
            return []
        return [row[1] for row in settled]

    def _usable(self, column: int, ignored_readings: int) -> list[float]:
        first = max(ignored_readings, int(_SETTLING * self.n_lr_warmup))
        return [row[1 + column] for row in self.recent_clean if row[0] >= first and math.isfinite(row[1 + column])]

    def to_plain(self) -> dict[str, Any]:
        """Plain lists, numbers and strings."""
        names = [name for name in vars(self) if not name.startswith("_")]
        return {name: _copied(getattr(self, name)) for name in names}

    @classmethod
    def from_plain(cls, plain: dict[str, Any]) -> Series:
        """What `to_plain` was called on."""
        return cls(**{name: _copied(value) for name, value in plain.items()})


def _copied(value: Any) -> Any:
    return [_copied(item) for item in value] if isinstance(value, list) else value


class History:
    """All curves of a run.

    Attributes:
        series: The pasts of all curves.
        restarted: Curves whose protocol has changed, so that they have started again.
    """

    def __init__(self) -> None:
        self.series: dict[Key, Series] = {}
        self.restarted: list[Key] = []

    @property
    def n_readings(self) -> int:
        """Readings of the curve that has most of them."""
        return max((series.n_readings for series in self.series.values()), default=0)

    def open_series(self, readings: Iterable[AnyReading]) -> dict[Key, Series]:
        """The past of each reading's curve under the reading's own protocol, without the reading itself.

        Where the protocol has changed the past can't be compared: the series starts again, and its curve is listed in
        `restarted`.

        Returns:
            Series by curve, to which the caller adds the readings.
        """
        return {reading.key: self._open(reading) for reading in readings}

    def _open(self, reading: AnyReading) -> Series:
        known = self.series.get(key := reading.key)
        if known is not None:
            protocol = reading.protocol.continuing(known.protocol)
            if protocol is not None:
                known.protocol = protocol
                return known
            self.restarted.append(key)
        self.series[key] = Series(reading.protocol.id)
        return self.series[key]

    def table(self, source: str, level: str, layers: Sequence[str]) -> tuple[list[int], list[list[float]]]:
        """Steps and one row of effective ranks per layer, NaN where a layer has none, at most 200 columns."""
        rows = {layer: self.series.get((source, level, layer)) for layer in layers}
        steps = sorted({step for series in rows.values() if series is not None for step in series.steps})
        if len(steps) > 200:
            steps = [steps[i] for i in np.linspace(0, len(steps) - 1, 200).astype(int)]
        table = []
        for series in rows.values():
            found = dict(zip(series.steps, series.values, strict=True)) if series is not None else {}
            table.append([found.get(step, float("nan")) for step in steps])
        return steps, table

    def state_dict(self) -> list[dict[str, Any]]:
        """Plain lists, numbers and strings."""
        return [{"key": list(key), **series.to_plain()} for key, series in self.series.items()]

    def load_state_dict(self, state: Iterable[dict[str, Any]]) -> None:
        """Go on from what `state_dict` gave."""
        self.series = {}
        for entry in state:
            source, level, layer = entry["key"]
            plain = {name: value for name, value in entry.items() if name != "key"}
            self.series[source, level, layer] = Series.from_plain(plain)
