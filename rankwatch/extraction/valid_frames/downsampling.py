"""From lengths on the input's time axis to valid frames of a layer."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from rankwatch.extraction.model.block_stacks import find_stacks
from rankwatch.extraction.model.conventions import output_length_formula
from rankwatch.extraction.model.front_ends import CONVOLUTIONS, POOLINGS, shortens
from rankwatch.extraction.model.module_paths import clean_modules, unwrap

_OF_A_WAVEFORM = 16
"""A smaller stride is one of features, whose convolutions are often padded outside of themselves."""

TRIM = 2
"""Frames that recipes cut off behind the convolutions (to the length of targets, for example)."""


def conv_length(length: Tensor, kernel: int, stride: int, padding: int = 0, dilation: int = 1) -> Tensor:
    """Frames that a convolution makes of `length` positions.

    L' = floor((L + 2 p - dilation (k - 1) - 1) / stride + 1), at least 0 (torch.nn.Conv1d).

    Returns:
        Frames, of the same shape as `length`.

    Example:
        >>> conv_length(torch.tensor([400, 16000, 3]), kernel=10, stride=5).tolist()
        [79, 3199, 0]
    """
    out = torch.div(length + 2 * padding - dilation * (kernel - 1) - 1, stride, rounding_mode="floor") + 1
    # An empty utterance has no frames, whatever the padding.
    return torch.where(length > 0, out, out.new_zeros(())).clamp(min=0)


@dataclass(frozen=True)
class Chain:
    """A model's own downsampling: lengths in, lengths out, what it is in words, and the product of its strides."""

    apply: Callable[[Tensor], Tensor]
    words: str
    stride: int = 1

    def __call__(self, length: Tensor) -> Tensor:
        """(B,) int64 lengths out, from (B,) int64 lengths in."""
        return self.apply(length)

    def of(self, length: int) -> int:
        """Frames for one length."""
        return int(self.apply(torch.tensor([length]))[0])


def _axes(module: nn.Module) -> int:
    """Along how many axes a convolution or a pooling works."""
    return 2 if isinstance(module, (nn.Conv2d, nn.MaxPool2d, nn.AvgPool2d)) else 1


def _along(value: Any, axis: int) -> int:
    """Of a kernel size or a stride, which is one number for both axes or one for each."""
    return int(value[axis] if isinstance(value, tuple) else value)


def _through(layers: Sequence[nn.Module], axis: int) -> Chain | None:
    steps = []
    for layer in layers:
        shape: Any = layer
        if isinstance(shape.padding, str):
            return None
        sizes = (shape.kernel_size, shape.stride, shape.padding, getattr(shape, "dilation", 1))
        steps.append(tuple(_along(size, axis) for size in sizes))

    def apply(length: Tensor) -> Tensor:
        for kernel, stride, padding, dilation in steps:
            length = conv_length(length, kernel, stride, padding, dilation)
        return length

    pooling = " and poolings" if any(isinstance(layer, POOLINGS) for layer in layers) else ""
    words = f"through {len(steps)} convolution{'s' if len(steps) > 1 else ''}{pooling}"
    return Chain(apply, words, math.prod(stride for _, stride, _, _ in steps))


def chains(root: nn.Module | None, front_ends: Sequence[nn.Module]) -> list[Chain]:
    """Ways in which the model may shorten the time axis, likeliest first.

    The convolutions and poolings of each front end in order (of two-dimensional ones either axis), all and then only
    the strided ones; of a bare convolution also those that stand before it in the same module; the model's own formula
    (Hugging Face's have one); a spectrogram, alone and before those convolutions.

    Returns:
        One for each way; none where there is nothing to go by.
    """
    ways: list[Chain] = []
    for front_end in front_ends:
        every = [m for m in unwrap(front_end).modules() if isinstance(m, (*CONVOLUTIONS, *POOLINGS))]
        for some in (every, _up_to(front_end, root)):
            strided = [m for m in some if shortens(m)]
            for steps in [some] + ([strided] if len(strided) < len(some) else []):
                axes = range(min((_axes(m) for m in steps), default=0))
                found = [_through(steps, -1 - axis) for axis in axes]
                ways += [chain for chain in found if chain is not None]
    spectrograms: list[Chain] = []
    for module in root.modules() if root is not None else ():
        own = output_length_formula(module)
        if own is not None:
            ways += _by_own_formula(own)
        spectrograms += _spectrogram(module)
    return ways + [both for first in spectrograms for both in (first, *(_then(first, way) for way in ways))]


def _up_to(front_end: nn.Module, root: nn.Module | None) -> list[nn.Module]:
    """Of a bare convolution those in the same module, up to itself; nothing where it stands alone."""
    if root is None or not isinstance(unwrap(front_end), CONVOLUTIONS):
        return []
    for module in root.modules():
        children = list(module.children())
        if any(child is front_end for child in children):
            before = children[: [child is front_end for child in children].index(True) + 1]
            steps: list[nn.Module] = [m for m in map(unwrap, before) if isinstance(m, (*CONVOLUTIONS, *POOLINGS))]
            return steps if len(steps) > 1 else []
    return []


