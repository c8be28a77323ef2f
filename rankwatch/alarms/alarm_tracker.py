"""From findings to alarms: patience, severity, hysteresis."""

from __future__ import annotations

import math
from collections.abc import Container, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field
from typing import Any

from rankwatch.alarms.detectors import Detector, Finding, StepContext, default_detectors
from rankwatch.alarms.detectors.explanations import advice
from rankwatch.alarms.episodes import Episodes
from rankwatch.alarms.history import History
from rankwatch.alarms.warm_up import LearningRateWarmup
from rankwatch.readings.alarm import CRITICAL, INFO, WARNING, Alarm, level_of
from rankwatch.readings.reading import Key, Reading, key_of

_ORDER = (INFO, WARNING, CRITICAL)
_CLEAN = 3  # readings: NaN that comes and goes is one event


@dataclass
class _Watch:
    """How long one kind of finding has been there for one curve."""

    breaches: int = 0
    can_be_critical: int = 0
    clean: int = 0
    since: int = -1
    open: bool = False
    severity: str = INFO
    message: str = ""
    patience: int = 1
    step: int = -1


@dataclass(frozen=True)
class TrackedAlarms:
    """What the judge says about the readings of one step.

    Attributes:
        raised: Alarms that began, or became graver, at this step.
        open: All alarms that hold now.
        findings: The first finding of each reading, by its key.
        unsound: Readings in which something was found that may become critical.
        message: The episode's message where one began, grew worse or ended, else empty.
        summary: The same as it would be told now, as long as anything holds.
        unconfirmed: Whether something that may become critical waits for further readings.
        failed: Errors of detectors, by their kind.
    """

    raised: tuple[Alarm, ...]
    open: tuple[Alarm, ...]
    findings: Mapping[Key, Finding]
    unsound: Set[Key]
    message: str
    summary: str
    unconfirmed: bool = False
    failed: Mapping[str, Exception] = field(default_factory=dict)

    @property
    def level(self) -> int:
        """0 nothing, 1 warning, 2 critical."""
        return level_of(self.open)


