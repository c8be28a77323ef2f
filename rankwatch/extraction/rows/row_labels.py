"""What is known of a labelled set's utterances and of moments in them, found by an utterance's key."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

NONE = -1
"""Where there is no label, or no speaker."""


@dataclass(frozen=True)
class Labelled:
    """One utterance.

    Attributes:
        label: Its label's number, or -1.
        speaker: Its speaker's number, or -1.
        seconds: How much of it is heard.
        spans: (start, end, label's number) in seconds, one after the other.
    """

    label: int
    speaker: int
    seconds: float
    spans: Sequence[tuple[float, float, int]] = ()


class Labels:
    """Gives rows their labels; numbers mean the same in all processes.

    Args:
        utterances: What is known, by key (`rankwatch.extraction.inputs.utterance_keys.fingerprint`).
        whole: Whether utterances as a whole have labels, in this set.
        frames: Whether moments in them have.
        words: About the set, for the table.
    """

    def __init__(self, utterances: Mapping[int, Labelled], *, whole: bool, frames: bool, words: str) -> None:
        self.words, self.known = words, dict(utterances)
        self.whole, self.frames = whole, frames
        self._keys = np.array(sorted(utterances), dtype=np.int64)
        known = [utterances[key] for key in self._keys.tolist()]
        self._label = np.array([one.label for one in known], dtype=np.int64)
        self._speaker = np.array([one.speaker for one in known], dtype=np.int64)
        self._seconds = np.array([one.seconds for one in known])
        # One axis of time for all: each utterance has a stretch of it that is longer than any of them.
        self._stretch = 1.0 + max((max(one.seconds, *(s[1] for s in one.spans), 0.0) for one in known), default=0.0)
        spans = [
            (i * self._stretch + a, i * self._stretch + b, y) for i, one in enumerate(known) for a, b, y in one.spans
        ]
        self._starts, self._ends, self._of_span = (
            np.array([span[part] for span in spans], dtype=kind) for part, kind in enumerate((float, float, np.int64))
        )

    def of_utterances(self, keys: Tensor) -> Tensor:
        """(n, 2) int64: label and speaker of each key; (n, 0) where utterances as a whole have none."""
        if not self.whole:
            return unlabelled(len(keys))
        at = self._at(keys)
        return torch.from_numpy(np.stack([self._label[at], self._speaker[at]], axis=1))

    def of_frames(self, keys: Tensor, places: Tensor) -> Tensor:
        """(n, 2) int64: the label that is spoken where each frame lies, and the speaker.

        Args:
            keys: (n,) the utterance of each frame.
            places: (n,) where in it the frame lies, from 0 to 1.

        Returns:
            Label -1 where none is spoken; (n, 0) where the set has no alignments.
        """
        if not self.frames:
            return unlabelled(len(keys))
        at = self._at(keys)
        time = at * self._stretch + places.numpy() * self._seconds[at]
        last = np.searchsorted(self._starts, time, side="right") - 1
        within = last >= 0
        within[within] = time[within] < self._ends[last[within]]
        label = np.full(len(at), NONE, dtype=np.int64)
        label[within] = self._of_span[last[within]]
        return torch.from_numpy(np.stack([label, self._speaker[at]], axis=1))

    def _at(self, keys: Tensor) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
        at = np.searchsorted(self._keys, keys.numpy()).clip(max=len(self._keys) - 1)
        if len(at) and (self._keys[at] != keys.numpy()).any():
            raise KeyError("rows of an utterance that isn't in the labelled set")
        return at.astype(np.int64)


def unlabelled(rows: int) -> Tensor:
    """(n, 0) int64: the labels of rows of which nothing is known."""
    return torch.zeros(rows, 0, dtype=torch.int64)
