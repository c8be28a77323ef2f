"""From findings to alarms and episodes: patience, severity, hysteresis, one message per event."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rankwatch.monitor.detectors import DEFAULT_DETECTORS, Detector, Finding
from rankwatch.monitor.history import History, Key, key_of
from rankwatch.monitor.reading import Alarm, Reading

WARNING, CRITICAL = "warning", "critical"


def _level(alarms: Iterable[Alarm]) -> int:
    return max((2 if alarm.severity == CRITICAL else 1 for alarm in alarms), default=0)


@dataclass
class _Watch:
    """How long one kind of finding has been there for one curve."""

    breaches: int = 0
    clean: int = 0
    since: int = -1
    open: bool = False
    severity: str = WARNING
    message: str = ""
    step: int = -1


@dataclass(frozen=True)
class Verdict:
    """What the judge says about the readings of one step.

    Attributes:
        raised: Alarms that began, or became critical, at this step.
        open: All alarms that hold now.
        findings: The first finding of each reading, by its key; readings without one are sound.
        message: The episode's message where one began or grew worse, else empty.
        summary: The same as it would be told now, as long as anything holds.
    """

    raised: tuple[Alarm, ...]
    open: tuple[Alarm, ...]
    findings: Mapping[Key, Finding]
    message: str
    summary: str

    @property
    def level(self) -> int:
        """0 nothing, 1 warning, 2 critical."""
        return _level(self.open)


class Judge:
    """Counts findings and turns lasting ones into alarms.

    Critical is only what a probe set's frames show in eval mode, in the headline set: the utterance level,
    the training pass (dropout, masking, changing data) and further sets alone give warnings.

    Args:
        headline: Name of the first probe set.
        detectors: What is looked for, most telling first.
    """

    def __init__(self, headline: str, detectors: Sequence[Detector] = DEFAULT_DETECTORS) -> None:
        self._headline = headline
        self._detectors = detectors
        self._watches: dict[tuple[str, Key], _Watch] = {}
        self._told = 0
        self._began = -1

    def judge(self, readings: Iterable[Reading], history: History) -> Verdict:
        """Judge one step's readings against their past, then add them to it."""
        readings = list(readings)
        findings: dict[Key, Finding] = {}
        raised: list[Alarm] = []
        for reading in readings:
            past = history.series(reading)
            found = self._findings(reading, history)
            for kind, (detector, finding) in found.items():
                alarm = self._breach(kind, detector, finding, reading)
                raised += [alarm] if alarm is not None else []
                findings.setdefault(key_of(reading), finding)
            self._relax(reading, set(found))
            grave = any(finding.grave for _, finding in found.values())
            past.add(reading.step, reading.effective_rank, sound=not grave)
        opened = tuple(self._open_alarms())
        level = _level(opened)
        summary = self._message(readings[0].step, opened, findings) if opened and readings else ""
        new = level > self._told or any(alarm.severity == CRITICAL and alarm.since > self._began for alarm in raised)
        self._told = level
        if new and level:
            self._began = readings[0].step
        return Verdict(tuple(raised), opened, findings, summary if new and level else "", summary)

    def _findings(self, reading: Reading, history: History) -> dict[str, tuple[Detector, Finding]]:
        found: dict[str, tuple[Detector, Finding]] = {}
        for detector in self._detectors:
            finding = detector.check(reading, history.series(reading))
            if finding is not None:
                found.setdefault(detector.kind, (detector, finding))
        return found

    def _breach(self, kind: str, detector: Detector, finding: Finding, reading: Reading) -> Alarm | None:
        watch = self._watches.setdefault((kind, key_of(reading)), _Watch())
        watch.breaches, watch.clean = watch.breaches + 1, 0
        if watch.breaches == 1:
            watch.since = reading.step
        if watch.breaches < detector.patience:
            return None
        severity = self._severity(reading, finding)
        worse = severity == CRITICAL and watch.severity != CRITICAL
        new = not watch.open or worse
        watch.open, watch.severity = True, CRITICAL if CRITICAL in (severity, watch.severity) else WARNING
        watch.message = f"{finding.evidence}. Likely causes: {detector.causes}"
        if not new:
            return None
        watch.step = reading.step
        return self._alarm(kind, key_of(reading), watch)

    def _relax(self, reading: Reading, kinds: set[str]) -> None:
        """Count a clean reading for every kind that wasn't found; as many as the patience end an alarm."""
        patience = {detector.kind: detector.patience for detector in self._detectors}
        key = key_of(reading)
        for kind in [k for k, key_ in self._watches if key_ == key and k not in kinds]:
            watch = self._watches[kind, key]
            watch.clean += 1
            if not watch.open or watch.clean >= patience.get(kind, 1):
                del self._watches[kind, key]

    def _severity(self, reading: Reading, finding: Finding) -> str:
        protocol = reading.protocol
        trusted = protocol.mode == "eval" and reading.level == "frame" and reading.source == self._headline
        return CRITICAL if trusted and finding.grave else WARNING

    def _alarm(self, kind: str, key: Key, watch: _Watch) -> Alarm:
        source, level, layer = key
        return Alarm(watch.step, kind, watch.severity, layer, level, source, watch.message, watch.since)

    def _open_alarms(self) -> Iterable[Alarm]:
        alarms = [self._alarm(kind, key, watch) for (kind, key), watch in self._watches.items() if watch.open]
        return sorted(alarms, key=lambda alarm: (alarm.severity != CRITICAL, alarm.since))

    def _message(self, step: int, alarms: Sequence[Alarm], findings: Mapping[Key, Finding]) -> str:
        """One message for all layers, levels and sources of an event; the gravest and earliest first."""
        first = alarms[0]
        same = [alarm for alarm in alarms if (alarm.level, alarm.source) == (first.level, first.source)]
        layers = list(dict.fromkeys(alarm.layer for alarm in same))
        falling = [
            layer
            for source, level, layer in findings
            if (source, level) == (first.source, first.level) and layer not in layers
        ]
        also = f"; seen in {', '.join(falling)} too" if falling else ""
        others = sorted({f"{a.level} level of {a.source}" for a in alarms} - {f"{first.level} level of {first.source}"})
        beside = f" Also at: {', '.join(others)}." if others else ""
        return (
            f"{first.severity.upper()} at step {step}: {first.kind.replace('_', ' ')} collapse, {first.level} level, "
            f"probe set {first.source!r}, since step {first.since}, in {', '.join(layers)}{also}. "
            f"{first.layer}: {first.message}.{beside}"
        )

    def state_dict(self) -> dict[str, Any]:
        """Plain lists, numbers and strings."""
        return {
            "told": self._told,
            "began": self._began,
            "watches": [[kind, list(key), vars(watch).copy()] for (kind, key), watch in self._watches.items()],
        }

    def load_state_dict(self, state: Mapping[str, Any], curves: Container[Key]) -> None:
        """Take over what `state_dict` gave; an alarm about none of these `curves` is no longer watched over."""
        self._began = int(state["began"])
        watches = {(kind, (key[0], key[1], key[2])): _Watch(**watch) for kind, key, watch in state["watches"]}
        self._watches = {about: watch for about, watch in watches.items() if about[1] in curves}
        self._told = min(int(state["told"]), _level(self._open_alarms()))
