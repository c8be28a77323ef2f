"""The one reading that is worked on in parallel to the training, from its rows until it is reported."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from rankwatch.monitor.outcome import Outcome
from rankwatch.runtime.background_job import BackgroundJob
from rankwatch.runtime.plain_data import from_plain, to_plain
from rankwatch.runtime.stopwatch import Stopwatch

WAITS_ON_CPU = True
"""Training on the CPU has no core to spare: one step is longer then, instead of several being slower. The outcome is
reported as late as with a GPU."""

_PATIENCE = 10.0
"""Seconds that a result is waited for when the run was interrupted: other processes may be gone."""


@dataclass(frozen=True)
class PendingReading:
    """A reading that is being worked on, or was when the run was interrupted.

    Attributes:
        step: Optimiser steps taken when its rows were drawn.
        due: Step at which its outcome is reported: fixed beforehand, so the same on all processes and in every rerun,
            however long the work takes.
        work: The job, or from before an interruption what came of it.
    """

    step: int
    due: int
    work: BackgroundJob[EvaluationResult] | EvaluationResult

    def fetch(self) -> EvaluationResult:
        """Wait for the result; an exception of the work is raised here."""
        return self.work if isinstance(self.work, EvaluationResult) else self.work.result()

    def wait(self, seconds: float) -> bool:
        """Whether it is done, after at most so many seconds."""
        return isinstance(self.work, EvaluationResult) or self.work.wait(seconds)

    def state_dict(self) -> dict[str, Any] | None:
        """Plain values; waits for the result. None where the work has failed."""
        try:
            outcome = self.fetch().outcome
        except Exception:  # is reported when it is due
            return None
        return {"step": self.step, "due": self.due, "outcome": to_plain(outcome)}

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> PendingReading:
        """What `state_dict` was called on, done."""
        return cls(state["step"], state["due"], EvaluationResult(from_plain(Outcome, state["outcome"])))


@dataclass(frozen=True)
class Trouble:
    """Something that failed on this process, to be reported by the thread in which the user's code runs."""

    subject: str
    message: str
    error: Exception


@dataclass(frozen=True)
class EvaluationResult:
    """What came of a reading, on one process.

    Attributes:
        outcome: The same on all processes.
        troubles: What failed on this process.
        seconds: What it took here, by part.
    """

    outcome: Outcome
    troubles: Sequence[Trouble] = ()
    seconds: Mapping[str, float] = field(default_factory=dict)


class BackgroundReading:
    """Holds at most one reading whose outcome has not been reported yet.

    Args:
        lag: Optimiser steps from a reading's rows to its outcome, the same on all processes.
        stopwatch: Where the time spent waiting is counted.

    Attributes:
        abandoned: Whether a reading was given up because its work did not end.
    """

    def __init__(self, lag: int, stopwatch: Stopwatch) -> None:
        self._lag = lag
        self._stopwatch = stopwatch
        self._pending: PendingReading | None = None
        self.abandoned = False

    @property
    def exists(self) -> bool:
        """Whether there is a reading that has not been reported."""
        return self._pending is not None

    def is_due(self, step: int) -> bool:
        """Whether its outcome is to be reported after `step` optimiser steps: the same on all processes."""
        return self._pending is not None and step >= self._pending.due

    @staticmethod
    def waits(shares_cpu: bool) -> bool:
        """Whether the training waits for the work, so that none of it runs during a later step."""
        return shares_cpu and WAITS_ON_CPU

    def begin(self, step: int, work: Callable[[], EvaluationResult], *, shares_cpu: bool) -> None:
        """Start working on a reading in a thread of its own.

        Args:
            step: Optimiser steps taken.
            work: Gives the result.
            shares_cpu: The training is on the CPU as well.
        """
        job = BackgroundJob(work)
        self._pending = PendingReading(step, step + self._lag, job)
        if self.waits(shares_cpu):
            with self._stopwatch.part("waiting"):
                job.wait()

    def fetch(self) -> EvaluationResult:
        """Wait for the result and take it out; an exception of the work is raised here.

        Returns:
            What came of the reading.

        Raises:
            RuntimeError: If there is no reading.
        """
        if self._pending is None:
            raise RuntimeError("no reading was started")
        try:
            with self._stopwatch.part("waiting"):
                result = self._pending.fetch()  # after Ctrl-C in here it is still pending
        except Exception:
            self._pending = None
            raise
        self._pending = None
        return result

    def wait_briefly(self) -> bool:
        """Wait some seconds for the result of an interrupted run, and abandon it where it doesn't come.

        Returns:
            Whether there is a result to fetch.
        """
        if self._pending is None:
            return False
        self.abandoned = not self._pending.wait(_PATIENCE)
        if self.abandoned:
            self._pending = None
        return not self.abandoned

    def drop(self) -> None:
        """Forget the reading."""
        self._pending = None

    def state_dict(self) -> dict[str, Any] | None:
        """Plain values, or None where there is no reading; waits for the result."""
        with self._stopwatch.part("waiting"):
            return self._pending.state_dict() if self._pending is not None else None

    def load_state_dict(self, state: Mapping[str, Any] | None) -> None:
        """Go on from what `state_dict` gave."""
        self._pending = PendingReading.from_state(state) if state is not None else None