class AlarmTracker:
    """Counts findings and turns lasting ones into alarms.

    Critical is only what an evaluation set's frames show in eval mode, in the primary set: the utterance level,
    the training pass (dropout, masking, changing data) and further sets alone give warnings.

    Args:
        primary: Name of the first evaluation set.
        detectors: What is looked for, most telling first; the defaults if None.
    """

    def __init__(self, primary: str, detectors: Sequence[Detector] | None = None) -> None:
        self._primary = primary
        self._watches: dict[tuple[str, Key], _Watch] = {}
        self.judged_by(default_detectors() if detectors is None else detectors)
        self._episodes = Episodes()
        self._warm_up = LearningRateWarmup()

    def judged_by(self, detectors: Sequence[Detector]) -> None:
        """From now on by these detectors; alarms that none of them can raise end."""
        self._detectors = tuple(detectors)
        kinds = {detector.kind for detector in self._detectors}
        self._watches = {about: watch for about, watch in self._watches.items() if about[0] in kinds}

    def judge(self, readings: Iterable[Reading], history: History, rate: float | None = None) -> TrackedAlarms:
        """Judge one step's readings against their past, then add them to it.

        Args:
            readings: All of the step.
            history: The past, which they become part of.
            rate: Learning rate at the step, where it is known.
        """
        readings = list(readings)
        context = self._moment(readings, history, rate)
        findings: dict[Key, Finding] = {}
        raised: list[Alarm] = []
        unconfirmed = False
        failed: dict[str, Exception] = {}
        unsound: set[Key] = set()
        for reading in readings:
            key = key_of(reading)
            found = self._findings(reading, context, failed)
            for kind, (detector, finding) in found.items():
                alarm = self._breach(detector, finding, reading)
                raised += [alarm] if alarm is not None else []
                findings.setdefault(key, finding)
                waits = self._watches[kind, key].severity != CRITICAL
                unconfirmed |= waits and self._severity(reading, finding) == CRITICAL
            self._relax(key, set(found))
            unsound |= {key} if any(finding.can_be_critical for _, finding in found.values()) else set()
        for reading in readings:  # only now: each was judged by what was before all of them
            context.series[key_of(reading)].add(reading, sound=key_of(reading) not in unsound, warming=context.warming)
        opened = tuple(self._open_alarms())
        message, summary = "", ""
        if readings:
            step = readings[0].step
            layers = list(dict.fromkeys(r.layer for r in readings if r.source == self._primary))
            message, summary = self._episodes.tell(step, raised, opened, findings, layers)
        return TrackedAlarms(tuple(raised), opened, findings, unsound, message, summary, unconfirmed, failed)

    def _moment(self, readings: Sequence[Reading], history: History, rate: float | None) -> StepContext:
        warming = self._warm_up.goes_on(rate)
        peak = self._warm_up.peak
        return StepContext(
            self._primary,
            {key_of(reading): reading for reading in readings},
            {key_of(reading): history.series(reading) for reading in readings},
            warming=warming,
            rate=rate / peak if rate is not None and peak > 0.0 else math.nan,
            open={about for about, watch in self._watches.items() if watch.open},
        )

    def _findings(
        self, reading: Reading, context: StepContext, failed: dict[str, Exception]
    ) -> dict[str, tuple[Detector, Finding]]:
        """The first finding of each kind; a detector that raises costs its own findings and nobody else's."""
        found: dict[str, tuple[Detector, Finding]] = {}
        past = context.series[key_of(reading)]
        for detector in self._detectors:
            try:
                finding = detector.check(reading, past, context)
            except Exception as error:
                failed.setdefault(detector.kind, error)
                continue
            if finding is not None:
                found.setdefault(detector.kind, (detector, finding))
        return found

    def _breach(self, detector: Detector, finding: Finding, reading: Reading) -> Alarm | None:
        kind, key = detector.kind, key_of(reading)
        watch = self._watches.setdefault((kind, key), _Watch())
        watch.breaches, watch.clean, watch.patience = watch.breaches + 1, 0, detector.patience
        if watch.breaches == 1:
            watch.since = reading.step
        severity = self._severity(reading, finding)
        watch.can_be_critical = watch.can_be_critical + 1 if severity == CRITICAL else 0
        if watch.breaches < detector.patience:
            return None
        if watch.can_be_critical < detector.patience and severity == CRITICAL:  # it has to last as long as that takes
            severity = WARNING
        worse = _ORDER.index(severity) > _ORDER.index(watch.severity)
        new = not watch.open or worse
        watch.open, watch.severity = True, severity if worse else watch.severity
        watch.message = finding.evidence
        if not new:
            return None
        watch.step = reading.step
        return self._alarm(kind, key, watch)

    def _relax(self, key: Key, kinds: set[str]) -> None:
        """Count a clean reading for every kind that wasn't found; as many as the patience, and three, end an alarm."""
        for kind in [k for k, key_ in self._watches if key_ == key and k not in kinds]:
            watch = self._watches[kind, key]
            watch.clean, watch.can_be_critical = watch.clean + 1, 0
            if not watch.open or watch.clean >= max(watch.patience, _CLEAN):
                del self._watches[kind, key]

    def _severity(self, reading: Reading, finding: Finding) -> str:
        if finding.notice:
            return INFO
        protocol = reading.protocol
        trusted = protocol.mode == "eval" and reading.level == "frame" and reading.source == self._primary
        return CRITICAL if trusted and finding.can_be_critical and finding.corroborated else WARNING

    def _alarm(self, kind: str, key: Key, watch: _Watch) -> Alarm:
        source, level, layer = key
        causes = advice(kind).causes
        message = f"{watch.message}. Likely causes: {causes}" if causes else watch.message
        return Alarm(watch.step, kind, watch.severity, layer, level, source, message, watch.since)

    def _open_alarms(self) -> Iterable[Alarm]:
        alarms = [self._alarm(kind, key, watch) for (kind, key), watch in self._watches.items() if watch.open]
        return sorted(alarms, key=lambda alarm: (-_ORDER.index(alarm.severity), alarm.since))

    def state_dict(self) -> dict[str, Any]:
        """Plain lists, numbers and strings."""
        return {
            "episodes": self._episodes.state_dict(),
            "warm_up": vars(self._warm_up).copy(),
            "watches": [[kind, list(key), vars(watch).copy()] for (kind, key), watch in self._watches.items()],
        }

    def load_state_dict(self, state: Mapping[str, Any], curves: Container[Key]) -> None:
        """Take over what `state_dict` gave; an alarm about none of these `curves` is no longer watched over."""
        self._warm_up = LearningRateWarmup(**state["warm_up"])
        watches = {(kind, (key[0], key[1], key[2])): _Watch(**watch) for kind, key, watch in state["watches"]}
        kinds = {detector.kind for detector in self._detectors}
        self._watches = {about: one for about, one in watches.items() if about[1] in curves and about[0] in kinds}
        self._episodes.load_state_dict(state["episodes"], level_of(self._open_alarms()))
