"""Lines of a JSONL file, one after the other, whatever is in them: never more than one bounded line in memory."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rankwatch.runtime.files.run_paths import RunPath, run_path

LONGEST_LINE = 4 * 2**20
"""Bytes. The longest record that rankwatch writes (an episode of all alarms of 100 layers) has a hundredth of it."""

_FIRST_LINES = 20

_TELLING = 1_024
"""Bytes that tell a file from another in its place: a run's header stands first, with its time."""

_EXAMPLES = 3
"""Line numbers that are named of each kind of damage."""


class RecordLines:
    """The records of a file, which may go on growing: each call of `new` goes on where the one before has ended.

    A last line without its end is left for the next call, since a run may be writing it.

    Args:
        path: A file, or its URL in an object store.

    Attributes:
        restarted: Whether the file was another one at the newest call (shorter, or with another beginning), so that it
            was read from its start.
        offset: Bytes that were read.
    """

    def __init__(self, path: str | Path) -> None:
        self._path: RunPath = run_path(path)
        self.restarted = False
        self._forget()

    def _forget(self) -> None:
        self.offset = self._number = 0
        self._beginning = b""
        self._unfinished = False
        self._damage: dict[str, list[int]] = {}

    def new(self) -> Iterator[dict[str, Any]]:
        """Records that were written since the call before.

        A missing file raises `FileNotFoundError`.

        Yields:
            Each line that is a JSON object.
        """
        with self._path.open("rb") as file:
            end = file.seek(0, 2)
            file.seek(0)
            beginning = file.read(_TELLING)
            self.restarted = end < self.offset or not beginning.startswith(self._beginning)
            if self.restarted:
                self._forget()
            self._beginning = beginning
            file.seek(self.offset)
            self._unfinished = False
            while line := file.readline(LONGEST_LINE):
                whole = line.endswith(b"\n")
                if not whole and len(line) < LONGEST_LINE:
                    self._unfinished = True
                    return
                self._number += 1
                self.offset += len(line)
                if not whole:
                    self.offset += _skip_line(file)
                    self._note("longer than any record of rankwatch's")
                    continue
                record = self._parsed(line)
                if record is not None:
                    yield record

    def first(self) -> dict[str, Any]:
        """The first line that is a JSON object, if it is among the first few; else an empty one."""
        with self._path.open("rb") as file:
            for _ in range(_FIRST_LINES):
                record = self._parsed(file.readline(max(LONGEST_LINE - file.tell(), 0)))
                if record is not None:
                    return record
        return {}

    def _parsed(self, line: bytes) -> dict[str, Any] | None:
        if not line.strip():
            return None
        try:
            record = json.loads(line)
        except (ValueError, RecursionError):  # bytes that are no UTF-8 are a ValueError, too
            self._note("cut off or broken")
            return None
        if not isinstance(record, dict):
            self._note("no record of rankwatch's")
            return None
        return record

    def _note(self, what: str) -> None:
        self._damage.setdefault(what, []).append(self._number)
        del self._damage[what][_EXAMPLES:-1]  # the newest stands for the count

    def problems(self) -> list[str]:
        """What couldn't be read, in sentences."""
        said = []
        for what, numbers in self._damage.items():
            several = len(numbers) > 1
            listed = ", ".join(map(str, numbers[:_EXAMPLES])) + (" and others" if len(numbers) > _EXAMPLES else "")
            said.append(f"Line{'s' if several else ''} {listed} {'are' if several else 'is'} {what}, and left out.")
        if self._unfinished:
            said.append("The last line has no end yet: the run is writing it, or was killed while it did.")
        return said


def _skip_line(file: Any) -> int:
    """Read on to the end of the line, a bounded piece at a time.

    Returns:
        Bytes that were passed over.
    """
    passed = 0
    while piece := file.readline(LONGEST_LINE):
        passed += len(piece)
        if piece.endswith(b"\n"):
            break
    return passed
