"""Which files of a kind are in a folder, at any depth, behind links as well."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

_SHOWN = 5
"""Endings that are named at most."""


@dataclass
class FoundFiles:
    """What is in a folder.

    Attributes:
        files: Those sought, sorted.
        others: How many others there are of each ending.
    """

    files: list[Path] = field(default_factory=list)
    others: Counter[str] = field(default_factory=Counter)

    def passed_over(self) -> str:
        """How many other files there are, with the commonest endings; empty where there are none."""
        if not self.others:
            return ""
        kinds = [f"{count} {ending}" for ending, count in self.others.most_common(_SHOWN)]
        rest = len(self.others) - len(kinds)
        return f"{self.others.total()} others passed over ({', '.join(kinds)}{f', {rest} more kinds' if rest else ''})"


def find_files(folder: Path, endings: Sequence[str]) -> FoundFiles:
    """Look through a folder and all folders in it.

    Links to folders are followed, but none that leads back to where it is in, and no folder is looked through twice;
    links come after everything that is there without them.

    Args:
        folder: Where to look; is there.
        endings: Of the files sought, in lower case, with their dots.

    Returns:
        The files, and what else there is.
    """
    found = FoundFiles()
    for entry in _entries(folder):
        ending = Path(entry.name).suffix.lower()
        # A link that leads nowhere is named when it is read.
        if ending in endings and (entry.is_file() or entry.is_symlink()):
            found.files.append(Path(entry.path))
        else:
            found.others[ending or "without ending"] += 1
    found.files.sort()
    return found


def _entries(folder: Path) -> Iterator[os.DirEntry[str]]:
    """Everything but folders."""
    seen: set[Path] = set()
    folders, links = [folder], list[Path]()
    while folders or links:
        here = folders.pop() if folders else links.pop(0)
        real = here.resolve()
        if real in seen:
            continue
        seen.add(real)
        try:
            entries = sorted(os.scandir(here), key=lambda entry: entry.name)
        except PermissionError:  # as everywhere, what can't be seen isn't there
            continue
        for entry in entries:
            path = Path(entry.path)
            if not entry.is_dir():
                yield entry
            elif not entry.is_symlink():
                folders.append(path)
            elif path.resolve() not in (real, *real.parents):
                links.append(path)
