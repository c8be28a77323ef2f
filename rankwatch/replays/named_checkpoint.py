"""The last healthy checkpoint of a replay: the one that was read, where it lies; nothing is copied."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from rankwatch.run.healthy_checkpoint import HealthyCheckpoint
from rankwatch.runtime.files.run_paths import RunPath, run_path


class NamedCheckpoint(HealthyCheckpoint):
    """Remembers the path of the newest checkpoint whose reading was healthy.

    Args:
        path: Where a run would preserve it; nothing is written there.
    """

    def __init__(self, path: RunPath) -> None:
        super().__init__(path)
        self._named = ""
        self._waiting: tuple[str, int] | None = None

    def set_aside(self, paths: Iterable[str | Path], step: int, rewritten: Iterable[str | Path] = ()) -> None:
        """Take in which checkpoint is being read.

        Args:
            paths: It alone.
            step: Its step.
            rewritten: None.
        """
        self._waiting = (str(next(iter(paths))), step)

    def settle(self, healthy: bool) -> None:
        """Remember it, if its reading was healthy."""
        waiting, self._waiting = self._waiting, None
        if healthy and waiting is not None:
            self._named, self.step = waiting

    def state_dict(self) -> dict[str, Any]:
        """Plain values."""
        return {"named": self._named, "step": self.step}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state_dict` gave."""
        self._named, self.step = state["named"], state["step"]

    @property
    def path(self) -> RunPath | None:
        """Where it is; None as long as there is none."""
        return run_path(self._named) if self._named else None

    def describe(self) -> str:
        """Say in one sentence where it is, for the alarm's message."""
        if not self._named:
            return "No checkpoint before was healthy."
        return f"Last healthy checkpoint: {self._named} (step {self.step})."
