"""The recent past of each curve, and the reference that a layer is compared with: itself."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from rankwatch.readings.reading import Key, Reading, key_of

WARMUP = 4
"""Readings at the start that serve as no reference: a short dip (or a high value of the initialisation) is normal."""
_AFTER = 1.5
"""Of readings in the learning rate's warm-up, how many are no reference: layers go on settling after its peak."""
_FIRST = 8  # readings from the very start that are kept for good
_HELD = 8  # readings that a level must last to count as held
_LONGEST = 512  # readings kept of each curve: bounded memory and a small checkpoint
_RECENT = 64  # sound readings that a reference is made of
TRACKED = ("participation_ratio", "within_utterance_variance_fraction", "probe_accuracy", "mean_energy_fraction")
"""Metrics that detectors compare with their own past."""


@dataclass
class Series:
    """One curve under one protocol.

    Attributes:
        protocol: Id of the protocol; a reading under another one starts the series anew.
        steps: Optimiser steps, ascending, the newest `_LONGEST`.
        values: Effective ranks at them; NaN where there was none.
        taken: Readings ever taken under this protocol.
        first: The first `_FIRST` effective ranks.
        lasting: The highest level that was held: maximum over time of the median of the newest `_HELD` sound
            readings.
        warm: Readings taken while the learning rate rose for the first time; they are no reference.
        kept: The newest `_RECENT` sound readings: how many came before, the effective rank, the `TRACKED` metrics.
    """

    protocol: str
    steps: list[int] = field(default_factory=list)
    values: list[float] = field(default_factory=list)
    taken: int = 0
    first: list[float] = field(default_factory=list)
    lasting: float = 0.0
    warm: int = 0
    kept: list[list[float]] = field(default_factory=list)
    _known: dict[Any, float | None] = field(default_factory=dict, repr=False, compare=False)  # until the next reading

    def add(self, reading: Reading, *, sound: bool, warming: bool = False) -> None:
        """Append one reading, `sound` where nothing grave was found in it, and forget the oldest beyond the bound."""
        self._known.clear()
        step, value = reading.step, reading.effective_rank
        if sound and math.isfinite(value):
            tracked = [reading.metrics.get(name, math.nan) for name in TRACKED]
            self.kept.append([self.taken, value, *tracked])
            del self.kept[:-_RECENT]
        self.taken += 1
        self.warm += warming
        if len(self.first) < _FIRST:
            self.first.append(value)
        self.steps.append(step)
        self.values.append(value)
        for column in (self.steps, self.values):
            del column[:-_LONGEST]
        held = [row[1] for row in self.kept[-_HELD:] if row[0] >= self.taken - _HELD and row[0] >= self.warm]
        if len(held) == _HELD and self.taken >= 2 * _HELD - _HELD // 2:
            self.lasting = max(self.lasting, float(np.median(held)))

    def start(self, readings: int, quantile: float = 0.8) -> float | None:
        """What it read before there is a reference; None as long as there are fewer than two readings.

        The higher of the median of the first `readings` (at most `_FIRST`), and of a high quantile of all sound ones,
        those of the learning rate's warm-up too: a layer may rise before it falls.
        """
        about = ("start", readings, quantile)
        if about not in self._known:  # of all layers, for each that has fallen
            usable = [value for value in self.first[:readings] if np.isfinite(value)]
            sound = [row[1] for row in self.kept]
            high = float(np.quantile(sound, quantile)) if len(sound) >= readings else 0.0
            self._known[about] = max(float(np.median(usable)), high) if len(usable) >= 2 else None
        return self._known[about]

    def reference(self, warmup: int, recent: int = 60, quantile: float = 0.8) -> float | None:
        """What the layer usually reads: a high quantile of its own sound readings.

        A quantile and not the maximum, which one lucky reading decides; of the last `recent` only, since a
        slow contraction late in training is normal; without the first `warmup` readings and those taken while the
        learning rate first rose, since a short dip (or a high value of the random initialisation) is normal there.
        Readings that aren't sound push nothing out: however long a collapse lasts, it is compared with what was before.

        Returns:
            The reference, or None as long as fewer than two readings after the warm-up are there.
        """
        about = (warmup, recent, quantile)
        if about not in self._known:  # several detectors ask, also for other layers' curves
            usable = self._usable(0, warmup)[-recent:]
            self._known[about] = float(np.quantile(usable, quantile)) if len(usable) >= 2 else None
        return self._known[about]

    def usual(self, name: str, warmup: int) -> float | None:
        """Median of a tracked metric over sound readings, as `reference` is of the effective rank."""
        if (name, warmup) not in self._known:
            usable = self._usable(1 + TRACKED.index(name), warmup)
            self._known[name, warmup] = float(np.median(usable)) if len(usable) >= 2 else None
        return self._known[name, warmup]

    def quantile(self, name: str, share: float) -> float | None:
        """Quantile of a tracked metric over all sound readings that are kept; None where there are few.

        Those of the start too, unlike `usual`: for what a collapse moves while the learning rate still rises.
        """
        known = [row[2 + TRACKED.index(name)] for row in self.kept]
        usable = [value for value in known if math.isfinite(value)]
        return float(np.quantile(usable, share)) if len(usable) >= WARMUP else None

    def before(self, readings: int = 3, within: int | None = None) -> list[float]:
        """The newest sound effective ranks; none where the newest is not among the last `within` readings."""
        if within is not None and self.kept and self.kept[-1][0] < self.taken - within:
            return []
        return [row[1] for row in self.kept[-readings:]]

    def _usable(self, column: int, warmup: int) -> list[float]:
        first = max(warmup, int(_AFTER * self.warm))
        return [row[1 + column] for row in self.kept if row[0] >= first and math.isfinite(row[1 + column])]


class History:
    """All curves of a run."""

    def __init__(self) -> None:
        self._series: dict[Key, Series] = {}
        self.restarted: list[Key] = []

    def series(self, reading: Reading) -> Series:
        """The past of the reading's curve under the reading's own protocol, without the reading itself.

        Where the protocol has changed the past can't be compared: the series starts anew, and the key is
        listed in `restarted`.
        """
        key = key_of(reading)
        known = self._series.get(key)
        if known is None or known.protocol != reading.protocol.id:
            if known is not None:
                self.restarted.append(key)
            self._series[key] = Series(reading.protocol.id)
        return self._series[key]

    def table(self, source: str, level: str, layers: Iterable[str]) -> tuple[list[int], list[list[float]]]:
        """Steps and one row of effective ranks per layer, NaN where a layer has none, at most 200 columns."""
        rows = {layer: self._series.get((source, level, layer)) for layer in layers}
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
        return [
            {
                "key": list(key),
                "protocol": series.protocol,
                "steps": list(series.steps),
                "values": list(series.values),
                "taken": series.taken,
                "first": list(series.first),
                "lasting": series.lasting,
                "warm": series.warm,
                "kept": [list(row) for row in series.kept],
            }
            for key, series in self._series.items()
        ]

    def load_state_dict(self, state: Iterable[dict[str, Any]]) -> None:
        """Take over what `state_dict` gave."""
        self._series = {}
        for entry in state:
            source, level, layer = entry["key"]
            columns: dict[str, Any] = {name: list(entry[name]) for name in ("steps", "values", "first")}
            numbers = {name: entry[name] for name in ("taken", "lasting", "warm")}
            columns["kept"] = [list(row) for row in entry["kept"]]
            self._series[source, level, layer] = Series(entry["protocol"], **numbers, **columns)
