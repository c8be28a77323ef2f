"""The one place that composes what the user reads about an episode of alarms."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rankwatch.alarms.detectors.explanations import LEVEL_MEANING, explanation
from rankwatch.readings.alarm import CRITICAL, INFO, Alarm
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
    lasting = [alarm for alarm in alarms if alarm.severity != INFO]
    if not lasting:
        return ""
    first = lasting[0]
    about = explanation(first.kind)
    event = [alarm for alarm in lasting if _is_of_event(alarm, first)]
    here = [one for one in event if (one.level, one.source) == (first.level, first.source)]
    hit = list(dict.fromkeys(one.layer for one in here if one.kind == first.kind or _both_critical(one, first)))
    alarmed = {(alarm.source, alarm.level, alarm.layer) for alarm in lasting}
    seen = [y for s, v, y in found if (s, v) == (first.source, first.level) and (s, v, y) not in alarmed]
    extent = f" ({len(hit)} of {len(layers)} layers)" if len(layers) > 1 else ""
    sentences = [
        f"{first.severity.upper()} at step {step}: {about.title} in {', '.join(hit)}{extent}, "
        f"{_place(first)}, since step {first.since}.",
        f"Evidence in {first.layer}: {first.message}.",
    ]
    sentences += [f"Also seen in {', '.join(seen)}, not yet confirmed."] if seen else []
    sentences += _further(first, event, hit)
    sentences += [labels] if labels else []
    sentences += [f"Likely causes: {about.causes}."] if about.causes else []
    sentences += [f"What to do: {about.remedies}."] if about.remedies else []
    sentences += _others([alarm for alarm in lasting if alarm not in event])
    sentences += [LEVEL_MEANING[first.level]] if first.level in LEVEL_MEANING else []
    return " ".join(sentences)


def _both_critical(one: Alarm, other: Alarm) -> bool:
    return one.severity == other.severity == CRITICAL


def _is_of_event(alarm: Alarm, first: Alarm) -> bool:
    """Whether an alarm belongs to the event that the first one stands for.

    Returns:
        False for what began earlier than that by more than it took to confirm the first one: a layer that has been
        narrow for long doesn't collapse now.
    """
    return alarm.since >= first.since - (first.step - first.since)


def _others(alarms: Sequence[Alarm]) -> list[str]:
    """Alarms that hold as well and are no part of the event."""
    known = {(explanation(one.kind).title, one.layer): one.since for one in reversed(alarms)}
    listed = "; ".join(f"{title} in {layer} (since step {since})" for (title, layer), since in known.items())
    return [f"Apart from this, since long before: {listed}."] if listed else []


def _further(first: Alarm, alarms: Sequence[Alarm], hit: Sequence[str]) -> list[str]:
    """Other kinds of alarm, with layers that weren't named yet, and other levels and sources, that belong to it."""
    layers: dict[str, list[str]] = {}
    for alarm in alarms:
        if alarm.kind != first.kind:
            layers.setdefault(explanation(alarm.kind).title, []).append(alarm.layer)
    kinds = []
    for title, found in sorted(layers.items()):
        others = [layer for layer in dict.fromkeys(found) if layer not in hit]
        kinds.append(f"{title} in {', '.join(others)}" if others else title)
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
