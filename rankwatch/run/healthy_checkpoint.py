"""The last healthy checkpoint, protected by a hard link from the trainer's own clean-up of old checkpoints."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from rankwatch.runtime.files.file_actions import copy, modified, move, remove, same_store
from rankwatch.runtime.files.run_paths import RunPath, run_path


def newest(paths: Iterable[str | Path]) -> RunPath | None:
    """The most recently written of the files or folders that exist; None where none does."""
    existing = [path for path in map(run_path, paths) if str(path) not in ("", ".") and path.exists()]
    return max(existing, key=modified, default=None)


class HealthyCheckpoint:
    """Preserves one checkpoint under a name of its own.

    The newest checkpoint is set aside when a reading begins, and becomes the preserved one if the reading turns out
    healthy.

    A link costs no space while the original is there; where links can't be made (another file system), or where the
    trainer writes into the same file again and again (``last.ckpt``), the checkpoint is copied. Sharded checkpoints are
    folders: their files are linked one by one. In an object store a copy is made by the store itself. Where checkpoints
    are in another store than the run's folder, or the one is on this machine's disks and the other isn't, the preserved
    one goes into a folder ``rankwatch`` beside them, so that nothing is carried through this machine at each reading.

    Args:
        path: Where the preserved checkpoint goes.
    """

    def __init__(self, path: RunPath) -> None:
        self._preserved = path
        self._source: tuple[str, int] | None = None
        self.step: int | None = None
        self._aside: tuple[tuple[str, int], int] | None = None  # what was set aside, and at which step
        self._written = self._aside_written = 0  # when; a store's copy is as old as the copying, a link as the original

    def set_aside(self, paths: Iterable[str | Path], step: int, rewritten: Iterable[str | Path] = ()) -> None:
        """Set the newest checkpoint aside until it is known whether the reading at `step` was healthy.

        Args:
            paths: Checkpoints whose files are never written into again.
            step: Optimiser step of the reading.
            rewritten: Further ones whose files may be; they are copied, and only where they are newer.
        """
        self.settle(False)
        stable, latest = newest(paths), newest([*paths, *rewritten])
        if latest is None:
            return
        same_age = stable is not None and modified(stable) >= modified(latest) - 10**9
        checkpoint = stable if same_age and stable is not None else latest
        source = (checkpoint.name, modified(checkpoint))
        if self.path is None and not same_store(checkpoint, self._preserved):
            self._preserved = checkpoint.parent / "rankwatch" / self._preserved.name
        if source != self._source or self.path is None:
            remove(self._aside_path)
            copy(checkpoint, self._aside_path, link=checkpoint == stable)
            self._aside_written = modified(self._aside_path)
        self._aside = source, step

    def settle(self, healthy: bool) -> None:
        """Decide about what was set aside: preserve it instead of the one before, or drop it.

        Args:
            healthy: Whether the reading was healthy.
        """
        aside, self._aside = self._aside, None
        if aside is None:
            return
        source, step = aside
        if not healthy:
            remove(self._aside_path)
            return
        if source != self._source or self.path is None:
            move(self._aside_path, self._preserved)
            self._written = modified(self._preserved)
        self._source, self.step = source, step

    @property
    def _aside_path(self) -> RunPath:
        return self._preserved.with_suffix(".aside")

    def state_dict(self) -> dict[str, Any]:
        """Plain values."""
        aside = [*self._aside[0], self._aside[1]] if self._aside is not None else []
        return {
            "path": str(self._preserved),
            "source": list(self._source or ()),
            "step": self.step,
            "aside": aside,
            "written": [self._written, self._aside_written],
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Remember the checkpoints that were preserved and set aside before a restart, as far as they still exist.

        One of another time is another run's, which has written into the same folder since.
        """
        before = HealthyCheckpoint(run_path(state["path"]))
        written, aside_written = state.get("written", (0, 0))
        if state["source"] and _is_of(before._preserved, written):
            self._preserved, self.step, self._written = before._preserved, state["step"], written
            self._source = state["source"][0], state["source"][1]
        if state["aside"] and _is_of(before._aside_path, aside_written):
            name, when, step = state["aside"]
            self._preserved, self._aside = before._preserved, ((name, when), step)
            self._aside_written = aside_written

    @property
    def path(self) -> RunPath | None:
        """Where the preserved checkpoint is; None as long as there is none, or where it was deleted."""
        return self._preserved if self._source is not None and self._preserved.exists() else None

    def describe(self) -> str:
        """Say in one sentence where it is, for the alarm's message."""
        if self._source is None:
            return "No checkpoint was saved while the run was healthy."
        if self.path is None:
            return f"The last healthy checkpoint was preserved as {self._preserved}, which no longer exists."
        when = f"the newest one when the last reading without an alarm was made, at step {self.step}"
        about = f"a copy of {self._source[0]}, {when}"
        return f"Last healthy checkpoint: {self._preserved} ({about})."


def _is_of(path: RunPath, when: int) -> bool:
    """Whether a checkpoint is there and was written then (in ns), as exactly as file systems note it."""
    return path.exists() and abs(modified(path) - when) < 3 * 10**9
