"""Whether the learning rate is still rising for the first time: healthy layers change most then."""

from __future__ import annotations

from dataclasses import dataclass

_STILL = 6
"""Readings at one rate that end a warm-up: some schedules rise once an epoch, and a breach brings readings sooner."""


@dataclass
class LearningRateWarmup:
    """Follows the learning rate from reading to reading.

    Attributes:
        peak: Highest rate so far.
        still: Readings in a row at it.
        over: Whether the rate has fallen, or stood still for long. A later rise (a schedule's restart) is no warm-up.
    """

    peak: float = 0.0
    still: int = 0
    over: bool = False

    def goes_on(self, rate: float | None) -> bool:
        """Whether it does, at a reading with this rate; False where the rate isn't known."""
        if rate is None:
            return False
        self.still = 0 if rate > self.peak * (1.0 + 1e-6) else self.still + 1
        self.over |= self.still >= _STILL or rate < self.peak * (1.0 - 1e-6)
        self.peak = max(self.peak, rate)
        return not self.over
