"""Which axis of a model's input is time, and which one holds the bands of a spectrogram."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

from torch import Tensor

_BANDS = frozenset({13, 20, 23, 24, 26, 32, 39, 40, 60, 64, 80, 96, 120, 128, 160, 201, 229, 256, 257, 513})
"""How many bands, coefficients or bins a frame of features usually has."""
_CHANNELS = 4  # at most so many channels has an input of four axes


@dataclass(frozen=True)
class InputAxes:
    """The axes of the audio or its features.

    Attributes:
        time: Positions on the time axis, in samples or frames.
        bands: Bands of a spectrogram, or None for a waveform.
        time_first: Whether time comes before the bands.
        guessed: Whether time is the longer axis only because nothing else told the two apart.
    """

    time: int
    bands: int | None = None
    time_first: bool = True
    guessed: bool = field(default=False, compare=False)


def input_axes(audio: Sequence[Tensor], counts: Collection[int] = ()) -> InputAxes | None:
    """The axes of the largest tensor among the inputs that may be audio, as far as they can be told apart.

    Of a spectrogram's two axes the one is time whose size is the longest length or the length of a mask; else the one
    that isn't as long as frames of features usually are wide, where the other is; else the longer one.

    Args:
        audio: Floating tensors (B, T), (B, 1, T), (B, T, F), (B, F, T), (B, C, F, T) or (B, C, T, F).
        counts: The longest length of each field that may be lengths, and the sizes of masks.

    Returns:
        None where there is no such tensor, or where nothing tells its axes apart.

    Example:
        >>> import torch
        >>> input_axes([torch.zeros(2, 1, 64, 200)])
        InputAxes(time=200, bands=64, time_first=False, guessed=False)
    """
    usable = sorted((x for x in audio if x.ndim in (2, 3, 4)), key=Tensor.numel, reverse=True)
    # A stage's features in the call, with channels of their own, say less than the spectrogram in the batch.
    sizes = next((sizes for sizes in map(_time_and_bands, usable) if sizes is not None), None)
    if sizes is None or len(sizes) == 1:
        return None if sizes is None else InputAxes(sizes[0])
    first, second = sizes
    told = _first_is_time(first, second, counts)
    if told is None and first == second:
        return None
    is_time = first > second if told is None else told
    time, bands = (first, second) if is_time else (second, first)
    return InputAxes(time, bands, is_time, guessed=told is None)


def _time_and_bands(x: Tensor) -> tuple[int, ...] | None:
    """One size for a waveform, two for a spectrogram, in their order."""
    inner = list(x.shape[1:])
    if x.ndim == 4:
        channels = [axis for axis in (0, 2) if inner[axis] <= _CHANNELS]
        if not channels:
            return None
        inner.pop(channels[0])
        return tuple(inner)
    wide = [size for size in inner if size > 1]
    return tuple(wide) if wide else None


def _first_is_time(first: int, second: int, counts: Collection[int]) -> bool | None:
    if (first in counts) != (second in counts):
        return first in counts
    if (first in _BANDS) != (second in _BANDS):
        return second in _BANDS
    return None
