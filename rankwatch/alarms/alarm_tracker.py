"""From findings to alarms: patience, severity, hysteresis."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from typing import Any

from rankwatch.alarms.detectors import Detector, Finding, StepContext
from rankwatch.readings.alarm import CRITICAL, INFO, WARNING, Alarm, level_of
from rankwatch.readings.codebook_reading import AnyReading
from rankwatch.readings.reading import Key, Reading
from rankwatch.runtime.plain_data import to_plain

_ORDER = (INFO, WARNING, CRITICAL)
_READINGS_TO_END = 3
"""Readings without a finding that end an alarm, at least: NaN that comes and goes is one event."""


@dataclass
class _Condition:
    """How long one kind of finding has been there on one curve.

    Attributes:
        findings: Readings in a row with a finding.
        worrying_findings: Readings in a row with a finding that is more than information.
        critical_findings: Readings in a row with a finding that is critical.
        readings_without: Readings in a row without a finding.
        since: Step of the first reading of the row.
        worrying_since: The same of the row of findings that are more than information.
        open: Whether it is an alarm.
        severity: The highest severity that it has had as an alarm.
        evidence: The newest finding's.
        patience: The detector's.
        raised_at: Step at which the alarm began or last became more severe.
    """

    findings: int = 0
    worrying_findings: int = 0
    critical_findings: int = 0
    readings_without: int = 0
    since: int = -1
    worrying_since: int = -1
    open: bool = False
    severity: str = INFO
    evidence: str = ""
    patience: int = 1
    raised_at: int = -1


@dataclass(frozen=True)
class TrackedAlarms:
    """What has become of the findings in the readings of one step.

    Attributes:
        raised: Alarms that began, or became more severe, at this step.
        open: All alarms that hold now, the most severe and earliest first.
        findings: The first finding of each reading, by its curve.
        unclean: Curves in which something was found that can become critical.
        unconfirmed: Whether something that can become critical waits for further readings.
        failed: Errors of detectors, by their kind.
        undecided: Whether a brief reading's interval leaves open whether something can become critical.
    """

    raised: tuple[Alarm, ...]
    open: tuple[Alarm, ...]
    findings: Mapping[Key, Finding]
    unclean: Set[Key]
    unconfirmed: bool = False
    failed: Mapping[str, Exception] = field(default_factory=dict)
    undecided: bool = False

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
        detectors: What is looked for, most telling first.
    """

    def __init__(self, primary: str, detectors: Sequence[Detector]) -> None:
        self._primary = primary
        self._conditions: dict[tuple[str, Key], _Condition] = {}
        self._detectors: tuple[Detector, ...] = ()
        self.use(detectors)

    def use(self, detectors: Sequence[Detector]) -> None:
        """Look for findings by these detectors from now on; alarms that none of them can raise end."""
        self._detectors = tuple(detectors)
        kinds = {detector.kind for detector in self._detectors}
        self._conditions = {about: one for about, one in self._conditions.items() if about[0] in kinds}

    @property
    def open_kinds(self) -> set[tuple[str, Key]]:
        """Kinds and curves of the alarms that hold."""
        return {about for about, condition in self._conditions.items() if condition.open}

    def track(self, readings: Iterable[AnyReading], context: StepContext) -> TrackedAlarms:
        """Judge one step's readings against their past.

        Args:
            readings: All of the step.
            context: Their pasts, and what else there is at the step.

        Returns:
            Alarms that began and alarms that hold.
        """
        findings: dict[Key, Finding] = {}
        raised: list[Alarm] = []
        unconfirmed = undecided = False
        failed: dict[str, Exception] = {}
        unclean: set[Key] = set()
        for reading in readings:
            key = reading.key
            found = self._findings(reading, context, failed)
            abated = {kind for kind, (_, finding) in found.items() if self._has_abated(kind, key, finding)}
            for kind, (detector, finding) in found.items():
                findings.setdefault(key, finding)
                if kind in abated:
                    continue
                alarm = self._count(detector, finding, reading)
                raised += [alarm] if alarm is not None else []
                waits = self._conditions[kind, key].severity != CRITICAL
                unconfirmed |= waits and self._severity(reading, finding) == CRITICAL
            self._count_absence(key, set(found) - abated)
            grave = {kind for kind, (_, finding) in found.items() if finding.can_be_critical}
            unclean |= {key} if grave else set()
            undecided |= self._is_undecided(reading, context, grave)
        open_alarms = tuple(self._open_alarms())
        return TrackedAlarms(tuple(raised), open_alarms, findings, unclean, unconfirmed, failed, undecided)

    def _has_abated(self, kind: str, key: Key, finding: Finding) -> bool:
        """Whether only information is left of an alarm, which is to end then, and not to be held open by it."""
        condition = self._conditions.get((kind, key))
        return finding.info_only and condition is not None and condition.open and condition.severity != INFO

    def _is_undecided(self, reading: AnyReading, context: StepContext, grave: set[str]) -> bool:
        """Whether a brief reading's lower end would be a finding that can become critical, and its upper end isn't."""
        if not isinstance(reading, Reading) or not reading.brief or reading.effective_rank_low is None:
            return False
        low = reading.effective_rank_low
        lowest = replace(reading, effective_rank=low, effective_rank_high=low)
        worst = self._findings(lowest, context, {})
        return any(finding.can_be_critical for kind, (_, finding) in worst.items() if kind not in grave)

    def _findings(
        self, reading: AnyReading, context: StepContext, failed: dict[str, Exception]
    ) -> dict[str, tuple[Detector, Finding]]:
        """The first finding of each kind; a detector that raises costs its own findings and nobody else's."""
        found: dict[str, tuple[Detector, Finding]] = {}
        past = context.series[reading.key]
        for detector in self._detectors:
            if not isinstance(reading, getattr(detector, "reads", Reading)):
                continue
            try:
                finding = detector.check(reading, past, context)
            except Exception as error:
                failed.setdefault(detector.kind, error)
                continue
            if finding is None:
                continue
            before = found.get(detector.kind)
            if before is None or self._is_graver(reading, finding, before[1]):
                found[detector.kind] = detector, finding
        return found

    def _is_graver(self, reading: AnyReading, finding: Finding, than: Finding) -> bool:
        return _ORDER.index(self._severity(reading, finding)) > _ORDER.index(self._severity(reading, than))

    def _count(self, detector: Detector, finding: Finding, reading: AnyReading) -> Alarm | None:
        """Count one finding; the alarm where one begins with it, or becomes more severe."""
        kind, key = detector.kind, reading.key
        condition = self._conditions.setdefault((kind, key), _Condition())
        condition.findings, condition.readings_without = condition.findings + 1, 0
        condition.patience = detector.patience
        if condition.findings == 1:
            condition.since = reading.step
        severity = self._severity(reading, finding)
        condition.worrying_findings = condition.worrying_findings + 1 if severity != INFO else 0
        if condition.worrying_findings == 1:
            condition.worrying_since = reading.step
        condition.critical_findings = condition.critical_findings + 1 if severity == CRITICAL else 0
        if condition.findings < detector.patience:
            return None
        if severity == CRITICAL and condition.critical_findings < detector.patience:  # critical takes as long as that
            severity = WARNING
        if severity == WARNING and condition.worrying_findings < detector.patience:  # and so does a warning
            severity = INFO
        worse = _ORDER.index(severity) > _ORDER.index(condition.severity)
        begins = not condition.open or worse
        if worse and condition.severity == INFO and severity != INFO:  # what was no more than information is no alarm
            condition.since = condition.worrying_since
        condition.open, condition.severity = True, severity if worse else condition.severity
        condition.evidence = finding.evidence
        if not begins:
            return None
        condition.raised_at = reading.step
        return self._alarm(kind, key, condition)

    def _count_absence(self, key: Key, kinds: set[str]) -> None:
        """Count a reading for every kind that wasn't found; as many as the patience, and three, end an alarm."""
        for kind in [k for k, key_ in self._conditions if key_ == key and k not in kinds]:
            condition = self._conditions[kind, key]
            condition.readings_without, condition.critical_findings = condition.readings_without + 1, 0
            condition.worrying_findings = 0
            if not condition.open or condition.readings_without >= max(condition.patience, _READINGS_TO_END):
                del self._conditions[kind, key]

    def _severity(self, reading: AnyReading, finding: Finding) -> str:
        if finding.info_only:
            return INFO
        trusted = reading.protocol.mode == "eval" and reading.key[:2] == (self._primary, "frame")
        return CRITICAL if trusted and finding.can_be_critical and finding.corroborated else WARNING

    @staticmethod
    def _alarm(kind: str, key: Key, condition: _Condition) -> Alarm:
        source, level, layer = key
        at, since = condition.raised_at, condition.since
        return Alarm(at, kind, condition.severity, layer, level, source, condition.evidence, since)

    def _open_alarms(self) -> list[Alarm]:
        alarms = [self._alarm(kind, key, one) for (kind, key), one in self._conditions.items() if one.open]
        return sorted(alarms, key=lambda alarm: (-_ORDER.index(alarm.severity), alarm.since))

    @property
    def level(self) -> int:
        """0 nothing, 1 warning, 2 critical: of the alarms that hold."""
        return level_of(self._open_alarms())

    def state_dict(self) -> list[Any]:
        """Plain lists, numbers and strings."""
        return [[kind, list(key), to_plain(condition)] for (kind, key), condition in self._conditions.items()]

    def load_state_dict(self, state: Iterable[Any], curves: Container[Key]) -> None:
        """Go on from what `state_dict` gave; an alarm about none of these `curves` ends."""
        conditions = {(kind, (key[0], key[1], key[2])): _Condition(**fields) for kind, key, fields in state}
        kinds = {detector.kind for detector in self._detectors}
        self._conditions = {a: one for a, one in conditions.items() if a[1] in curves and a[0] in kinds}
