"""The one place that composes what the user reads about an episode of alarms."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rankwatch.alarms.detectors.explanations import LEVEL_MEANING, explanation
from rankwatch.readings.alarm import INFO, Alarm
from rankwatch.readings.reading import Key


def episode_message(
    step: int, alarms: Sequence[Alarm], found: Iterable[Key], layers: Sequence[str], labels: str = ""
) -> str:
    """One message for all layers, levels and sources of an episode: what, where, since when, evidence, what to do.

    Args:
        step: Optimiser step of the reading.
        alarms: All that hold, the most severe and earliest first.
        found: Curves in which a detector found something at this step.
        layers: All layers that are watched.
        labels: Whether labels agree, in a sentence; empty where they have nothing to say.

    Returns:
        The message; empty without alarms.
    """
    alarms = [alarm for alarm in alarms if alarm.severity != INFO]
    if not alarms:
        return ""
    first = alarms[0]
    about = explanation(first.kind)
    hit = list(dict.fromkeys(a.layer for a in alarms if (a.level, a.source) == (first.level, first.source)))
    seen = [y for s, v, y in found if (s, v) == (first.source, first.level) and y not in hit]
    extent = f" ({len(hit)} of {len(layers)} layers)" if len(layers) > 1 else ""
    sentences = [
        f"{first.severity.upper()} at step {step}: {about.title} in {', '.join(hit)}{extent}, "
        f"{_place(first)}, since step {first.since}.",
        f"Evidence in {first.layer}: {first.message}.",
    ]
    sentences += [f"Also seen in {', '.join(seen)}, not yet confirmed."] if seen else []
    sentences += _further(first, alarms)
    sentences += [labels] if labels else []
    sentences += [f"Likely causes: {about.causes}."] if about.causes else []
    sentences += [f"What to do: {about.remedies}."] if about.remedies else []
    sentences += [LEVEL_MEANING[first.level]] if first.level in LEVEL_MEANING else []
    return " ".join(sentences)


def _further(first: Alarm, alarms: Sequence[Alarm]) -> list[str]:
    """Other kinds of alarm, and other levels and sources, that belong to the episode."""
    kinds = sorted({explanation(alarm.kind).title for alarm in alarms} - {explanation(first.kind).title})
    places = sorted({_place(alarm) for alarm in alarms} - {_place(first)})
    sentences = [f"Further alarms: {', '.join(kinds)}."] if kinds else []
    return sentences + ([f"Also at: {'; '.join(places)}."] if places else [])


def _place(alarm: Alarm) -> str:
    if alarm.source == "train":
        return f"{alarm.level} level of the training pass"
    return f"{alarm.level} level of evaluation set {alarm.source!r}"


def episode_title(alarm: Alarm) -> str:
    """An episode in a few words, by its first alarm."""
    return f"{alarm.severity} {explanation(alarm.kind).title} in {alarm.layer}"


def ended_message(step: int, title: str = "", since: int | None = None) -> str:
    """That an episode is over.

    Args:
        step: Optimiser step of the reading.
        title: From `episode_title`; empty where the episode began before a restart that has lost it.
        since: Step from which it lasted.

    Returns:
        One sentence.
    """
    return (
        f"ENDED at step {step}: {title}, since step {since}." if title else f"ENDED at step {step}: no alarm is open."
    )


def full_message(message: str, summary: str, *, notify: bool, checkpoint: str = "") -> str:
    """What is reported at a reading.

    Args:
        message: The episode's message where it began, grew worse or ended at this reading, else empty.
        summary: The episode's message as it is now, as long as it lasts.
        notify: Whether the user is to be warned now; then the summary stands in for a missing message.
        checkpoint: A sentence about the last healthy checkpoint, or empty.

    Returns:
        The message, or empty where there is nothing to report.
    """
    text = message or (summary if notify else "")
    return f"{text} {checkpoint}" if text and checkpoint else text
