"""A corpus in the making: utterances are added one by one, and what can't be used is left out by name."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePath, PureWindowsPath

from rankwatch.corpora.corpus import Utterance

NO_FILE = "there is no such file of audio"
OF_WINDOWS = (
    "there is no such file of audio: it is a path with a drive, as Windows has them; write paths that begin at the "
    "manifest's folder, or at root="
)
NO_PATH = "it names no file of audio"
SAME_ID = "its id was there before"
_DRIVE = re.compile(r"(^|/)[A-Za-z]:/")


@dataclass
class Draft:
    """What readers of formats fill.

    Attributes:
        name: What the corpus is called.
        encoding: Of its text files, unless a byte-order mark says another.
        utterances: Those that were added, in their order.
        left_out: What was left out, and why.
        alignments: Files of alignments that a manifest's rows name, by the utterance's id.
        entities: Named entities by the utterance's id: tag, first character in its text, and number of characters.
        passed_over: How many other files a folder has, in words.
    """

    name: str
    encoding: str = "utf-8"
    utterances: list[Utterance] = field(default_factory=list)
    left_out: dict[str, str] = field(default_factory=dict)
    alignments: dict[str, Path] = field(default_factory=dict)
    entities: dict[str, list[tuple[str, int, int]]] = field(default_factory=dict)
    passed_over: str = ""
    _ids: set[str] = field(default_factory=set)
    _there: dict[str, bool] = field(default_factory=dict)

    def add(self, where: str, utterance: Utterance, *, found: bool = False) -> bool:
        """Add an utterance, unless its id was there before or its audio isn't there.

        Args:
            where: The row or line that it comes from, for what is left out.
            utterance: The utterance.
            found: Whether its file was found by looking for it, or lies within another one, so that it is there.

        Returns:
            Whether it was added.
        """
        audio = os.fspath(utterance.audio)
        if audio not in self._there:
            self._there[audio] = found or os.path.isfile(audio)  # noqa: PTH113 - half the time of Path's, ten thousand times
        if not self._there[audio]:
            self.leave_out(f"{where}: {audio}", OF_WINDOWS if _DRIVE.search(audio) and os.name != "nt" else NO_FILE)
        elif utterance.id in self._ids:
            self.leave_out(f"{where}: {utterance.id}", SAME_ID)
        else:
            self._ids.add(utterance.id)
            self.utterances.append(utterance)
            return True
        return False

    def leave_out(self, what: str, why: str) -> None:
        """Name something that is left out; what is named twice keeps both reasons.

        Args:
            what: A file, a row or the spans of an utterance.
            why: The reason, worded alike for all that share it.
        """
        before = self.left_out.get(what)
        self.left_out[what] = why if before in (None, why) else f"{before}; {why}"

    def replace(self, utterances: Iterable[Utterance]) -> None:
        """Take these instead of those that were added.

        Args:
            utterances: The new ones.
        """
        self.utterances = list(utterances)
        self._ids = {utterance.id for utterance in self.utterances}


def base_folder(names: Sequence[str], folders: Iterable[Path]) -> Path:
    """The folder at which the relative paths of a manifest begin.

    Args:
        names: Paths as the manifest has them.
        folders: Where they might begin, the likeliest first.

    Returns:
        The first of the folders in which one of the first paths is there, or the first of all.
    """
    folders = list(folders)
    for folder in folders:
        if any(os.path.isfile(folder / name) for name in names[:5]):  # noqa: PTH113 - Path's raises where a name is too long
            return folder
    return folders[0]


def as_path(name: str) -> PurePath:
    r"""A path as it was written, on this system or on Windows.

    Args:
        name: The path. A backslash is Windows' mark of a folder: hardly a file is called so elsewhere.

    Returns:
        The path with this system's folders.

    Example:
        >>> as_path("C:\\clips\\a.wav").as_posix()
        'C:/clips/a.wav'
    """
    return PurePath(PureWindowsPath(name).as_posix() if "\\" in name else name)
