"""Which utterances a name in a table of labels, or the name of a file of alignments, stands for."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from pathlib import PurePath

from rankwatch.corpora.corpus import Utterance
from rankwatch.corpora.draft import as_path

AMBIGUOUS = "it fits several files of audio"


class NameMatcher:
    """Finds utterances by their id, or by the path or name of their audio, with or without ending.

    Where several files of audio have the same name, that with the most folders in common counts. Where the names that
    are looked for are the same but for their folders, a file of audio belongs to the one of them that has the most
    folders in common with it; to none where two have as many.

    Args:
        utterances: Those among which is looked.
        names: All paths that will be looked for.
    """

    def __init__(self, utterances: Sequence[Utterance], names: Iterable[str] = ()) -> None:
        self._ids = {utterance.id: i for i, utterance in enumerate(utterances)}
        self._audio: dict[str, dict[PurePath, list[int]]] = defaultdict(dict)
        for i, utterance in enumerate(utterances):
            audio = utterance.audio
            for key in {audio.name, audio.stem}:
                self._audio[key].setdefault(audio, []).append(i)
        # How many folders among the names end so, by the stem: a file belongs to a name whose ending no other has.
        self._folders: dict[str, Counter[tuple[str, ...]]] = defaultdict(Counter)
        for stem, folders in {(path.stem, path.parts[:-1]) for path in map(as_path, names)}:
            self._folders[stem].update(folders[i:] for i in range(len(folders) + 1))

    def by_id(self, name: str) -> int | None:
        """Look for an utterance.

        Args:
            name: What should be its id, or its id without the ending of a file.

        Returns:
            Its place among the utterances, or None where none has this id.
        """
        place = self._ids.get(name)
        return place if place is not None or "\\" not in name else self._ids.get(as_path(name).as_posix())

    def by_audio(self, name: str) -> list[int]:
        """Look for a file of audio.

        Args:
            name: Its name or the end of its path, with or without its ending.

        Returns:
            The places of all of its utterances; empty where no file fits.

        Raises:
            ValueError: If several fit equally well.
        """
        path = as_path(name)
        found = self._audio.get(path.name) or {}
        if not found and path.suffix[1:2].isalpha():  # "a.1" is no file "a"
            found = self._audio.get(path.stem, {})
        if len(path.parts) > 1:
            found = {audio: places for audio, places in found.items() if self._belongs(audio, path)}
        if not found:
            return []
        if len(found) == 1:
            return next(iter(found.values()))
        common = {audio: _common_folders(audio, path) for audio in found}
        best = [audio for audio in found if common[audio] == max(common.values())]
        if len(best) > 1:
            raise ValueError(AMBIGUOUS)
        return found[best[0]]

    def _belongs(self, audio: PurePath, path: PurePath) -> bool:
        ends = self._folders.get(path.stem)
        if ends is None or ends[()] < 2:
            return True
        count = _common_folders(audio, path)
        return count > 0 and ends[path.parts[-1 - count : -1]] == 1


def _common_folders(a: PurePath, b: PurePath) -> int:
    """How many folders before the names are the same."""
    count = 0
    for one, other in zip(reversed(a.parts[:-1]), reversed(b.parts[:-1]), strict=False):
        if one != other:
            break
        count += 1
    return count
