"""A reading whose rows are drawn and whose outcome isn't handed over yet."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rankwatch.monitor.gathered import Evaluated
from rankwatch.monitor.outcome import Outcome
from rankwatch.runtime.background_job import Job


@dataclass(frozen=True)
class Pending:
    """What is being worked on, or was when the run was interrupted.

    Attributes:
        step: Optimiser steps taken when its rows were drawn.
        due: When its outcome is handed over: fixed beforehand, so the same on all processes and in every rerun,
            however long the work takes.
        work: The job, or from before an interruption what came of it.
    """

    step: int
    due: int
    work: Job[Evaluated] | Evaluated

    def fetch(self) -> Evaluated:
        """Wait for it; raises what went wrong."""
        return self.work if isinstance(self.work, Evaluated) else self.work.result()

    def there(self, seconds: float) -> bool:
        """Whether it is done, after at most so many seconds."""
        return isinstance(self.work, Evaluated) or self.work.wait(seconds)

    def state_dict(self) -> dict[str, Any] | None:
        """Plain values; waits for it. None where it has failed."""
        try:
            outcome = self.fetch().outcome
        except Exception:  # is told when it is due
            return None
        return {"step": self.step, "due": self.due, "outcome": outcome.to_plain()}

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Pending:
        """What `state_dict` was called on, done."""
        return cls(state["step"], state["due"], Evaluated(Outcome.from_plain(state["outcome"])))
