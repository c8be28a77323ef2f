"""The last healthy checkpoint: kept by a hard link, so that the trainer's own clean-up can't take it away."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any


def newest(paths: Iterable[str | Path]) -> Path | None:
    """The most recently written of those that exist."""
    existing = [path for path in map(Path, paths) if str(path) not in ("", ".") and path.exists()]
    return max(existing, key=lambda path: path.stat().st_mtime_ns, default=None)


class HealthyCheckpoint:
    """Keeps one checkpoint alive under a name of its own.

    A link costs no space while the original is there; where links can't be made (another file system), or where the
    trainer writes into the same file again and again (``last.ckpt``), the checkpoint is copied. Sharded checkpoints are
    folders: their files are linked one by one.

    Args:
        kept: Where the kept checkpoint goes.
    """

    def __init__(self, kept: Path) -> None:
        self._kept = kept
        self._source: tuple[str, int] | None = None
        self.step: int | None = None
        self._aside: tuple[tuple[str, int], int] | None = None  # what was put aside, and at which step

    def put_aside(self, paths: Iterable[str | Path], step: int, rewritten: Iterable[str | Path] = ()) -> None:
        """Hold the newest checkpoint until it is known whether the reading at `step` was healthy.

        Args:
            paths: Checkpoints whose files are never written into again.
            step: Optimiser step of the reading.
            rewritten: Further ones whose files may be; they are copied, and only where they are newer.
        """
        self.settle(False)
        stable, latest = newest(paths), newest([*paths, *rewritten])
        if latest is None:
            return
        same_age = stable is not None and stable.stat().st_mtime_ns >= latest.stat().st_mtime_ns - 10**9
        checkpoint = stable if same_age and stable is not None else latest
        source = (checkpoint.name, checkpoint.stat().st_mtime_ns)
        if source != self._source or self.path is None:
            self._put(checkpoint, _link if checkpoint == stable else shutil.copy2)
        self._aside = source, step

    def settle(self, healthy: bool) -> None:
        """The reading was healthy, and what was put aside is kept instead of the one before; or it wasn't."""
        aside, self._aside = self._aside, None
        if aside is None:
            return
        source, step = aside
        if not healthy:
            _remove(self._place_aside)
            return
        if source != self._source or self.path is None:
            if self._kept.is_dir():
                _remove(self._kept)
            self._place_aside.replace(self._kept)
        self._source, self.step = source, step

    @property
    def _place_aside(self) -> Path:
        return self._kept.with_suffix(".aside")

    def _put(self, checkpoint: Path, put: Callable[[str, str], object]) -> None:
        self._kept.parent.mkdir(parents=True, exist_ok=True)
        _remove(self._place_aside)
        try:
            if checkpoint.is_dir():
                shutil.copytree(checkpoint, self._place_aside, copy_function=put)
            else:
                put(str(checkpoint), str(self._place_aside))
        except Exception:
            _remove(self._place_aside)  # half of it, where the disk is full
            raise

    def state_dict(self) -> dict[str, Any]:
        """Plain values."""
        aside = [*self._aside[0], self._aside[1]] if self._aside is not None else []
        return {"kept": str(self._kept), "source": list(self._source or ()), "step": self.step, "aside": aside}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Know of the checkpoints that were kept and put aside before a restart, as far as they are still there."""
        before = HealthyCheckpoint(Path(state["kept"]))
        if state["source"] and before._kept.exists():
            self._kept, self.step = before._kept, state["step"]
            self._source = state["source"][0], state["source"][1]
        if state["aside"] and before._place_aside.exists():
            name, when, step = state["aside"]
            self._kept, self._aside = before._kept, ((name, when), step)

    @property
    def path(self) -> Path | None:
        """Where the kept checkpoint is, or None as long as there is none (or none any more)."""
        return self._kept if self._source is not None and self._kept.exists() else None

    def describe(self) -> str:
        """One sentence for the alarm's message."""
        if self._source is None:
            return "No checkpoint was saved while the run was healthy."
        if self.path is None:
            return f"The last healthy checkpoint was kept as {self._kept}, which is gone."
        return f"Last healthy checkpoint: {self._kept} (healthy at step {self.step}; saved as {self._source[0]})."


def _link(source: str, target: str) -> str:
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)
    return target


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
