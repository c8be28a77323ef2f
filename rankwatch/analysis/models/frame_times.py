r"""When the frames of a layer are: the distance of two frames, and the time of the first.

A front end with windows of r samples every h samples makes of n samples :math:`T = \lfloor (n - r) / h \rfloor + 1`
frames, and frame i is centred at :math:`r/2 + h i`. Both numbers follow from the lengths at which a model makes one
frame more, so that no architecture has to be known. Padding moves r: where frames begin at sample 0, r is 1. Where
everything is padded to one window, other things are asked: see `window_times`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch

from rankwatch.analysis.models.utterance_frames import UtteranceFrames
from rankwatch.analysis.models.window_times import window_times

_SHORTEST = 1.0
"""Seconds of the shortest input that is tried."""

_STEPS = 8
"""Frames over which the distance of two is measured."""


_TIE = 1e-6
"""Share of a step within which two frames are as near."""


@dataclass(frozen=True)
class FrameTimes:
    """Times of a layer's frames.

    Attributes:
        step: Seconds from one frame to the next.
        first: Seconds from the beginning of the audio to the centre of the first frame.
    """

    step: float
    first: float

    def at(self, seconds: float, count: int) -> int:
        """The frame whose centre is nearest to a time.

        Args:
            seconds: From the beginning of the audio.
            count: Frames that there are, at least one.

        Returns:
            Its index; of two that are as near the earlier one, always, so that drawn times that lie between the frames
            of a model are off by the same everywhere.

        Example:
            >>> FrameTimes(step=0.02, first=0.0125).at(0.05, 49)
            2
        """
        return min(max(math.ceil((seconds - self.first) / self.step - 0.5 - _TIE), 0), count - 1)


def frame_times(model: UtteranceFrames) -> tuple[dict[str, FrameTimes], dict[str, str]]:
    """When the frames of each layer are, found by running noise of several lengths, or in a window noise that changes.

    Args:
        model: Runs utterances.

    Returns:
        The times by layer; for layers without any, or whose times are a guess, the reason.
    """
    if model.window is not None:
        lines, failures = window_times(model)
        return {name: FrameTimes(step, first) for name, (step, first) in lines.items()}, failures
    counts = _Counts(model)
    times, failures = {}, {}
    shortest = round(_SHORTEST * model.sample_rate)
    for name in counts.of(shortest):
        fitted = _fitted(lambda length, name=name: counts.of(length).get(name, 0), shortest)  # type: ignore[misc]
        if fitted is None:
            failures[name] = f"layer {name!r}: its number of frames does not follow the length of the audio"
        else:
            times[name] = FrameTimes(fitted[0] / model.sample_rate, fitted[1] / model.sample_rate)
    failures = counts.failures | failures
    return times, {name: reason for name, reason in failures.items() if name not in times}


class _Counts:
    """How many frames each layer makes of noise of a length; each length is run once."""

    def __init__(self, model: UtteranceFrames) -> None:
        self._model = model
        self._known: dict[int, dict[str, int]] = {}
        self.failures: dict[str, str] = {}

    def of(self, length: int) -> dict[str, int]:
        """Frames of each layer for so many samples."""
        if length not in self._known:
            found = self._model(0.1 * torch.randn(length, generator=torch.Generator().manual_seed(0)))
            self.failures.update({name: str(error) for name, error in found.failures.items()})
            self._known[length] = {name: len(frames) for name, frames in found.frames.items()}
        return self._known[length]


def _fitted(count: Callable[[int], int], shortest: int) -> tuple[float, float] | None:
    """Samples from frame to frame and to the centre of the first; None where no such numbers fit.

    The lengths at which one frame more appears are found to the sample: the k-th frame is there from r + h (k - 1) on.

    Args:
        count: Frames of an input of so many samples.
        shortest: Samples to begin with.

    Returns:
        Both numbers, or None.
    """
    frames = count(shortest)
    step = 64
    while count(shortest + step) <= frames:
        step *= 2
        if step > 4 * shortest:
            return None
    one_more = _first(count, frames + 1, shortest, shortest + step)
    far = one_more + step
    while count(far) < frames + 1 + _STEPS:
        far += _STEPS * step // 2
        if far > 20 * shortest:
            return None
    hop = (_first(count, frames + 1 + _STEPS, one_more, far) - one_more) / _STEPS
    field = one_more - hop * frames
    for length in (shortest + 37, far - 41):
        if abs(math.floor((length - field) / hop) + 1 - count(length)) > 1:
            return None
    return hop, field / 2.0


def _first(count: Callable[[int], int], wanted: int, low: int, high: int) -> int:
    """The shortest length above `low`, which has fewer frames, that has as many as wanted, as `high` has."""
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if count(middle) >= wanted else (middle, high)
    return high
