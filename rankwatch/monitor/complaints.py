"""How failures are told: once each, and never by ending the user's run (unless they asked for that)."""

from __future__ import annotations

import contextlib
import logging
import sys
import time
import warnings
from collections import defaultdict
from collections.abc import Iterator

log = logging.getLogger("rankwatch")


class CollapseWarning(RuntimeWarning):
    """An alarm."""


def tell(text: str) -> None:
    """Lines for the person at the terminal."""
    if not log.handlers and not logging.getLogger().handlers:
        log.addHandler(logging.StreamHandler(sys.stdout))
        log.setLevel(logging.INFO)
    log.info(text)


class Complaints:
    """Warns once per subject; in strict mode raises instead.

    Args:
        name: The callback's name, put before every message.
        strict: Raise instead of warning.
    """

    def __init__(self, name: str, strict: bool = False) -> None:
        self._name = name
        self.strict = strict
        self._told: set[str] = set()

    def warn(self, subject: str, message: str) -> None:
        """A RuntimeWarning, the first time that this subject is heard of."""
        if subject not in self._told:
            self._told.add(subject)
            try:
                warnings.warn(f"{self._name}: {message}", RuntimeWarning, stacklevel=2)
            except RuntimeWarning:  # the user has made errors of warnings; ours are still no reason to end a run
                log.warning("%s: %s", self._name, message)

    def fail(self, subject: str, message: str, error: Exception | None = None) -> None:
        """Raise in strict mode, else warn."""
        if self.strict:
            raise error if error is not None else RuntimeError(f"{self._name}: {message}")
        self.warn(subject, message)

    @contextlib.contextmanager
    def guarded(self, doing: str) -> Iterator[None]:
        """Turn an exception inside into a complaint."""
        try:
            yield
        except Exception as error:
            self.fail(doing, f"{doing} failed: {type(error).__name__}: {error}", error)


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
