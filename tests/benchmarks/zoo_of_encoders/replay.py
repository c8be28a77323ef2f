"""What detectors say about a recorded run, and how far its ranks have come down, from several references."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from rankwatch.alarms.alarm_state import AlarmState
from rankwatch.alarms.detectors import Detector
from rankwatch.readings.alarm import Alarm
from zoo_of_encoders.record import History

PRIMARY = "first_batches"


@dataclass(frozen=True)
class Found:
    """What was said.

    Attributes:
        alarms: All that was raised, but for `plateau`.
        health: At each reading.
    """

    alarms: tuple[Alarm, ...]
    health: tuple[float, ...]

    def steps(self, severity: str, after: int = 0) -> list[int]:
        """Steps of alarms of a severity after a step."""
        return [alarm.step for alarm in self.alarms if alarm.severity == severity and alarm.step > after]


def judge(history: History, detectors: Sequence[Detector] | None = None) -> Found:
    """Judge all readings in order, as a run does."""
    state = AlarmState(PRIMARY, detectors)
    steps = [0, *(fact["step"] for fact in history.facts)]
    rates = [0.0, *(fact["rate"] for fact in history.facts)]
    alarms: list[Alarm] = []
    health = []
    for step, readings in history.by_step.items():
        rate = float(np.interp(step, steps, rates))
        told = state.assess(step, readings, rate, codebooks=history.codebooks.get(step, []))
        alarms += [alarm for alarm in told.raised if alarm.kind != "plateau"]
        health.append(told.health)
    return Found(tuple(alarms), tuple(health))


@dataclass(frozen=True)
class Fall:
    """How low the worst block's effective rank has come at frame level, as shares of what it may be compared with.

    Attributes:
        initial: The median of its first four readings.
        input: The input's own, at the same frames.
        sustained: The highest level that lasted eight readings.
    """

    initial: float
    input: float
    sustained: float


def fall(history: History, settled: float = 0.0) -> Fall:
    """The lowest shares over blocks and readings.

    Args:
        history: The run.
        settled: Share of the run whose readings don't count.

    Returns:
        See `Fall`; NaN where there is nothing.
    """
    curves: dict[str, list[tuple[int, float]]] = {}
    for step, readings in history.by_step.items():
        for r in readings:
            if (r.source, r.level) == (PRIMARY, "frame") and "blocks" in r.layer and r.ok:
                curves.setdefault(r.layer, []).append((step, r.effective_rank))
    lowest = [math.nan] * 3
    for curve in curves.values():
        ranks = np.array([rank for _, rank in curve])
        counted = np.array([step >= settled * history.run.steps for step, _ in curve])
        if len(ranks) < 8 or not counted.any():
            continue
        lasting = np.array([np.median(ranks[max(0, i - 7) : i + 1]) if i >= 7 else -np.inf for i in range(len(ranks))])
        best = np.maximum(np.maximum.accumulate(lasting), 0)
        here = counted & (best > 0)
        shares = (
            ranks[counted].min() / np.median(ranks[:4]),
            ranks[counted].min() / history.input_rank.get("frame", math.nan),
            (ranks[here] / best[here]).min() if here.any() else math.nan,
        )
        lowest = [float(np.fmin(a, b)) for a, b in zip(lowest, shares, strict=True)]
    return Fall(*lowest)
