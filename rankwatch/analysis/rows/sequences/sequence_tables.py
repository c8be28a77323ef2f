"""Frames of whole spans in all layers, one span after the other: what ABX compares."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rankwatch.analysis.models.frame_times import FrameTimes
from rankwatch.corpora import Span
from rankwatch.numerics.spans.span_frames import span_frames


@dataclass(frozen=True)
class SequenceRows:
    """Frames of some spans of one utterance.

    Attributes:
        frames: (m, C) by layer, one span after the other.
        lengths: How many of them are of each span, by layer.
        places: Which of the utterance's spans these are.
    """

    frames: dict[str, Tensor]
    lengths: dict[str, list[int]]
    places: list[int]


@dataclass(frozen=True)
class SequenceTable:
    """Frames of the spans of one tier, of all utterances.

    Attributes:
        frames: (m, C) by layer, one span after the other, in memory or read when they are asked for.
        lengths: (n,) how many of them are of each span, by layer.
        utterances: (n,) which utterance each span is of.
        places: (n,) which of the utterance's spans it is.
    """

    frames: Mapping[str, Tensor]
    lengths: Mapping[str, NDArray[np.int64]]
    utterances: NDArray[np.int64]
    places: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.places)


def sequence_rows(
    spans: Sequence[Span], at: Sequence[int], frames: Mapping[str, Tensor], times: Mapping[str, FrameTimes]
) -> SequenceRows:
    """The frames of spans: those whose centre lies in them, as fastabx has it.

    Args:
        spans: The utterance's.
        at: Places of those that are wanted.
        frames: (T, C) of each layer.
        times: When the frames of each layer are.

    Returns:
        The frames. A span that any layer has no frame for is left out of all of them.
    """
    found = {
        name: span_frames(
            [(spans[k].start, spans[k].end) for k in at],
            len(rows),
            1.0 / times[name].step,
            first_centre=times[name].first,
        )
        for name, rows in frames.items()
    }
    kept = sorted(set(range(len(at))).intersection(*(one.kept for one in found.values())))
    taken: dict[str, Tensor] = {}
    lengths: dict[str, list[int]] = {}
    for name, rows in frames.items():
        ranges = dict(zip(found[name].kept, found[name].ranges, strict=True))
        parts = [rows[slice(*ranges[k])] for k in kept]
        taken[name] = torch.cat(parts) if parts else rows[:0].clone()
        lengths[name] = [len(part) for part in parts]
    return SequenceRows(taken, lengths, [at[k] for k in kept])