def _spectrogram(module: nn.Module) -> list[Chain]:
    """A short-time Fourier transform, known by its attributes: 1 + L // hop frames if it is centred."""
    hop, n_fft = getattr(module, "hop_length", None), getattr(module, "n_fft", None)
    if not isinstance(hop, int) or not isinstance(n_fft, int) or hop < 1:
        return []
    centred = getattr(module, "center", None)
    pads = [n_fft // 2] * (centred is not False) + [0] * (centred is not True)
    # The transform's padding reflects an even n_fft, so that the formula of a convolution holds.
    return [Chain(partial(conv_length, kernel=n_fft, stride=hop, padding=pad), "through a spectrogram") for pad in pads]


def _then(first: Chain, second: Chain) -> Chain:
    def apply(length: Tensor) -> Tensor:
        return second(first(length))

    return Chain(apply, f"{first.words} and {second.words.removeprefix('through ')}")


def _by_own_formula(formula: Callable[[Any], Any]) -> list[Chain]:
    """One way for each number that the formula gives: some give frames before and behind a pooling."""
    try:
        given = len(_answers(formula, torch.tensor([16_000])))
    except Exception:  # whatever somebody else's formula may raise: it isn't one of lengths alone
        return []
    return [Chain(partial(_answer, formula, place), "through the model's own formula") for place in range(given)]


def _answer(formula: Callable[[Any], Any], place: int, length: Tensor) -> Tensor:
    return _answers(formula, length)[place]


def _answers(formula: Callable[[Any], Any], length: Tensor) -> list[Tensor]:
    """What a formula gives for (B,) lengths, each (B,); one that calculates with Python's numbers is asked for each."""
    if len(length) > 1:
        with contextlib.suppress(Exception):
            answers = _as_tuple(formula(length))
            if all(isinstance(one, Tensor) and one.shape == length.shape for one in answers):
                return [one.long().clamp(min=0) for one in answers]
    each = [[int(one) for one in _as_tuple(formula(one))] for one in length]
    return [torch.tensor(column).clamp(min=0) for column in zip(*each, strict=True)]


def _as_tuple(answer: Any) -> tuple[Any, ...]:
    return tuple(answer) if isinstance(answer, (tuple, list)) else (answer,)


def front_ends_of(root: nn.Module) -> list[nn.Module]:
    """Convolutional front ends of a model, also where they aren't watched."""
    modules = clean_modules(root)
    paths = {stack.front_end for stack in find_stacks(modules) if stack.front_end is not None}
    return [module for path, module in modules.items() if path in paths]


def to_frames(
    counts: Tensor, axis: int, frames: int, ways: Sequence[Chain], added: bool = True
) -> tuple[Tensor, str] | None:
    """Valid frames of a layer of `frames` frames, from counts on an input axis of `axis` positions.

    The model's own downsampling f where f(axis) = frames, or is at most `TRIM` above (then the frames behind
    were cut off), or where T is f(axis) of a waveform filled up to a multiple of 2, 4 or 8 (fairseq adds frames
    inside of its encoder, which are never valid); in proportion, ceil(count * frames / axis), where no f is known,
    its strides alone explain T (padding outside of the convolutions), or a whole number of times fewer frames come
    out than of f.

    Args:
        counts: (B,) int64 in [0, axis].
        axis: Positions on the counts' own axis.
        frames: T of the layer.
        ways: From `chains`; none where `axis` is already an axis of frames.
        added: Whether frames may have been added inside, which is so of no front end.

    Returns:
        (B,) int64 in [0, frames] and how it was done, in words; None where nothing fits.

    Example:
        >>> front_end = nn.Conv1d(1, 4, 10, 5)
        >>> to_frames(torch.tensor([100, 50]), 100, 19, list(chains(front_end, [front_end])))
        (tensor([19,  9]), 'through 1 convolution')
    """
    if axis == frames:
        return counts.clamp(max=frames), ""
    known = [(way, way.of(axis)) for way in ways]
    for way, out in known:
        if out == frames:
            return way(counts).clamp(max=frames), way.words
    for way, out in known:
        if frames < out <= frames + TRIM:
            return way(counts).clamp(max=frames), f"{way.words}, {out - frames} cut off"
    for way, out in known:
        if added and way.stride >= _OF_A_WAVEFORM and frames in padded_inside(out):
            return way(counts).clamp(max=frames), f"{way.words}, {frames - out} added inside"
    if axis == 0 or frames == 0:
        return torch.zeros_like(counts), "no frames"
    if any(abs(axis / way.stride - frames) <= 1 for way in ways):
        return _proportional(counts, axis, frames), "in proportion (to within a frame)"
    for way, out in known:
        if any(abs(out / r - frames) <= 1 for r in range(2, out + 1)):
            mapped = _proportional(way(counts), out, frames)
            return mapped, f"{way.words}, then in proportion (to within a frame)"
    if known and all(out > 0 for _, out in known):
        return None
    return _proportional(counts, axis, frames), "in proportion (to within a frame)"


def padded_inside(frames: int) -> set[int]:
    """Numbers of frames to which a model may pad inside of itself: one more, or the next multiple of 2, 4 or 8."""
    return {frames + 1, *(-(-frames // multiple) * multiple for multiple in (2, 4, 8))} - {frames}


def _proportional(counts: Tensor, axis: int, frames: int) -> Tensor:
    """ceil(count * frames / axis), in integers."""
    return torch.div(counts * frames + axis - 1, axis, rounding_mode="floor").clamp(0, frames)
