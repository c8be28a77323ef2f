r"""Which frames a span of time covers, by named conventions.

Frame i of a layer with f frames a second has its centre at :math:`c_i = c_0 + i / f`, with :math:`c_0 = 1 / (2f)` where
frame 0 stands for the first 1/f seconds. For a span from a to b seconds:

- `frame_centres`: the frames with :math:`a \le c_i \le b`. ABXpy (Schatz 2016) and fastabx (Poli et al. 2025).
- `pasad_words`: all frames that the span touches, frame i standing for :math:`[c_i - 1/(2f), c_i + 1/(2f)]`. Pasad et
  al. 2021 (2107.04734), for words; code "layerwise-analysis", revision c030f2a.
- `pasad_phones`: the same, with :math:`\lfloor (k + 1) / 3 \rfloor` of k frames cut from each end, and one frame where
  none would be left (the second of two). There, for phones.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

FRAME_CENTRES: Final = "frame_centres"
PASAD_PHONES: Final = "pasad_phones"
PASAD_WORDS: Final = "pasad_words"
CONVENTIONS: Final = (FRAME_CENTRES, PASAD_PHONES, PASAD_WORDS)

SHORTER_THAN_A_FRAME: Final = "shorter_than_a_frame"
"""No frame has its centre in the span: it has no row."""

PAST_THE_END: Final = "past_the_end"
"""None of its frames is there (after the last one, or before the first): it has no row."""

CUT_AT_THE_END: Final = "cut_at_the_end"
"""Some of its frames are not there; its row is of the others."""

OVERLAPPING: Final = "overlapping"
"""It shares time with another span; both have rows, and these share frames."""

NO_TIMES: Final = "no_times"
"""Its end lies before its start, or one of them is NaN or infinite: it has no row."""

DROPPED: Final = frozenset({SHORTER_THAN_A_FRAME, PAST_THE_END, NO_TIMES})
"""Reasons for which a span has no row."""

EXACT = 1e-6
"""Frames by which a time may miss a frame's centre or edge and still be on it: more than rounding, less than a label's
resolution."""


@dataclass(frozen=True)
class SpanFrames:
    """The frames of some spans.

    Attributes:
        ranges: (first, stop) of each span that has frames, as of a slice.
        kept: Which of the spans these are, in their order.
        reasons: For each span given, what is to be said about it; empty for an ordinary one.
    """

    ranges: tuple[tuple[int, int], ...]
    kept: tuple[int, ...]
    reasons: tuple[frozenset[str], ...]

    @property
    def counts(self) -> dict[str, int]:
        """How many spans each reason holds for."""
        return dict(sorted(Counter(reason for reasons in self.reasons for reason in reasons).items()))


def span_frames(
    spans: Sequence[tuple[Any, ...]],
    n_frames: int,
    frame_rate: float,
    *,
    convention: str = FRAME_CENTRES,
    first_centre: float | None = None,
) -> SpanFrames:
    """Which frames each span covers.

    Args:
        spans: (start, end) of each in seconds; what follows (a label) is not looked at.
        n_frames: Frames that there are.
        frame_rate: Frames a second: the sampling rate over the samples from one frame to the next.
        convention: `"frame_centres"`, `"pasad_phones"` or `"pasad_words"`, see above.
        first_centre: Seconds from the start of the audio to the centre of frame 0; None for half a frame. (wav2vec
            2.0's convolutions without padding: 0.0125, their receptive field being 400 samples of 16 kHz.)

    Returns:
        See `SpanFrames`. A frame whose centre is on the border of two spans is in both.

    Raises:
        ValueError: If the frame rate isn't positive, or the convention has no such name.

    Example:
        >>> found = span_frames([(0.0, 0.06, "a"), (0.06, 0.07, "b"), (0.07, 0.2, "c")], n_frames=6, frame_rate=50.0)
        >>> found.ranges
        ((0, 3), (3, 4), (3, 6))
        >>> found.counts
        {'cut_at_the_end': 1}
    """
    if convention not in CONVENTIONS:
        raise ValueError(f"convention must be one of {', '.join(map(repr, CONVENTIONS))}, got {convention!r}")
    to_frames = frame_positions(frame_rate, first_centre)
    times = [(float(span[0]), float(span[1])) for span in spans]
    reasons = [{OVERLAPPING} if shared else set() for shared in _overlapping(times)]
    ranges, kept = [], []
    for k, (start, end) in enumerate(times):
        if not _is_a_span(start, end):
            reasons[k].add(NO_TIMES)
            continue
        first, stop = _frames_of(to_frames(start), to_frames(end), convention)
        inside = max(first, 0), min(stop, n_frames)
        if stop <= first:
            reasons[k].add(SHORTER_THAN_A_FRAME)
        elif inside[1] <= inside[0]:
            reasons[k].add(PAST_THE_END)
        else:
            reasons[k] |= {CUT_AT_THE_END} if inside != (first, stop) else set()
            ranges.append(inside)
            kept.append(k)
    return SpanFrames(tuple(ranges), tuple(kept), tuple(frozenset(found) for found in reasons))


def frame_positions(frame_rate: float, first_centre: float | None) -> Callable[[float], float]:
    """The map from seconds to frames, on which frame i has its centre at i.

    Args:
        frame_rate: Frames a second.
        first_centre: Seconds to the centre of frame 0; None for half a frame.

    Returns:
        A function of seconds.

    Raises:
        ValueError: If the frame rate isn't positive, or the centre isn't finite.
    """
    if not (math.isfinite(frame_rate) and frame_rate > 0.0):
        raise ValueError(f"frame_rate must be positive, got {frame_rate}")
    centre = 0.5 / frame_rate if first_centre is None else float(first_centre)
    if not math.isfinite(centre):
        raise ValueError(f"first_centre must be a time in seconds, got {first_centre}")
    return lambda seconds: (seconds - centre) * frame_rate


def _is_a_span(start: float, end: float) -> bool:
    return math.isfinite(start) and math.isfinite(end) and start <= end


def _frames_of(start: float, end: float, convention: str) -> tuple[int, int]:
    """(first, stop) from positions at which frame i has its centre at i."""
    if convention == FRAME_CENTRES:
        return math.ceil(start - EXACT), math.floor(end + EXACT) + 1
    first, stop = math.floor(start + 0.5 + EXACT), math.ceil(end + 0.5 - EXACT)
    cut = (stop - first + 1) // 3 if convention == PASAD_PHONES else 0
    first, stop = first + cut, stop - cut
    return first, max(stop, first + 1)


def _overlapping(times: list[tuple[float, float]]) -> list[bool]:
    """Whether each span shares time with another."""
    order = sorted((k for k, span in enumerate(times) if _is_a_span(*span)), key=lambda k: times[k])
    found, latest = [False] * len(times), -math.inf
    for before, k in zip([None, *order], order, strict=False):
        found[k] |= times[k][0] < latest
        if before is not None:
            found[before] |= times[k][0] < times[before][1]
        latest = max(latest, times[k][1])
    return found
