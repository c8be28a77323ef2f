"""What a reading's outcome means for the next one: when it is made, of how much, and what the user is told of that."""

from __future__ import annotations

from collections.abc import Mapping

from rankwatch.alarms.alarm_state import Assessment
from rankwatch.arguments.settings import Settings
from rankwatch.monitor.collected_rows import CollectedRows
from rankwatch.runtime.reading_schedule import FAR_APART, NextReading, ReadingSchedule


def upcoming_reading(
    schedule: ReadingSchedule,
    settings: Settings,
    collected: CollectedRows,
    assessment: Assessment,
    seconds: Mapping[str, float],
    *,
    brief_sets: bool,
) -> NextReading:
    """As the schedule has it; what can become critical is confirmed by a full reading, and soon.

    Args:
        schedule: Counts what this reading took.
        settings: The user's arguments.
        collected: What this reading was made of.
        assessment: What it means.
        seconds: What it took in the background, by part.
        brief_sets: Whether there is a set that can be read briefly.

    Returns:
        The next reading.
    """
    taken = seconds["decomposition"] if collected.shares_cpu_with_training else 0.0
    upcoming = schedule.plan_next(
        collected.step,
        collected.elapsed + taken,
        collected.spent + taken,
        full=collected.full,
        undecided=assessment.undecided or assessment.unconfirmed,
        brief=brief_sets,
    )
    if not assessment.unconfirmed:
        return upcoming
    return NextReading(min(upcoming.step, schedule.sooner(collected.step, settings.lag)), full=True)


def notes_about(upcoming: NextReading, schedule: ReadingSchedule, settings: Settings, step: int) -> dict[str, str]:
    """What the user is told where readings are made less often than asked for.

    Args:
        upcoming: The next reading.
        schedule: Knows the user's interval.
        settings: The user's arguments.
        step: Of this reading.

    Returns:
        Sentences by subject, each of which is reported once.
    """
    notes = {}
    regular = schedule.regular(step)
    if upcoming.step > regular:
        notes["stretched"] = (
            f"a reading every {settings.every_n_steps} steps would take more than max_overhead="
            f"{settings.max_overhead:g} of the run's time, so the next one is at step {upcoming.step} instead of "
            f"{regular}. Fewer utterances, layers or levels make readings cheaper; max_overhead=None "
            "keeps the interval"
        )
    if upcoming.step - step > FAR_APART * settings.every_n_steps:
        notes["far apart"] = (
            f"the next reading is {upcoming.step - step} steps away, more than {FAR_APART} x every_n_steps: a collapse "
            f"in between is seen late. max_overhead={settings.max_overhead:g} allows no more; a smaller "
            "RowSampling(brief_utterances=...), fewer layers, or a larger max_overhead bring readings closer"
        )
    return notes
