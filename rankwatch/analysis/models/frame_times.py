r"""When the frames of a layer are: the distance of two frames, and the time of the first.

A front end with windows of r samples every h samples makes of n samples :math:`T = \lfloor (n - r) / h \rfloor + 1`
frames, and frame i is centred at :math:`r/2 + h i`. Both numbers follow from how many frames a model makes of inputs of
several lengths, so that no architecture has to be known: h is the slope, and r lies in the one interval that all the
lengths allow. Padding moves r: with so much that frames begin at sample 0, r is 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from rankwatch.analysis.models.utterance_frames import UtteranceFrames

_LENGTHS = 12
"""Inputs of different lengths that are tried."""

_SECONDS = (1.0, 3.0)
"""Their shortest and longest."""


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
            Its index.

        Example:
            >>> FrameTimes(step=0.02, first=0.0125).at(0.05, 49)
            2
        """
        return int(min(max(round((seconds - self.first) / self.step), 0), count - 1))


def frame_times(model: UtteranceFrames) -> tuple[dict[str, FrameTimes], dict[str, str]]:
    """When the frames of each layer are, found by running noise of several lengths.

    Args:
        model: Runs utterances.

    Returns:
        The times by layer, and for layers without any the reason.
    """
    if model.window is not None:
        return _of_window(model)
    generator = torch.Generator().manual_seed(0)
    counts: dict[str, list[tuple[int, int]]] = {}
    failures: dict[str, str] = {}
    shortest, longest = (round(s * model.sample_rate) for s in _SECONDS)
    for length in np.linspace(shortest, longest, _LENGTHS).round().astype(int).tolist():
        length += 37 * (length % 11)  # in no step with the model's own
        found = model(0.1 * torch.randn(length, generator=generator))
        failures.update({name: str(error) for name, error in found.failures.items()})
        for name, frames in found.frames.items():
            counts.setdefault(name, []).append((length, len(frames)))
    times = {}
    for name, pairs in counts.items():
        fitted = _fitted(pairs)
        if fitted is None:
            failures[name] = f"layer {name!r}: its number of frames does not follow the length of the audio ({pairs})"
        else:
            times[name] = FrameTimes(fitted[0] / model.sample_rate, fitted[1] / model.sample_rate)
    return times, {name: reason for name, reason in failures.items() if name not in times}


def _of_window(model: UtteranceFrames) -> tuple[dict[str, FrameTimes], dict[str, str]]:
    """A window of one length is divided evenly among its frames."""
    assert model.window is not None
    samples = round(model.window * model.sample_rate)
    found = model(0.1 * torch.randn(samples, generator=torch.Generator().manual_seed(0)))
    times = {}
    for name, frames in found.frames.items():
        step = model.window / len(frames)
        times[name] = FrameTimes(step, step / 2)
    return times, {name: str(error) for name, error in found.failures.items()}


def _fitted(pairs: Sequence[tuple[int, int]]) -> tuple[float, float] | None:
    """Samples from frame to frame and to the centre of the first; None where no such numbers fit."""
    samples, frames = np.asarray(pairs, dtype=np.float64).T
    if len(np.unique(frames)) < 3:
        return None
    slope = float(np.polyfit(frames, samples, 1)[0])
    whole = max(1.0, round(slope))
    for step in (whole, slope):
        inside = samples - step * frames
        low, high = inside.max() + 1.0, inside.min() + step
        if low <= high + 1.0:
            return step, float(low + high) / 4.0
    wide = bool(np.abs(samples - np.polyval(np.polyfit(frames, samples, 1), frames)).max() > 2.0 * slope)
    return None if wide else (slope, slope / 2.0)
