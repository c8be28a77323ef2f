"""The last healthy checkpoint: kept by a hard link, so that the trainer's own clean-up can't take it away."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable
from pathlib import Path


def newest(paths: Iterable[str | Path]) -> Path | None:
    """The most recently written of those that exist."""
    existing = [path for path in map(Path, paths) if str(path) not in ("", ".") and path.exists()]
    return max(existing, key=lambda path: path.stat().st_mtime_ns, default=None)


class LastHealthy:
    """Keeps one checkpoint alive under a name of its own.

    A link costs no space while the original is there; where links can't be made (another file system)
    the checkpoint is copied. Sharded checkpoints are folders: their files are linked one by one.

    Args:
        folder: Where the kept checkpoint goes, as ``last_healthy.ckpt``.
    """

    def __init__(self, folder: Path) -> None:
        self._kept = folder / "last_healthy.ckpt"
        self._source: tuple[Path, int] | None = None
        self.step: int | None = None

    def note(self, paths: Iterable[str | Path], step: int) -> None:
        """The reading at `step` was healthy: keep the newest checkpoint among `paths`."""
        checkpoint = newest(paths)
        if checkpoint is None:
            return
        self.step = step
        source = (checkpoint, checkpoint.stat().st_mtime_ns)
        if source == self._source:
            return
        self._kept.parent.mkdir(parents=True, exist_ok=True)
        fresh = self._kept.with_suffix(".new")
        _remove(fresh)
        if checkpoint.is_dir():
            shutil.copytree(checkpoint, fresh, copy_function=_link)
        else:
            _link(str(checkpoint), str(fresh))
        if self._kept.is_dir():
            _remove(self._kept)
        fresh.replace(self._kept)
        self._source = source

    @property
    def path(self) -> Path | None:
        """Where the kept checkpoint is, or None as long as there is none."""
        return self._kept if self._source is not None else None

    def describe(self) -> str:
        """One sentence for the alarm's message."""
        if self._source is None:
            return "No checkpoint was saved while the run was healthy."
        return f"Last healthy checkpoint: {self._kept} (healthy at step {self.step}; saved as {self._source[0].name})."


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
