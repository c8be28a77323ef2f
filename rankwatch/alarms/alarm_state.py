"""All that alarms remember of a run, and how the readings of one step are assessed against it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from typing import Any

from rankwatch.alarms.alarm_message import episode_message
from rankwatch.alarms.alarm_tracker import AlarmTracker, TrackedAlarms
from rankwatch.alarms.detectors import Detector, StepContext, default_detectors
from rankwatch.alarms.detectors.calibration import Calibration
from rankwatch.alarms.episodes import Episodes
from rankwatch.alarms.health import health
from rankwatch.alarms.history import IGNORED_READINGS, History, Series
from rankwatch.alarms.label_agreement import label_agreement
from rankwatch.alarms.learning_rate_warmup import LearningRateWarmup
from rankwatch.alarms.mute_switch import MuteFile
from rankwatch.alarms.plateau import Plateau
from rankwatch.readings.alarm import CRITICAL, Alarm
from rankwatch.readings.codebook_reading import AnyReading, CodebookReading
from rankwatch.readings.reading import Key, Reading
from rankwatch.runtime.files.run_paths import RunPath
from rankwatch.runtime.plain_data import to_plain

_MOST_RATES = 64  # steps whose learning rates are remembered


@dataclass(frozen=True)
class Assessment:
    """What the readings of one step mean.

    Attributes:
        raised: Alarms that began, or became more severe, at this step.
        open: All alarms that hold now, the most severe and earliest first.
        level: 0 nothing, 1 warning, 2 critical.
        health: One number for the run, in [0, 1]; see `rankwatch.alarms.health.health`.
        message: The episode's message where one began, grew worse or ended, else empty.
        summary: The episode's message as it is now, as long as any alarm holds and nothing is muted.
        healthy: Whether nothing was found in the primary set's frames that can become critical: a checkpoint of that
            step is a good one.
        collapsed: Whether a critical alarm holds that this reading bears out, and nothing is muted.
        unconfirmed: Whether something that can become critical waits for further readings.
        undecided: Whether a brief reading's interval leaves open whether there is such a thing.
        muted: Whether the mute file exists.
        notes: Sentences for the user, by subject.
        failed: Errors of detectors, by their kind.
    """

    raised: tuple[Alarm, ...]
    open: tuple[Alarm, ...]
    level: int
    health: float
    message: str
    summary: str
    healthy: bool
    collapsed: bool
    unconfirmed: bool
    undecided: bool
    muted: bool
    notes: Mapping[str, str] = field(default_factory=dict)
    failed: Mapping[str, Exception] = field(default_factory=dict)


class AlarmState:
    """Assesses readings, step by step; owns the history and everything that alarms remember.

    Args:
        primary: Name of the first evaluation set.
        detectors: What raises alarms; the defaults if None.
        calibration: Thresholds of the user's own, to which `detectors` are set, or None.
        every_n_steps: Optimiser steps between readings, which a calibration holds for.
        mute: The file that mutes alarms while it exists, or None.
    """

    def __init__(
        self,
        primary: str,
        detectors: Sequence[Detector] | None = None,
        *,
        calibration: Calibration | None = None,
        every_n_steps: int = 0,
        mute: RunPath | None = None,
    ) -> None:
        self._primary = primary
        self._calibration = calibration
        self._every_n_steps = every_n_steps
        self._mute = MuteFile(mute)
        self._warmup = LearningRateWarmup()
        self._rates: list[list[float]] = []
        self._tracker = AlarmTracker(primary, default_detectors() if detectors is None else detectors)
        self._episodes = Episodes()
        self._plateau = Plateau()
        self.history = History()

    def assess(
        self,
        step: int,
        readings: Sequence[Reading],
        learning_rate: float | None = None,
        *,
        codebooks: Sequence[CodebookReading] = (),
        repeated_batches: bool = False,
    ) -> Assessment:
        """Judge one step's readings against their past, then add them to it.

        Args:
            step: Optimiser step.
            readings: All layers' of the step.
            learning_rate: At the step, where it is known.
            codebooks: All quantizers' of the step.
            repeated_batches: Whether training was seen to be given one batch again and again.

        Returns:
            The alarms, the message and the health of this step.
        """
        notes = self._refuse_calibration(readings)
        everything: list[AnyReading] = [*readings, *codebooks]
        series = self.history.open_series(everything)
        context = replace(self._context(step, readings, learning_rate), repeated_batches=repeated_batches)
        tracked = self._tracker.track(everything, context)
        muted = self._mute.exists()
        labels = self._labels(readings, series, () if muted else tracked.open)
        for reading in everything:  # only now: each was judged by what was before all of them
            key = reading.key
            series[key].add(reading, clean=key not in tracked.unclean, lr_warming_up=context.lr_warming_up)
        layers = list(dict.fromkeys(r.layer for r in readings if r.source == self._primary))
        # Next to a critical alarm only what can become critical.
        seen = [key for key in tracked.findings if tracked.level < 2 or key in tracked.unclean]
        summary = episode_message(step, tracked.open, seen, layers, labels)
        message = self._episodes.update(step, tracked.raised, tracked.open, summary) if everything else ""
        plateau = self._plateau.check(readings, series, self._primary, alarmed=tracked.level > 0)
        return Assessment(
            raised=tracked.raised + ((plateau,) if plateau is not None else ()),
            open=tracked.open,
            level=tracked.level,
            health=health(readings, series, tracked.findings, primary=self._primary),
            message=message,
            summary="" if muted else summary,
            healthy=self._is_healthy(readings, tracked),
            collapsed=not muted and bool(_critical_curves(tracked) & tracked.unclean),
            unconfirmed=tracked.unconfirmed,
            undecided=tracked.undecided,
            muted=muted,
            notes={**notes, **self._restarted()},
            failed=tracked.failed,
        )

    def has_settled(self, learning_rate: float | None) -> bool:
        """Whether a reading with this learning rate, which isn't assessed yet, comes after the warm-up."""
        rising = replace(self._warmup).update(learning_rate)
        return not rising and self.history.n_readings >= IGNORED_READINGS

    def _context(self, step: int, readings: Sequence[Reading], learning_rate: float | None) -> StepContext:
        lr_warming_up = self._warmup.update(learning_rate)
        peak = self._warmup.peak
        rate = learning_rate / peak if learning_rate is not None and peak > 0.0 else math.nan
        self._rates = [*self._rates, [step, rate, float(lr_warming_up)]][-_MOST_RATES:]
        return StepContext(
            self._primary,
            {reading.key: reading for reading in readings},
            self.history.series,
            lr_warming_up=lr_warming_up,
            learning_rate=rate,
            rates=self._rates,
            open=self._tracker.open_kinds,
        )

    def _is_healthy(self, readings: Sequence[Reading], tracked: TrackedAlarms) -> bool:
        frames = [r for r in readings if (r.source, r.level) == (self._primary, "frame")]
        unclean = any((source, level) == (self._primary, "frame") for source, level, _ in tracked.unclean)
        found = [tracked.findings[reading.key] for reading in frames if reading.key in tracked.findings]
        uncertain = any(finding.info_only and not finding.corroborated for finding in found)
        return not (unclean or uncertain) and tracked.level < 2 and any(reading.ok for reading in frames)

    @staticmethod
    def _labels(readings: Sequence[Reading], series: Mapping[Key, Series], alarms: Sequence[Alarm]) -> str:
        """What a labelled set says about the most severe alarm, where that is critical."""
        critical = next((alarm for alarm in alarms if alarm.severity == CRITICAL), None)
        return "" if critical is None else label_agreement(readings, series, critical.level, critical.layer)

    def _refuse_calibration(self, readings: Sequence[Reading]) -> dict[str, str]:
        """Thresholds hold for readings like those that they were chosen on; for others the defaults are used."""
        if self._calibration is None:
            return {}
        ours = [reading.protocol for reading in readings if reading.source == self._primary]
        differences = (self._calibration.unlike(protocol, self._every_n_steps) for protocol in ours)
        differs = next((words for words in differences if words), "")
        if not differs:
            return {}
        self._tracker.use(default_detectors())
        return {
            "calibration": f"the calibrated thresholds were chosen under other conditions ({differs}), so the default "
            "thresholds are used; calibrate again with runs like this one"
        }

    def _restarted(self) -> dict[str, str]:
        if not self.history.restarted:
            return {}
        curves = ", ".join("/".join(key) for key in self.history.restarted[:3])
        return {
            "restarted": f"the protocol of readings has changed, so these curves start again: {curves}, ... "
            "(numbers under different protocols are never compared)"
        }

    def state_dict(self) -> dict[str, Any]:
        """Plain numbers, strings, lists and dicts; loads with ``weights_only=True``."""
        return {
            "history": self.history.state_dict(),
            "learning_rate_warmup": to_plain(self._warmup),
            "learning_rates": [list(row) for row in self._rates],
            "conditions": self._tracker.state_dict(),
            "episodes": self._episodes.state_dict(),
            "plateau_reported": self._plateau.reported,
        }

    def load_state_dict(self, state: Mapping[str, Any], curves: Set[Key]) -> None:
        """Go on from what `state_dict` gave, for the curves that still exist."""
        self.history.load_state_dict(entry for entry in state["history"] if tuple(entry["key"]) in curves)
        self._warmup = LearningRateWarmup(**state["learning_rate_warmup"])
        self._rates = [list(row) for row in state.get("learning_rates", [])]
        self._tracker.load_state_dict(state["conditions"], curves)
        self._episodes.load_state_dict(state["episodes"], self._tracker.level)
        self._plateau.reported = bool(state["plateau_reported"])


def _critical_curves(tracked: TrackedAlarms) -> set[Key]:
    return {(alarm.source, alarm.level, alarm.layer) for alarm in tracked.open if alarm.severity == CRITICAL}
