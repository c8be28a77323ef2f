"""A line that a process leaves for the one that has started it and waits for it."""

from __future__ import annotations

import contextlib
import os
import tempfile
import uuid
import weakref
from pathlib import Path


class NoteToParent:
    """A file in this machine's temporary folder that a copy of this object, in another process, may write.

    Whoever made the object reads it, and removes it at the latest at its own end.
    """

    def __init__(self) -> None:
        self._file = Path(tempfile.gettempdir()) / f"rankwatch-{uuid.uuid4().hex}.note"
        self._owner = os.getpid()
        weakref.finalize(self, _remove, self._file, self._owner)

    def leave(self, line: str) -> None:
        """Write, unless this is the process that made the object."""
        if os.getpid() != self._owner:
            with contextlib.suppress(OSError):
                self._file.write_text(line, encoding="utf-8")

    def read(self) -> str:
        """What another process has left, or nothing; to any process but the one that made the object, nothing."""
        try:
            return self._file.read_text(encoding="utf-8") if os.getpid() == self._owner else ""
        except OSError:
            return ""


def _remove(file: Path, owner: int) -> None:
    if os.getpid() == owner:
        file.unlink(missing_ok=True)
