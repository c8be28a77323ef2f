"""Which utterances a name in a table of labels, or the name of a file of alignments, stands for."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import PurePath

from rankwatch.corpora.corpus import Utterance

AMBIGUOUS = "it fits several files of audio"


class NameMatcher:
    """Finds utterances by their id, or by the path or name of their audio, with or without ending.

    Where several files of audio have the same name, that with the most folders in common counts.

    Args:
        utterances: Those among which is looked.
    """

    def __init__(self, utterances: Sequence[Utterance]) -> None:
        self._ids = {utterance.id: i for i, utterance in enumerate(utterances)}
        self._audio: dict[str, dict[PurePath, list[int]]] = defaultdict(dict)
        for i, utterance in enumerate(utterances):
            audio = utterance.audio
            for key in {audio.name, audio.stem}:
                self._audio[key].setdefault(audio, []).append(i)

    def by_id(self, name: str) -> int | None:
        """Look for an utterance.

        Args:
            name: What should be its id, or its id without the ending of a file.

        Returns:
            Its place among the utterances, or None where none has this id.
        """
        return self._ids.get(name)

    def by_audio(self, name: str) -> list[int]:
        """Look for a file of audio.

        Args:
            name: Its name or the end of its path, with or without its ending.

        Returns:
            The places of all of its utterances; empty where no file fits.

        Raises:
            ValueError: If several fit equally well.
        """
        path = PurePath(name)
        found = self._audio.get(path.name) or self._audio.get(path.stem)
        if not found:
            return []
        if len(found) == 1:
            return next(iter(found.values()))
        common = {audio: _common_folders(audio, path) for audio in found}
        best = [audio for audio in found if common[audio] == max(common.values())]
        if len(best) > 1:
            raise ValueError(AMBIGUOUS)
        return found[best[0]]


def _common_folders(a: PurePath, b: PurePath) -> int:
    """How many folders before the names are the same."""
    count = 0
    for one, other in zip(reversed(a.parts[:-1]), reversed(b.parts[:-1]), strict=False):
        if one != other:
            break
        count += 1
    return count
