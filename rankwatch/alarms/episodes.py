"""All alarms of one event are one episode and one message: when it begins, when it grows worse, when it ends."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rankwatch.alarms.detectors.base import Finding
from rankwatch.alarms.detectors.explanations import MEANING, advice
from rankwatch.readings.alarm import CRITICAL, INFO, Alarm, level_of
from rankwatch.readings.reading import Key


class Episodes:
    """Knows what was told, so that nothing is told twice.

    A message is due when the level rises, when something critical begins that had not yet begun when last was told,
    and when nothing is left of an episode.
    """

    def __init__(self) -> None:
        self._told = 0
        self._began = -1  # step of the newest message
        self._since = -1  # step from which the episode holds
        self._what = ""

    def tell(
        self,
        step: int,
        raised: Sequence[Alarm],
        opened: Sequence[Alarm],
        findings: Mapping[Key, Finding],
        layers: Sequence[str],
    ) -> tuple[str, str]:
        """What is to be told at this step.

        Args:
            step: Optimiser step.
            raised: Alarms that began or became graver now.
            opened: All that hold, the gravest and earliest first.
            findings: Of this step's readings.
            layers: All that are watched.

        Returns:
            The message that is due now, or empty; and what there would be to tell, as long as any alarm holds.
        """
        opened = [alarm for alarm in opened if alarm.severity != INFO]
        level = level_of(opened)
        summary = message_about(step, opened, findings, layers)
        new = level > self._told or any(alarm.severity == CRITICAL and alarm.since > self._began for alarm in raised)
        message = summary if new and level else ""
        if level and self._told == 0:
            self._since = min(alarm.since for alarm in opened)
        if self._told and not level:
            message = f"ENDED at step {step}: {self._what} that held since step {self._since}."
        self._told = level
        if new and level:
            self._began = step
            self._what = f"{opened[0].severity} {advice(opened[0].kind).title} in {opened[0].layer}"
        return message, summary

    def state_dict(self) -> dict[str, Any]:
        """Plain numbers and strings."""
        return {"told": self._told, "began": self._began, "since": self._since, "what": self._what}

    def load_state_dict(self, state: Mapping[str, Any], level: int) -> None:
        """Take over what `state_dict` gave, where alarms of this level still hold."""
        self._began, self._since, self._what = int(state["began"]), int(state["since"]), str(state["what"])
        self._told = min(int(state["told"]), level)


def message_about(step: int, alarms: Sequence[Alarm], findings: Mapping[Key, Finding], layers: Sequence[str]) -> str:
    """One message for all layers, levels and sources of an event, the gravest and earliest first; empty without any."""
    alarms = [alarm for alarm in alarms if alarm.severity != INFO]
    if not alarms:
        return ""
    first = alarms[0]
    told = advice(first.kind)
    same = [alarm for alarm in alarms if (alarm.level, alarm.source) == (first.level, first.source)]
    hit = list(dict.fromkeys(alarm.layer for alarm in same))
    falling = [y for s, v, y in findings if (s, v) == (first.source, first.level) and y not in hit]
    extent = f" ({len(hit)} of {len(layers)} layers)" if len(layers) > 1 else ""
    also = f"; seen in {', '.join(falling)} too" if falling else ""
    words = [
        f"{first.severity.upper()} at step {step}: {told.title}, {first.level} level, evaluation set {first.source!r}, "
        f"since step {first.since}, in {', '.join(hit)}{extent}{also}.",
        f"{first.layer}: {first.message}.",
    ]
    kinds = sorted({advice(alarm.kind).title for alarm in alarms} - {told.title})
    places = {f"{a.level} level of {a.source}" for a in alarms} - {f"{first.level} level of {first.source}"}
    words += [f"What may help: {told.remedies}."] if told.remedies else []
    words += [f"With it: {', '.join(kinds)}."] if kinds else []
    words += [f"Also at: {', '.join(sorted(places))}."] if places else []
    words += [f"({MEANING[first.level][0].upper()}{MEANING[first.level][1:]}.)"] if first.level in MEANING else []
    return " ".join(words)
