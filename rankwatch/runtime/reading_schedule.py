"""When the next reading is made, and how much of the evaluation sets it takes: what `max_overhead` allows."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from statistics import median
from typing import Any

_ALLOWANCE = 600.0
"""Seconds that a run is taken to last at least: what they allow may be spent at once, so short runs have readings."""

_PATIENCE = 4
"""Where only brief readings are affordable, and rarer ones at that, a full one is saved for after so many times
`full_every` of them."""

_BRIEF_SHARE = 0.25
"""What a brief reading takes of a full one, as long as only one of them is known; by its utterances an eighth."""

_REPAYING = 1.25
"""Readings are so much rarer than they need be where something is saved for, or is made up for: a pause of the file
system, a machine that is suddenly loaded. What is made up for may also take `FAR_APART` of the user's intervals."""

FAR_APART = 4
"""Readings this many times the user's interval apart may see a collapse too late, which is said at once."""


@dataclass(frozen=True)
class NextReading:
    """What comes next.

    Attributes:
        step: Its optimiser step.
        full: Whether it takes all utterances of the evaluation sets, or only the first ones.
    """

    step: int
    full: bool


class ReadingSchedule:
    """Holds readings to a share of the run's time: first by smaller readings, and only then by rarer ones.

    Readings are made at multiples of `every` optimiser steps. The next one is the first multiple at which

        spent + cost <= share * max(elapsed, 600 s)

    is expected to hold, where `cost` is the median of what the last five readings of its size took. Every `full_every`
    readings one is full, and more often at the start, when layers change fast: after n readings every (1 + n / 4)th.
    Where a full one that is due doesn't fit in, a brief one takes its place. One process asks; all follow.

    Args:
        every: The user's interval in optimiser steps.
        share: Share of the run's time, or None for no limit.
        full_every: Every so many readings one is full; 1 for all of them.
    """

    def __init__(self, every: int, share: float | None, full_every: int = 1) -> None:
        self._every = every
        self._share = share
        self._full_every = full_every
        self._costs: dict[bool, deque[float]] = {True: deque(maxlen=5), False: deque(maxlen=5)}
        self._readings = self._since_full = 0
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

    def plan_next(
        self, step: int, elapsed: float, spent: float, *, full: bool = True, undecided: bool = False, brief: bool = True
    ) -> NextReading:
        """Count what this reading took, and decide when to read again, and how much.

        Args:
            step: Optimiser steps taken at this reading.
            elapsed: Seconds since `begin`.
            spent: Of these, what the callback has taken, this reading included.
            full: Whether this reading was a full one.
            undecided: Whether this reading's intervals left open what had to be decided: the next one is to be full.
            brief: Whether there is any set that can be read briefly.

        Returns:
            The next reading.
        """
        self._costs[full].append(max(spent - self._spent, 0.0))
        self._spent = spent
        self._readings += 1
        self._since_full = 1 if full else self._since_full + 1
        due = undecided or not brief or self._since_full >= min(self._full_every, 1 + self._readings // 4)
        if self._share is None:
            return NextReading(self.regular(step), due)
        for size in (True, False) if due and brief else (due,):
            if self._fits(step, elapsed, self._cost(size)) and (size or not self._saving):
                return NextReading(self.regular(step), size)
        return NextReading(self._later(step, elapsed, full=not brief), not brief)

    @property
    def _saving(self) -> bool:
        """Whether a full reading has been due for so long that brief ones leave something for it."""
        return self._since_full >= _PATIENCE * self._full_every

    def _cost(self, full: bool) -> float:
        """What a reading of a size takes; before there was a brief one, a quarter of what a full one took."""
        if self._costs[full]:
            return median(self._costs[full])
        return median(self._costs[not full]) * (_BRIEF_SHARE if not full else 1.0 / _BRIEF_SHARE)

    def _pace(self, step: int, elapsed: float) -> float:
        """Seconds of an optimiser step without us."""
        return max(elapsed - self._spent, 1e-9) / max(step - (self._began or 0), 1)

    def _fits(self, step: int, elapsed: float, cost: float) -> bool:
        then = elapsed + (self.regular(step) - step) * self._pace(step, elapsed)
        return self._spent + cost <= (self._share or 1.0) * max(then, _ALLOWANCE)

    def _later(self, step: int, elapsed: float, *, full: bool) -> int:
        """When a reading of this size fits in; what was overspent is made up for slowly, so that none comes too late.

        While a full one is saved for, brief ones leave a fifth of what is allowed.

        Returns:
            The optimiser step.
        """
        share, pace = self._share or 1.0, self._pace(step, elapsed)
        cost = self._cost(full)
        needed = cost / (share * pace)  # steps between readings at which their share is as allowed
        furthest = max(FAR_APART * self._every, _REPAYING * needed)
        steps = min(((self._spent + cost) / share - elapsed) / pace, furthest)
        if not full and self._saving:
            steps = max(steps, _REPAYING * needed)
        return max(self.regular(step), math.ceil((step + steps) / self._every - 0.01) * self._every)

    def state_dict(self) -> dict[str, Any]:
        """Plain numbers; what was spent before a restart is not counted after it."""
        return {
            "costs": list(self._costs[True]),
            "brief_costs": list(self._costs[False]),
            "readings": self._readings,
            "since_full": self._since_full,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over what `state_dict` gave."""
        self._costs[True].extend(state["costs"])
        self._costs[False].extend(state.get("brief_costs", ()))
        self._readings = state.get("readings", self._readings)
        self._since_full = state.get("since_full", self._since_full)
