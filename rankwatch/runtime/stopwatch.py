"""Seconds that the callback spends, by part of its work, and their fraction of the run's time."""

from __future__ import annotations

import contextlib
import time
from collections import defaultdict
from collections.abc import Iterator


class Stopwatch:
    """Seconds by part of the work, and their share of the run's. Used by one thread."""

    def __init__(self) -> None:
        self._parts: dict[str, float] = defaultdict(float)
        self._within: list[float] = []  # seconds of inner parts, for each part that is running
        self._began = time.perf_counter()
        self._spent = 0.0

    def begin(self) -> None:
        """The run begins now: what came before counts neither way."""
        self._began, self._spent = time.perf_counter(), 0.0

    @contextlib.contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Add the time spent inside to a part; an inner part's time is its own alone."""
        start = time.perf_counter()
        self._within.append(0.0)
        try:
            yield
        finally:
            whole = time.perf_counter() - start
            took = whole - self._within.pop()
            if self._within:
                self._within[-1] += whole
            self._parts[name] += took
            self._spent += took

    def count(self, seconds: float) -> None:
        """Count what another thread has taken from the run."""
        self._spent += seconds

    def take(self) -> dict[str, float]:
        """The parts since the last call."""
        taken, self._parts = dict(self._parts), defaultdict(float)
        return taken

    @property
    def spent(self) -> float:
        """Seconds spent since `begin`."""
        return self._spent

    @property
    def elapsed(self) -> float:
        """Seconds since `begin`."""
        return time.perf_counter() - self._began

    @property
    def times(self) -> tuple[float, float]:
        """`elapsed` and `spent`."""
        return self.elapsed, self.spent

    @property
    def share(self) -> float:
        """What was spent, as a share of the time since `begin`."""
        return self._spent / max(self.elapsed, 1e-9)
