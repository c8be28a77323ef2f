"""How long alarms held: from when, since when they were critical, until when."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from rankwatch.readings.alarm import CRITICAL, INFO, Alarm, level_of
from rankwatch.readings.reading import Key
from rankwatch.reporting.recorded.recorded_run import RecordedRun


@dataclass(frozen=True)
class AlarmSpan:
    """Alarms of one kind that held at the same time.

    Attributes:
        kind: What is wrong, in a word.
        severity: The highest that any of them had.
        since: Step of the first reading of the breach.
        raised: Step at which it became an alarm.
        critical: Step from which one was critical, or None.
        until: Step of the first reading at which none held any more, or of the run's last.
        is_open: Whether one still held at the run's last reading.
        alarms: All of them, in order.
        message: The newest message of their episode that came in the span, or empty.
    """

    kind: str
    severity: str
    since: int
    raised: int
    critical: int | None
    until: int
    is_open: bool
    alarms: Sequence[Alarm]
    message: str = ""


def alarm_spans(run: RecordedRun) -> list[AlarmSpan]:
    """All spans of a run, the most severe kinds first.

    When an alarm ends isn't recorded by itself: it has ended where a later message no longer names it, or where no
    alarm held.

    Args:
        run: What was recorded.

    Returns:
        Spans; those of one kind don't overlap.
    """
    last = int(run.steps[-1]) if len(run.steps) else 0
    ends = {alarm: _end(run, alarm) for alarm in run.alarms}
    by_kind: dict[str, list[list[Alarm]]] = {}
    for alarm in sorted(run.alarms, key=lambda one: (one.since, one.step)):
        groups = by_kind.setdefault(alarm.kind, [])
        together = groups and any(_until(ends[one], last) >= alarm.since for one in groups[-1])
        if together:
            groups[-1].append(alarm)
        else:
            groups.append([alarm])
    spans = [_span(run, group, [ends[one] for one in group], last) for groups in by_kind.values() for group in groups]
    return sorted(spans, key=lambda span: (-level_of(span.alarms), span.since))


def last_healthy_step(run: RecordedRun) -> int | None:
    """Step of the last reading before anything was wrong that ended in the run's newest alarm.

    Args:
        run: What was recorded.

    Returns:
        The step; the newest where no alarm was ever raised, None where the run was never healthy.
    """
    spans = [span for span in alarm_spans(run) if span.severity != INFO]
    still = [span for span in spans if span.is_open] or spans
    if not len(run.steps):
        return None
    if not still:
        return int(run.steps[-1])
    before = run.steps[run.steps < min(span.since for span in still)]
    return int(before[-1]) if len(before) else None


def _key(alarm: Alarm) -> tuple[str, Key]:
    return alarm.kind, (alarm.source, alarm.level, alarm.layer)


def _end(run: RecordedRun, alarm: Alarm) -> int | None:
    """Step at which it no longer held, or None."""
    for episode in run.episodes:
        if episode.step > alarm.step and _key(alarm) not in {_key(one) for one in episode.open_alarms}:
            found = episode.step
            break
    else:
        found = None
    if alarm.severity == INFO:
        return found
    calm = run.steps[(run.steps > alarm.step) & (run.alarm_level == 0)] if len(run.alarm_level) else run.steps[:0]
    ends = [*([found] if found is not None else []), *(int(step) for step in calm[:1])]
    return min(ends, default=None)


def _until(end: int | None, last: int) -> int:
    return last if end is None else end


def _span(run: RecordedRun, group: Sequence[Alarm], ends: Sequence[int | None], last: int) -> AlarmSpan:
    until, raised = max(_until(end, last) for end in ends), min(alarm.step for alarm in group)
    critical = [alarm.step for alarm in group if alarm.severity == CRITICAL]
    severity = max(group, key=lambda alarm: level_of([alarm])).severity
    heard = _heard(run, group[0].kind, raised, until)
    since = min(alarm.since for alarm in group)
    return AlarmSpan(
        group[0].kind, severity, since, raised, min(critical, default=None), until, None in ends, list(group), heard
    )


def _heard(run: RecordedRun, kind: str, first: int, last: int) -> str:
    within: Iterable[str] = (
        episode.message
        for episode in reversed(run.episodes)
        if first <= episode.step <= last and any(alarm.kind == kind for alarm in episode.open_alarms)
    )
    return next(iter(within), "")


def level_steps(run: RecordedRun) -> list[tuple[int, int, int]]:
    """Stretches of steps with one alarm level above 0.

    Args:
        run: What was recorded.

    Returns:
        ``(level, first step, last step)`` of each stretch.
    """
    levels = np.nan_to_num(run.alarm_level, nan=0.0).astype(int)
    found: list[tuple[int, int, int]] = []
    for i, level in enumerate(levels):
        step = int(run.steps[i])
        if found and i and levels[i - 1] == level and level:
            found[-1] = (level, found[-1][1], step)
        elif level:
            found.append((int(level), step, step))
    return found
