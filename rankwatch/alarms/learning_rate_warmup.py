"""Whether the learning rate is still in its first warm-up, in which healthy layers change most."""

from __future__ import annotations

from dataclasses import dataclass

_CONSTANT_READINGS = 6
"""Readings at one rate that end a warm-up: some schedules rise once an epoch, and a finding brings readings sooner."""


@dataclass
class LearningRateWarmup:
    """Follows the learning rate from reading to reading.

    Attributes:
        peak: Highest learning rate so far.
        constant_readings: Readings in a row at the peak.
        over: Whether the rate has fallen, or has been constant for long. A later rise (a schedule's restart) is no
            warm-up.
    """

    peak: float = 0.0
    constant_readings: int = 0
    over: bool = False

    def update(self, learning_rate: float | None) -> bool:
        """Take in the learning rate at a reading.

        Args:
            learning_rate: None where it isn't known.

        Returns:
            Whether the warm-up goes on; False where the rate isn't known.
        """
        if learning_rate is None:
            return False
        rises = learning_rate > self.peak * (1.0 + 1e-6)
        self.constant_readings = 0 if rises else self.constant_readings + 1
        self.over |= self.constant_readings >= _CONSTANT_READINGS or learning_rate < self.peak * (1.0 - 1e-6)
        self.peak = max(self.peak, learning_rate)
        return not self.over
