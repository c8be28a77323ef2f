"""An alarm, its severities, and the level that several of them make together."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from rankwatch.readings.protocol import Level

INFO, WARNING, CRITICAL = "info", "warning", "critical"


_LEVEL = {INFO: 0, WARNING: 1, CRITICAL: 2}


def level_of(alarms: Iterable[Alarm]) -> int:
    """The level that several alarms make together: 0 none (or information only), 1 warning, 2 critical."""
    return max((_LEVEL[alarm.severity] for alarm in alarms), default=0)


@dataclass(frozen=True)
class Alarm:
    """A detector's finding about one layer.

    Attributes:
        step: Optimiser step of the reading that raised it.
        kind: What is wrong, in a word; a detector of one's own has its own.
        severity: ``"info"``, ``"warning"`` or ``"critical"``.
        layer: The layer's path.
        level: ``"frame"`` or ``"utterance"``.
        source: Name of the evaluation set, or ``"train"``.
        message: The evidence in one sentence, with numbers.
        since: Step of the first reading of the breach.
    """

    step: int
    kind: str
    severity: str
    layer: str
    level: Level
    source: str
    message: str
    since: int
