"""Which runs are in TensorBoard's log folders: a bounded search that follows no link and no path that was asked for."""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from rankwatch.reporting.recorded.run_reader import holds_records

MOST_RUNS = 1_000
_MOST_ENTRIES = 200_000
_LONGEST_NAME = 300


@dataclass(frozen=True)
class FoundRun:
    """A run whose records are in a log folder.

    Attributes:
        name: What it is called, which no other run of the same search is.
        path: Its records.
        root: The log folder, without links.
        callback: The callback's name.
        event_runs: What TensorBoard may call the folder in which its event files are.
        modified: When it was last written, in seconds since 1970.
    """

    name: str
    path: Path
    root: Path
    callback: str
    event_runs: tuple[str, ...]
    modified: float

    def is_inside(self) -> bool:
        """Whether it is still a file of the log folder, and no link or pipe that has taken its place."""
        if self.path.is_symlink() or not self.path.is_file():
            return False
        return self.path.resolve().is_relative_to(self.root)


@dataclass
class FoundRuns:
    """What a search has found.

    Attributes:
        runs: By name, the newest first.
        notes: What was left out, in sentences.
    """

    runs: dict[str, FoundRun] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def log_folders(logdir: str, logdir_spec: str = "") -> dict[str, str]:
    """Log folders by the name that TensorBoard puts before their runs' names.

    Args:
        logdir: As ``--logdir`` has it.
        logdir_spec: As ``--logdir_spec`` has it: ``name:path,name:path``, of which names may be missing.

    Returns:
        Paths or URLs.

    Example:
        >>> log_folders("logs"), log_folders("", "a:/x,b:/y")
        ({'': 'logs'}, {'a': '/x', 'b': '/y'})
    """
    if logdir:
        return {"": logdir}
    found = {}
    for part in filter(None, logdir_spec.split(",")):
        name, _, path = part.partition(":")
        if not path or is_remote(part) or part.startswith("/") or os.path.splitdrive(part)[0]:
            name, path = "", part
        found[name or path] = path
    return found


def is_remote(folder: str) -> bool:
    """Whether a log folder isn't on this machine's disks."""
    return re.match(r"[a-zA-Z][0-9a-zA-Z.+-]*://", folder) is not None


class LogSearch:
    """Looks through log folders, as often as asked.

    Args:
        folders: Paths by prefix, see `log_folders`.
    """

    def __init__(self, folders: dict[str, str]) -> None:
        self._folders = {
            prefix: Path(folder).expanduser().absolute() for prefix, folder in folders.items() if not is_remote(folder)
        }
        self._ours: dict[tuple[str, int], bool] = {}

    def look(self) -> FoundRuns:
        """Look through all folders anew.

        Returns:
            The runs; a folder that isn't there holds none.
        """
        found: list[FoundRun] = []
        walk = _Walk()
        for prefix, folder in self._folders.items():
            root = folder.resolve()
            for entry in walk.files(root):
                run = self._run(prefix, root, entry)
                found += [run] if run is not None else []
        found.sort(key=lambda run: -run.modified)
        notes = walk.notes()
        if len(found) > MOST_RUNS:
            notes.append(f"There are {len(found):,} runs; the {MOST_RUNS:,} that were written last are listed.")
        return FoundRuns(_named(found[:MOST_RUNS]), notes)

    def _run(self, prefix: str, root: Path, entry: os.DirEntry[str]) -> FoundRun | None:
        try:
            state = entry.stat(follow_symlinks=False)
        except OSError:  # taken away meanwhile
            return None
        path = Path(entry.path)
        about = (entry.path, state.st_ino)
        if not self._ours.get(about):
            self._ours[about] = holds_records(path)
        if not self._ours[about]:
            return None
        folder = path.parent
        outer = folder.parent if folder.name == "rankwatch" and folder != root else folder
        own = [] if path.stem == "RankWatch" else [path.stem]
        name = "/".join(filter(None, [prefix, *outer.relative_to(root).parts, *own])) or root.name
        events = dict.fromkeys(_event_run(prefix, one.relative_to(root)) for one in (outer, folder))
        return FoundRun(readable(name), path, root, path.stem, tuple(events), state.st_mtime)


def _event_run(prefix: str, folder: Path) -> str:
    inside = folder.as_posix()
    return inside if not prefix else prefix if inside == "." else f"{prefix}/{inside}"


def readable(name: str) -> str:
    """A file's name as text that can be sent, of bounded length; bytes that are no text become question marks."""
    text = name.encode("utf-8", errors="replace").decode("utf-8")
    return text if len(text) <= _LONGEST_NAME else "…" + text[1 - _LONGEST_NAME :]


def _named(found: list[FoundRun]) -> dict[str, FoundRun]:
    """By name; those that share one get the path in the log folder, and numbers where that isn't enough."""
    names = [run.name for run in found]
    runs: dict[str, FoundRun] = {}
    for run in found:
        name = run.name if names.count(run.name) == 1 else readable(run.path.relative_to(run.root).as_posix())
        unique, count = name, 1
        while unique in runs:
            count += 1
            unique = f"{name} ({count})"
        runs[unique] = dataclasses.replace(run, name=unique)
    return runs


class _Walk:
    """Files in folders, and what was left out on the way."""

    def __init__(self) -> None:
        self._entries = self._links = 0

    def files(self, root: Path) -> Iterator[os.DirEntry[str]]:
        """Files whose name ends as records' do, and which are neither links nor pipes."""
        folders = [str(root)]
        while folders and self._entries < _MOST_ENTRIES:
            try:
                entries = list(os.scandir(folders.pop()))
            except OSError:  # not there, or not ours to see
                continue
            self._entries += len(entries)
            for entry in entries:
                if entry.is_symlink():
                    self._links += entry.name.endswith(".jsonl") or entry.is_dir()
                elif entry.is_dir(follow_symlinks=False):
                    folders.append(entry.path)
                elif entry.name.endswith(".jsonl") and entry.is_file(follow_symlinks=False):
                    yield entry

    def notes(self) -> list[str]:
        """What was left out, in sentences."""
        said = []
        if self._links:
            many = self._links > 1
            said.append(
                f"{self._links} link{'s' if many else ''} in the log folder {'are' if many else 'is'} not followed, "
                "since a link may lead anywhere: start TensorBoard on the folder that is meant."
            )
        if self._entries >= _MOST_ENTRIES:
            said.append(f"The log folder holds more than {_MOST_ENTRIES:,} files; not all were looked at.")
        return said
