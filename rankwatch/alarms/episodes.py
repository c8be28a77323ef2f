"""All alarms of one event are one episode: one message when it begins, when it grows worse, and when it ends."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rankwatch.alarms.alarm_message import ended_message, episode_title
from rankwatch.readings.alarm import CRITICAL, INFO, Alarm, level_of


class Episodes:
    """Remembers what was reported, so that nothing is reported twice.

    A message is due when the level rises, when something critical begins that had not yet begun at the newest message,
    and when no alarm of an episode is left.
    """

    def __init__(self) -> None:
        self._level = 0  # at the newest reading
        self._reported_at = -1  # step of the newest message
        self._since = -1  # step from which the episode holds
        self._title = ""

    def update(self, step: int, raised: Sequence[Alarm], open_alarms: Sequence[Alarm], summary: str) -> str:
        """Take in the alarms of a reading.

        Args:
            step: Optimiser step.
            raised: Alarms that began or became more severe now.
            open_alarms: All that hold, the most severe and earliest first.
            summary: The episode's message as it is now.

        Returns:
            The message that is due now, or empty.
        """
        lasting = [alarm for alarm in open_alarms if alarm.severity != INFO]
        level, before = level_of(lasting), self._level
        self._level = level
        if not level:
            return ended_message(step, self._title, self._since) if before else ""
        if before == 0:
            self._since = min(alarm.since for alarm in lasting)
        critical = any(alarm.severity == CRITICAL and alarm.since > self._reported_at for alarm in raised)
        if level <= before and not critical:
            return ""
        self._reported_at, self._title = step, episode_title(lasting[0])
        return summary

    def state_dict(self) -> dict[str, Any]:
        """Plain numbers and strings."""
        return {"level": self._level, "reported_at": self._reported_at, "since": self._since, "title": self._title}

    def load_state_dict(self, state: Mapping[str, Any], level: int) -> None:
        """Go on from what `state_dict` gave, where alarms of this level still hold."""
        self._reported_at, self._since = int(state["reported_at"]), int(state["since"])
        self._title, self._level = str(state["title"]), min(int(state["level"]), level)
