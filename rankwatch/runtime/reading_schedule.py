"""When the next reading is made: at the user's interval, or later where readings would take too much time."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping
from statistics import median
from typing import Any

_ALLOWANCE = 600.0
"""Seconds that a run is taken to last at least: what they allow may be spent at once, so short runs have readings."""

_PATIENCE = 4
"""A reading that took far longer than others (a pause of the file system) holds the next one off for at most so many
of the intervals that usual ones would need."""


class ReadingSchedule:
    """Holds readings to a share of the run's time by making them less often.

    Readings are made at multiples of `every` optimiser steps. The next one is the first multiple at which

        spent + cost <= share * max(elapsed, 600 s)

    is expected to hold, where `cost` is the median of what the last five readings took. One process asks; all follow.

    Args:
        every: The user's interval in optimiser steps.
        share: Share of the run's time, or None for no limit.
    """

    def __init__(self, every: int, share: float | None) -> None:
        self._every = every
        self._share = share
        self._costs: deque[float] = deque(maxlen=5)
        self._spent = 0.0
        self._began: int | None = None

    def begin(self, step: int) -> None:
        """Time is counted from here, where `step` optimiser steps have been taken (more than none after a restart)."""
        if self._began is None:
            self._began = step

    def regular(self, step: int) -> int:
        """The first multiple of the user's interval after `step`."""
        return (step // self._every + 1) * self._every

    def sooner(self, step: int, lag: int) -> int:
        """When a breach is to be confirmed: after a quarter of the user's interval, and once its outcome is known.

        Whatever was spent: a collapse is no time to save on readings. A breach is confirmed, then an alarm, or gone.

        Returns:
            The optimiser step of that reading.
        """
        return step + max(self._every // 4, lag + 1)

    def plan_next(self, step: int, elapsed: float, spent: float) -> int:
        """Count what this reading took, and decide when to read again.

        Args:
            step: Optimiser steps taken at this reading.
            elapsed: Seconds since `begin`.
            spent: Of these, what the callback has taken, this reading included.

        Returns:
            The optimiser step of the next reading.
        """
        self._costs.append(max(spent - self._spent, 0.0))
        self._spent = spent
        regular = self.regular(step)
        if self._share is None:
            return regular
        cost = median(self._costs)
        pace = max(elapsed - spent, 1e-9) / max(step - (self._began or 0), 1)  # seconds of a step without us
        needed = (spent + cost) / self._share
        if needed <= max(elapsed + (regular - step) * pace, _ALLOWANCE):
            return regular
        steps = (needed - elapsed) / pace
        usual = cost / (self._share * pace)
        steps = min(steps, _PATIENCE * max(usual, self._every))
        return max(regular, math.ceil((step + steps) / self._every) * self._every)

    def state_dict(self) -> dict[str, Any]:
        """Plain numbers; what was spent before a restart is not counted after it."""
        return {"costs": list(self._costs)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over what `state_dict` gave."""
        self._costs.extend(state["costs"])
