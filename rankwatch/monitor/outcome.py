"""What a reading led to, in a form that goes from one process to the others and into a checkpoint."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from rankwatch.alarms.alarm_state import Assessment
from rankwatch.readings.codebook_reading import CodebookReading
from rankwatch.readings.reading import Reading
from rankwatch.readings.report import Cost, Report, summarise_layers
from rankwatch.runtime.reading_schedule import NextReading

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
        muted: Whether alarms are muted; see `rankwatch.alarms.mute_switch`.
        next_full: Whether the next reading takes all utterances, or only the first ones.
    """

    report: Report
    summary: str
    healthy: bool
    collapsed: bool
    next_step: int
    refused: Mapping[str, str] = field(default_factory=dict)
    notes: Mapping[str, str] = field(default_factory=dict)
    muted: bool = False
    next_full: bool = True

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


def outcome_of(
    step: int,
    readings: list[Reading],
    codebooks: list[CodebookReading],
    assessment: Assessment,
    *,
    cost: Cost,
    learning_rate: float | None,
    upcoming: NextReading,
    refused: Mapping[str, str],
    notes: Mapping[str, str],
) -> Outcome:
    """Compose the outcome of a reading from its parts.

    Args:
        step: Optimiser step.
        readings: All layers' of the step.
        codebooks: All quantizers' of the step.
        assessment: What they mean.
        cost: What the reading took.
        learning_rate: At the step, where it is known.
        upcoming: The next reading.
        refused: Sources that some process can't read at all, with the reason.
        notes: Sentences for the user, in addition to those of the assessment.

    Returns:
        The outcome.
    """
    report = Report(
        step=step,
        readings=readings,
        alarms=list(assessment.raised),
        open_alarms=list(assessment.open),
        health=assessment.health,
        alarm_level=assessment.level,
        summary=summarise_layers([*readings, *codebooks]),
        history={},
        message=assessment.message,
        cost=cost,
        learning_rate=learning_rate,
        codebooks=codebooks,
    )
    return Outcome(
        report,
        assessment.summary,
        healthy=assessment.healthy,
        collapsed=assessment.collapsed,
        next_step=upcoming.step,
        next_full=upcoming.full,
        refused=refused,
        notes={**notes, **assessment.notes},
        muted=assessment.muted,
    )
