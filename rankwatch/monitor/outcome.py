"""What a reading led to, in a form that goes from one process to the others and into a checkpoint."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from rankwatch.alarms.alarm_state import Assessment
from rankwatch.readings.alarm import Alarm
from rankwatch.readings.layer_statistics import summarise_layers
from rankwatch.readings.protocol import Protocol
from rankwatch.readings.reading import Reading
from rankwatch.readings.report import Cost, Report

RankTables = Mapping[tuple[str, str], tuple[Sequence[int], Sequence[Sequence[float]]]]
"""Steps and one row of effective ranks per layer, by source and level."""


@dataclass(frozen=True)
class Outcome:
    """What a reading led to; the same on all processes, since one has decided for all.

    Attributes:
        report: For the reporters. Its history is filled in where it is reported.
        summary: The episode's message as it is now, as long as any alarm holds and nothing is muted.
        healthy: Whether nothing was found in the primary set's frames that can become critical: a checkpoint of that
            step is a good one.
        collapsed: Whether a critical alarm holds that this reading bears out, and nothing is muted.
        next_step: Optimiser step of the next reading.
        refused: Sources that some process can't read at all, with the reason.
        notes: Sentences for the user, by subject; each subject is reported once.
        muted: Whether alarms are muted; see `rankwatch.alarms.mute_file`.
    """

    report: Report
    summary: str
    healthy: bool
    collapsed: bool
    next_step: int
    refused: Mapping[str, str] = field(default_factory=dict)
    notes: Mapping[str, str] = field(default_factory=dict)
    muted: bool = False

    def completed(self, history: RankTables, seconds: Mapping[str, float], share: float) -> Outcome:
        """Add what only this process knows.

        Args:
            history: Effective ranks over steps, for the heatmap; see `Report.history`.
            seconds: What the training thread has spent since the reading before, by part.
            share: The callback's part of the run's time so far, in [0, 1].

        Returns:
            The outcome with these in its report.
        """
        cost = dataclasses.replace(self.report.cost, seconds={**seconds, **self.report.cost.seconds}, share=share)
        return dataclasses.replace(self, report=dataclasses.replace(self.report, cost=cost, history=history))

    def to_plain(self) -> dict[str, Any]:
        """Plain numbers, strings, lists and dicts; loads with ``weights_only=True``."""
        report = self.report
        return {
            "report": {
                "step": report.step,
                "readings": [{**dataclasses.asdict(one), "status": sorted(one.status)} for one in report.readings],
                "alarms": [alarm.to_dict() for alarm in report.alarms],
                "open_alarms": [alarm.to_dict() for alarm in report.open_alarms],
                "health": report.health,
                "alarm_level": report.alarm_level,
                "summary": dict(report.summary),
                "message": report.message,
                "learning_rate": report.learning_rate,
                "cost": dataclasses.asdict(report.cost),
            },
            "summary": self.summary,
            "healthy": self.healthy,
            "collapsed": self.collapsed,
            "next_step": self.next_step,
            "refused": dict(self.refused),
            "notes": dict(self.notes),
            "muted": self.muted,
        }

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> Outcome:
        """What `to_plain` was called on, without its history."""
        fields = dict(plain["report"])
        made: dict[str, Any] = {
            "readings": [_reading(one) for one in fields.pop("readings")],
            "alarms": _alarms(fields.pop("alarms")),
            "open_alarms": _alarms(fields.pop("open_alarms")),
            "cost": Cost(**fields.pop("cost")),
            "history": {},
        }
        return cls(**{**plain, "report": Report(**fields, **made)})


def outcome_of(
    step: int,
    readings: Sequence[Reading],
    assessment: Assessment,
    *,
    primary: str,
    cost: Cost,
    learning_rate: float | None,
    next_step: int,
    refused: Mapping[str, str],
    notes: Mapping[str, str],
) -> Outcome:
    """Compose the outcome of a reading from its parts.

    Args:
        step: Optimiser step.
        readings: All of the step.
        assessment: What they mean.
        primary: Name of the first evaluation set.
        cost: What the reading took.
        learning_rate: At the step, where it is known.
        next_step: Optimiser step of the next reading.
        refused: Sources that some process can't read at all, with the reason.
        notes: Sentences for the user, beside those of the assessment.

    Returns:
        The outcome.
    """
    report = Report(
        step=step,
        readings=readings,
        alarms=assessment.raised,
        open_alarms=assessment.open,
        health=assessment.health,
        alarm_level=assessment.level,
        summary=summarise_layers(readings, primary),
        history={},
        message=assessment.message,
        cost=cost,
        learning_rate=learning_rate,
    )
    return Outcome(
        report,
        assessment.summary,
        healthy=assessment.healthy,
        collapsed=assessment.collapsed,
        next_step=next_step,
        refused=refused,
        notes={**notes, **assessment.notes},
        muted=assessment.muted,
    )


def _reading(plain: Mapping[str, Any]) -> Reading:
    made: dict[str, Any] = {"protocol": Protocol(**plain["protocol"]), "spectrum": tuple(plain["spectrum"])}
    made["status"] = frozenset(plain["status"])
    return Reading(**{**plain, **made})


def _alarms(plain: Sequence[Mapping[str, Any]]) -> tuple[Alarm, ...]:
    return tuple(Alarm(**one) for one in plain)
