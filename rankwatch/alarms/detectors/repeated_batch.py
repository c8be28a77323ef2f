"""A fault of the loader that the rank can't tell: training is given one batch again and again."""

from __future__ import annotations

from dataclasses import dataclass

from rankwatch.alarms.detectors.base import Finding, StepContext
from rankwatch.alarms.history import Series
from rankwatch.readings.reading import Reading


@dataclass(frozen=True)
class RepeatedBatch:
    """Successive training batches hold the same samples to the last bit.

    While a network memorises one batch its loss falls, and its effective rank on other recordings may rise, hold or
    fall: neither tells. The samples do. Never more than a warning, as it may be meant (a trial on one batch).

    Attributes:
        patience: Readings in a row before it is an alarm.
    """

    kind: str = "repeated_batch"
    patience: int = 3

    def check(self, reading: Reading, past: Series, context: StepContext) -> Finding | None:
        """Look at what was seen of the batches, and say it of all layers of the primary set."""
        if reading.source != context.primary or reading.level != "frame" or not context.repeated_batches:
            return None
        return Finding("successive training batches hold the same samples", 1.0, can_be_critical=False)
