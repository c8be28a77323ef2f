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


class LastHealthy:
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

    def note(self, paths: Iterable[str | Path], step: int, rewritten: Iterable[str | Path] = ()) -> None:
        """The reading at `step` was healthy: keep the newest checkpoint.

        Args:
            paths: Checkpoints whose files are never written into again.
            step: Optimiser step of the reading.
            rewritten: Further ones whose files may be; they are copied, and only where they are newer.
        """
        stable, latest = newest(paths), newest([*paths, *rewritten])
        if latest is None:
            return
        same_age = stable is not None and stable.stat().st_mtime_ns >= latest.stat().st_mtime_ns - 10**9
        checkpoint = stable if same_age and stable is not None else latest
        self.step = step
        source = (checkpoint.name, checkpoint.stat().st_mtime_ns)
        if source != self._source:
            self._keep(checkpoint, _link if checkpoint == stable else shutil.copy2)
            self._source = source

    def _keep(self, checkpoint: Path, put: Callable[[str, str], object]) -> None:
        self._kept.parent.mkdir(parents=True, exist_ok=True)
        fresh = self._kept.with_suffix(".new")
        _remove(fresh)
        if checkpoint.is_dir():
            shutil.copytree(checkpoint, fresh, copy_function=put)
        else:
            put(str(checkpoint), str(fresh))
        if self._kept.is_dir():
            _remove(self._kept)
        fresh.replace(self._kept)

    def state_dict(self) -> dict[str, Any]:
        """Plain values."""
        return {"kept": str(self._kept), "source": list(self._source or ()), "step": self.step}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Know of the checkpoint that was kept before a restart, if it is still there."""
        if state["source"] and Path(state["kept"]).exists():
            name, when = state["source"]
            self._kept, self._source, self.step = Path(state["kept"]), (name, when), state["step"]

    @property
    def path(self) -> Path | None:
        """Where the kept checkpoint is, or None as long as there is none."""
        return self._kept if self._source is not None else None

    def describe(self) -> str:
        """One sentence for the alarm's message."""
        if self._source is None:
            return "No checkpoint was saved while the run was healthy."
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
