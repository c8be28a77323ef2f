"""One row for each labelled span of time (phone, word) of an utterance's frames, and one label for each frame."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from rankwatch.numerics.spans.span_frames import EXACT, FRAME_CENTRES, SpanFrames, frame_positions, span_frames


@dataclass(frozen=True)
class PooledSpans:
    """Rows of the spans of one utterance.

    Attributes:
        rows: (s, C) mean of each kept span's frames, float32, or float64 where the frames are.
        labels: Label of each row.
        frames: Which frames each row is the mean of, which of the spans it is, and what is to be said about each span.
    """

    rows: torch.Tensor
    labels: tuple[Any, ...]
    frames: SpanFrames

    @property
    def kept(self) -> tuple[int, ...]:
        """Which of the given spans the rows are of."""
        return self.frames.kept

    @property
    def reasons(self) -> tuple[frozenset[str], ...]:
        """For each given span what is to be said about it; empty for an ordinary one."""
        return self.frames.reasons

    @property
    def counts(self) -> dict[str, int]:
        """How many spans each reason holds for."""
        return self.frames.counts


def pool_spans(
    frames: Any,
    spans: Sequence[tuple[Any, ...]],
    frame_rate: float,
    convention: str = FRAME_CENTRES,
    *,
    first_centre: float | None = None,
) -> PooledSpans:
    """The mean of each span's frames: rows of phones or words rather than of frames.

    Args:
        frames: (T, C) frames of one layer for one utterance, without padding; numpy or torch, any float type.
        spans: (start, end, label) of each span, in seconds from the start of the audio.
        frame_rate: Frames a second: the sampling rate over the samples from one frame to the next (16,000 / 320 = 50
            for wav2vec 2.0, HuBERT and Whisper).
        convention: Which frames a span covers. `"frame_centres"`: those whose centre lies in it, as ABXpy's and
            fastabx's. `"pasad_phones"`: those that it touches, without a third at each end; `"pasad_words"`: all of
            those that it touches, as Pasad et al. 2021.
        first_centre: Seconds from the start of the audio to the centre of frame 0; None for half a frame.

    Returns:
        See `PooledSpans`. A span without frames has no row, and `reasons` says why: `shorter_than_a_frame`,
        `past_the_end`, `no_times`; `cut_at_the_end` and `overlapping` ones have theirs. A NaN in a frame is one in its
        rows.

    Raises:
        ValueError: If frames have another shape, the frame rate isn't positive, or the convention has no such name.

    Example:
        >>> frames = torch.arange(6.0)[:, None]
        >>> spans = [(0.0, 0.06, "a"), (0.06, 0.065, "t"), (0.065, 0.12, "o")]
        >>> found = pool_spans(frames, spans, frame_rate=50.0)
        >>> found.rows[:, 0].tolist(), found.labels, found.counts
        ([1.0, 4.0], ('a', 'o'), {'shorter_than_a_frame': 1})
    """
    values = torch.as_tensor(frames).detach()
    if values.ndim != 2:
        raise ValueError(f"expected frames of shape (T, C), got {tuple(values.shape)}")
    values = values if values.dtype == torch.float64 else values.float()
    found = span_frames(spans, len(values), frame_rate, convention=convention, first_centre=first_centre)
    means = [values[first:stop].mean(dim=0) for first, stop in found.ranges]
    return PooledSpans(
        torch.stack(means) if means else values.new_zeros(0, values.shape[1]),
        tuple(spans[k][2] for k in found.kept),
        found,
    )


def frame_labels(
    spans: Sequence[tuple[Any, ...]], n_frames: int, frame_rate: float, *, first_centre: float | None = None
) -> list[Any]:
    """The label of each frame: that of the span in which its centre lies.

    Args:
        spans: (start, end, label) of each span, in seconds from the start of the audio.
        n_frames: Frames of the utterance, without padding.
        frame_rate: Frames a second.
        first_centre: Seconds from the start of the audio to the centre of frame 0; None for half a frame.

    Returns:
        (n_frames,) labels; None where there is no span, or where spans of different labels overlap. A centre on the
        border of two spans belongs to the later one. A ValueError says that the frame rate isn't positive.

    Example:
        >>> frame_labels([(0.0, 0.03, "a"), (0.03, 0.07, "t")], n_frames=5, frame_rate=50.0)
        ['a', 't', 't', None, None]
    """
    to_frames = frame_positions(frame_rate, first_centre)
    found: list[Any] = [None] * n_frames
    taken = [False] * n_frames
    for start, end, label in spans:
        a, b = to_frames(float(start)), to_frames(float(end))
        if not (math.isfinite(a) and math.isfinite(b)):
            continue
        for i in range(max(math.ceil(a - EXACT), 0), min(math.ceil(b - EXACT), n_frames)):
            found[i] = label if not taken[i] or found[i] == label else None
            taken[i] = True
    return found
