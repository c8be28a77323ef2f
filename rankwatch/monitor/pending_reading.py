"""A reading whose rows are drawn and whose outcome isn't handed over yet."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from rankwatch.monitor.outcome import Outcome
from rankwatch.runtime.background_job import BackgroundJob
from rankwatch.runtime.plain_data import from_plain, to_plain


@dataclass(frozen=True)
class PendingReading:
    """What is being worked on, or was when the run was interrupted.

    Attributes:
        step: Optimiser steps taken when its rows were drawn.
        due: When its outcome is handed over: fixed beforehand, so the same on all processes and in every rerun,
            however long the work takes.
        work: The job, or from before an interruption what came of it.
    """

    step: int
    due: int
    work: BackgroundJob[EvaluationResult] | EvaluationResult

    def fetch(self) -> EvaluationResult:
        """Wait for it; raises what went wrong."""
        return self.work if isinstance(self.work, EvaluationResult) else self.work.result()

    def there(self, seconds: float) -> bool:
        """Whether it is done, after at most so many seconds."""
        return isinstance(self.work, EvaluationResult) or self.work.wait(seconds)

    def state_dict(self) -> dict[str, Any] | None:
        """Plain values; waits for it. None where it has failed."""
        try:
            outcome = self.fetch().outcome
        except Exception:  # is told when it is due
            return None
        return {"step": self.step, "due": self.due, "outcome": to_plain(outcome)}

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> PendingReading:
        """What `state_dict` was called on, done."""
        return cls(state["step"], state["due"], EvaluationResult(from_plain(Outcome, state["outcome"])))


@dataclass(frozen=True)
class Trouble:
    """Something of this process's own that failed, to be told by the thread in which the user's code runs."""

    subject: str
    message: str
    error: Exception


@dataclass(frozen=True)
class EvaluationResult:
    """What came of it.

    Attributes:
        outcome: The same on all processes.
        troubles: This process's own.
        seconds: What it took here, by part.
    """

    outcome: Outcome
    troubles: Sequence[Trouble] = ()
    seconds: Mapping[str, float] = field(default_factory=dict)
