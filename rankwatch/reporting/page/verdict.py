"""What a run's state is, in words for somebody who has never heard of effective rank: what, since when, what to do."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import numpy as np

from rankwatch.readings.alarm import CRITICAL, INFO, Alarm
from rankwatch.reporting.recorded.alarm_spans import AlarmSpan, alarm_spans
from rankwatch.reporting.recorded.recorded_run import RecordedRun

_PARTS = {
    "evidence": "Evidence in ",
    "causes": "Likely causes: ",
    "remedies": "What to do: ",
    "checkpoint": "Last healthy checkpoint: ",
    "apart": "Apart from this, ",
    "meaning": "(The ",
}
_MOST_LAYERS = 4
_WHOLE, _FEWEST = 0.9, 2  # share of the highest rank that still is all of it; readings before the alarm


@dataclass(frozen=True)
class Verdict:
    """A run's state.

    Attributes:
        level: ``"healthy"``, ``"info"``, ``"warning"`` or ``"critical"``.
        word: The level, for people.
        title: What it is.
        lead: Since when, and whether the run goes on.
        facts: Further sentences, each under a heading.
    """

    level: str
    word: str
    title: str
    lead: str
    facts: tuple[tuple[str, str], ...] = ()

    def to_plain(self) -> dict[str, Any]:
        """For a page's data."""
        return {**vars(self), "facts": [list(fact) for fact in self.facts]}


def verdict_of(run: RecordedRun) -> Verdict:
    """A run's state at its last reading.

    Args:
        run: What was recorded.

    Returns:
        The most severe alarm that is still open, or that all is well.
    """
    spans = [span for span in alarm_spans(run) if span.severity != INFO]
    still = [span for span in spans if span.is_open]
    if not still:
        return _healthy(run, spans)
    first = still[0]
    title = f"{_title(first)} in {_where(run, first)}"
    whole = _last_whole(run, first, first.alarms[0])
    falling = f", falling after step {run.steps[whole[0]]:,}" if whole is not None else ""
    since = f"alarm since step {first.since:,}{falling}; {_state(run)}"
    return Verdict(first.severity, first.severity, title, since, tuple(_facts(run, still)))


def message_parts(message: str) -> dict[str, str]:
    """An episode's message by its parts.

    Args:
        message: See `rankwatch.alarms.alarm_message`.

    Returns:
        Texts of "head", "evidence", "causes", "remedies", "checkpoint", ..., as far as they are there.

    Example:
        >>> message_parts("WARNING at step 3: x. Evidence in a: rank 2. What to do: stop.")
        {'head': 'WARNING at step 3: x.', 'evidence': 'a: rank 2.', 'remedies': 'stop.'}
    """
    found = [(message.find(start), name, start) for name, start in _PARTS.items()]
    places = sorted([place for place in found if place[0] >= 0])
    starts = [place[0] for place in places] + [len(message)]
    ends = starts[1:]
    parts = {"head": message[: starts[0]].strip()}
    for (at, name, start), end in zip(places, ends, strict=True):
        parts[name] = message[at + len(start) : end].strip()
    return {name: text for name, text in parts.items() if text}


def _healthy(run: RecordedRun, spans: list[AlarmSpan]) -> Verdict:
    if not len(run.steps) or not run.curves:
        return Verdict("unread", "nothing read", "no layer was read, so nothing is known", _state(run))
    lead = _state(run)
    if not spans:
        return Verdict("healthy", "no alarm", "no layer has lost its effective rank", lead)
    past = [
        f"{span.severity}: {_title(span).lower()} in {_where(run, span)}, steps {span.since:,} to {span.until:,}"
        for span in spans[:_MOST_LAYERS]
    ]
    title = "no alarm is open at the last reading"
    return Verdict(
        "healthy", "no alarm now", title, lead, (("Earlier alarms, which have ended", "; ".join(past) + "."),)
    )


