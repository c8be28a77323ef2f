"""When pictures are drawn: seldom, and never for much of the run's time unless an alarm asks for them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

_APART = 10  # readings
_FIRST_SET = 0.6  # seconds that a set of pictures takes, until one was timed
_SHARE = 0.005  # of the run's time may go into pictures that nobody asked for


class PictureSchedule:
    """At the 3rd, 12th, 22nd, 32nd ... reading, in short runs later, so that they take at most 0.5 % of the time.

    Args:
        clock: Tells the time, in seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self._clock = clock
        self._began = clock()
        self._readings = 0
        self._next = 3
        self._spent = 0.0
        self._last_set = _FIRST_SET

    def start(self) -> None:
        """The run begins."""
        self._began = self._clock()

    def due(self, asked_for: bool) -> bool:
        """Whether pictures are drawn at a reading; called once for each.

        Args:
            asked_for: Whether an episode of alarms begins or grows worse there, which always is drawn.

        Returns:
            The answer; the next are counted from there.
        """
        self._readings += 1
        affordable = self._spent + self._last_set <= _SHARE * (self._clock() - self._began)
        if not asked_for and not (self._readings >= self._next and affordable):
            return False
        self._next = self._readings + min(3 * self._readings, _APART)
        return True

    @contextmanager
    def timed(self) -> Iterator[None]:
        """Pictures are drawn inside."""
        began = self._clock()
        try:
            yield
        finally:
            self._last_set = self._clock() - began
            self._spent += self._last_set
