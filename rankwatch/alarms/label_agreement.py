"""The labelled check: a linear probe's accuracy beside the rank, and whether labels agree with an alarm."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from rankwatch.readings.probe_accuracy import ACCURACY, LABELLED, MAJORITY
from rankwatch.readings.reading import Key, Reading

_RECENT = 3  # readings whose median is what is held: one high value isn't
_ERRORS = 2.0  # standard errors that a fall has to exceed
_LOST = 0.25  # share of what was above the majority that a fall has to exceed


@dataclass(frozen=True)
class _Check:
    """One labelled set's say about a layer."""

    where: str
    held: float
    now: float
    majority: float
    agrees: bool

    def sentence(self) -> str:
        what = f"probe accuracy of {self.where}"
        rest = f"(majority {self.majority:.2f})"
        if self.agrees:
            return f"Labels agree: {what} fell from {self.held:.2f} to {self.now:.2f} {rest}."
        return f"Labels don't agree: {what} is {self.now:.2f}, after {self.held:.2f} {rest}."


class LabelAgreement:
    """Earlier accuracies of each curve, as far as they are needed to say whether labels agree with an alarm.

    What a curve held is the highest median that three readings in a row had. Labels agree when the accuracy is below
    that by more than two standard errors, sqrt(p (1 - p) / n) for n labelled rows, and by more than a quarter of what
    was above the majority. Where it was never above the majority by two standard errors, labels have nothing to say.
    """

    def __init__(self) -> None:
        self._recent: dict[Key, list[float]] = {}
        self._held: dict[Key, float] = {}

    def sentence(self, readings: Iterable[Reading], level: str, layer: str) -> str:
        """Whether labels agree that a layer has lost something; empty where they have nothing to say.

        Of several labelled sets the one that has lost most speaks, at the alarm's own level if it can.

        Args:
            readings: Of this step, before they are taken in by `add`.
            level: The alarm's level.
            layer: The alarm's layer.
        """
        checks = [(reading.level == level, check) for reading in readings if (check := self._check(reading, layer))]
        best = max(checks, key=lambda one: (one[0], one[1].held - one[1].now), default=None)
        return "" if best is None else best[1].sentence()

    def add(self, readings: Iterable[Reading]) -> None:
        """Take in the readings of a step."""
        for reading in readings:
            accuracy = reading.metrics.get(ACCURACY, math.nan)
            if not math.isfinite(accuracy):
                continue
            key = reading.source, reading.level, reading.layer
            self._recent[key] = [*self._recent.get(key, []), accuracy][-_RECENT:]
            if len(self._recent[key]) == _RECENT:
                self._held[key] = max(self._held.get(key, 0.0), median(self._recent[key]))

    def _check(self, reading: Reading, layer: str) -> _Check | None:
        key = reading.source, reading.level, reading.layer
        now, majority = reading.metrics.get(ACCURACY, math.nan), reading.metrics.get(MAJORITY, math.nan)
        if reading.layer != layer or not math.isfinite(now) or key not in self._recent:
            return None
        held = self._held.get(key, median(self._recent[key]))
        error = _ERRORS * math.sqrt(held * (1.0 - held) / max(reading.metrics.get(LABELLED, reading.n), 1.0))
        if held - majority <= error:
            return None
        agrees = held - now > max(error, _LOST * (held - majority))
        where = f"{reading.source!r} at {reading.level} level in {layer}"
        return _Check(where, held, now, majority, agrees)

    def state_dict(self) -> list[dict[str, Any]]:
        """Plain numbers, strings, lists and dicts; loads with ``weights_only=True``."""
        return [
            {"key": list(key), "recent": recent, "held": self._held.get(key)} for key, recent in self._recent.items()
        ]

    def load_state_dict(self, state: Sequence[Mapping[str, Any]]) -> None:
        """Go on from what `state_dict` gave."""
        self._recent, self._held = {}, {}
        for entry in state:
            source, level, layer = entry["key"]
            self._recent[source, level, layer] = [float(value) for value in entry["recent"]]
            if entry["held"] is not None:
                self._held[source, level, layer] = float(entry["held"])