def _facts(run: RecordedRun, still: list[AlarmSpan]) -> list[tuple[str, str]]:
    first = still[0]
    parts = message_parts(first.message)
    evidence = parts.get("evidence") or f"{first.alarms[0].layer}: {first.alarms[0].message}."
    evidence += _safest(run, first, evidence)
    others = dict.fromkeys(_title(span).lower() for span in still[1:] if span.kind != first.kind)
    if others:
        evidence += f" Also open: {', '.join(others)}."
    facts = [("What broke", _with_labels(run, evidence))]
    if "causes" in parts:
        facts.append(("Likely causes", _sentence(parts["causes"])))
    checkpoint = parts.get("checkpoint", "")
    if not checkpoint and run.end is not None and run.end.checkpoint:
        checkpoint = f"{run.end.checkpoint}."
    advice = _sentence(parts.get("remedies", ""))
    if checkpoint:
        advice = f"{advice} Last healthy checkpoint: {checkpoint}".strip()
    return [*facts, ("What to do", advice)] if advice else facts


def _safest(run: RecordedRun, span: AlarmSpan, evidence: str) -> str:
    """Up to when checkpoints are safest, in a sentence."""
    alarm = next((one for one in span.alarms if evidence.startswith(f"{one.layer}:")), span.alarms[0])
    whole = _last_whole(run, span, alarm)
    if whole is None:
        return ""
    label = next((row.label for row in run.layers if row.layer == alarm.layer), alarm.layer)
    then = f"At step {run.steps[whole[0]]:,} the effective rank of {label} was still {whole[1]:.1f}"
    return f" {then}; checkpoints from then or before are safest."


def _last_whole(run: RecordedRun, span: AlarmSpan, alarm: Alarm) -> tuple[int, float] | None:
    """Which reading had the layer last near its highest rank, and that rank: a fall begins before it is an alarm."""
    curve = run.curves.get((alarm.source, alarm.level, alarm.layer))
    if curve is None:
        return None
    before = curve.values[run.steps <= span.since].astype(float)
    if np.isfinite(before).sum() < _FEWEST:
        return None
    whole = int(np.flatnonzero(before >= _WHOLE * float(np.nanmax(before)))[-1])
    return None if whole == len(before) - 1 else (whole, float(before[whole]))


def _with_labels(run: RecordedRun, text: str) -> str:
    """Behind each layer's path its short name: figures and the title have that alone, and it may count from one."""
    labels = {row.layer: row.label for row in run.layers if row.label != row.layer}
    if not labels:
        return text
    longest_first = sorted(map(re.escape, labels), key=len, reverse=True)
    path = rf"(?<![\w.])({'|'.join(longest_first)})(?!\w|\.\w)"
    return re.sub(path, lambda found: f"{found[1]} ({labels[found[1]]})", text)


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]


def _title(span: AlarmSpan) -> str:
    """The kind in the words of its message, or else its name."""
    said = re.search(r"at step \d+: (.*?) in ", message_parts(span.message).get("head", ""))
    name = span.kind.replace("_", " ")
    return _sentence(said.group(1) if said and said.group(1).startswith(name) else name)


def _where(run: RecordedRun, span: AlarmSpan) -> str:
    labels = {row.layer: row.label for row in run.layers}
    severe = [alarm for alarm in span.alarms if alarm.severity == span.severity] or list(span.alarms)
    hit = list(dict.fromkeys(labels.get(alarm.layer, alarm.layer) for alarm in severe))
    more = f" and {len(hit) - _MOST_LAYERS} more" if len(hit) > _MOST_LAYERS else ""
    count = f" ({len(hit)} of {len(run.layers)} layers)" if len(run.layers) > 1 and span.severity == CRITICAL else ""
    return f"{', '.join(hit[:_MOST_LAYERS])}{more}{count}"


def _state(run: RecordedRun) -> str:
    last = f"{int(run.steps[-1]):,}" if len(run.steps) else "none"
    if run.end is None:
        return f"no end is recorded: the run goes on, or was killed; last reading at step {last}"
    if run.end.stopped:
        return f"the alarm stopped the run at step {run.end.step:,}"
    return f"the run ended at step {run.end.step:,}"
