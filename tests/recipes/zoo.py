"""What an entry of the zoo of transformers' models is, and the inputs that they get."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

COUNTS = torch.tensor([8000, 6000, 7000, 5000])
"""Samples of each utterance."""
FRAMES = torch.tensor([80, 60, 70, 50])
"""Frames of each spectrogram."""
SMALL: dict[str, Any] = {
    **{"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2},
    "intermediate_size": 48,
}
"""Two layers of 32 channels."""
TOKENS = {"decoder_input_ids": torch.tensor([[1, 2, 3]] * 4)}

Inputs = Mapping[str, Any]
Layers = Mapping[str, tuple[str, int] | tuple[str, int, int]]


@dataclass(frozen=True)
class Entry:
    """One model of transformers, and what is known of it from its configuration.

    Attributes:
        model: Name of its class.
        config: Name of its configuration's class.
        arguments: Of the configuration.
        inputs: Arguments of the model's call, a batch of four.
        layers: The layers that have to be read, no others: layout, width and, where patches of a spectrogram are
            tokens, how many of them have the same time, by path. ``{3}`` in a path stands for the numbers below 3.
        frames: Valid frames of each utterance, in all layers or by the layers' paths as they stand in `layers`; where
            there are none, every position counts.
        alone: The inputs of one utterance without padding, where the model gives the same for it as in the batch.
        part: Path of the part of the model that is called.
        refused: Layers that can't be read, and that the advice says to leave out.
        silent: Layers that this call of the model doesn't reach.
        few: Whether it runs by default; its structure is like no other's.
        about: What it has that others of its class have not, for the name of the test.
    """

    model: str
    config: str
    arguments: Mapping[str, Any]
    inputs: Inputs
    layers: Layers
    frames: Sequence[int] | Mapping[str, Sequence[int]] | None = None
    alone: Callable[[Inputs, int], Inputs] | None = None
    part: str = ""
    refused: Sequence[str] = ()
    silent: Sequence[str] = ()
    few: bool = False
    about: str = ""

    @property
    def name(self) -> str:
        """Of the test."""
        return "-".join(part for part in (self.model, self.part, self.about) if part)

    def each_layer(self) -> dict[str, tuple[Any, Sequence[int] | None]]:
        """What is expected of each layer, and its valid frames, by path."""
        found = {}
        for path, what in self.layers.items():
            frames = self.frames.get(path) if isinstance(self.frames, Mapping) else self.frames
            found.update(dict.fromkeys(numbered(path), (what, frames)))
        return found


def numbered(path: str) -> list[str]:
    """``"a.{2}.b.{1}"`` is ``a.0.b.0`` and ``a.1.b.0``."""
    first = re.search(r"\{(\d+)\}", path)
    if first is None:
        return [path]
    numbers = range(int(first[1]))
    return [one for number in numbers for one in numbered(path[: first.start()] + str(number) + path[first.end() :])]


def noise(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


def waveforms(axes: int = 2, mask: str = "attention_mask", name: str = "input_values") -> Inputs:
    """(4, samples) or (4, 1, samples), padded where a mask is named that says so."""
    audio = noise(4, 8000)
    valid = torch.arange(8000) < COUNTS[:, None]
    if mask:
        audio = audio * valid
    return {name: audio if axes == 2 else audio[:, None], **({mask: valid.long()} if mask else {})}


def mels(
    bands: int,
    mask: str = "attention_mask",
    name: str = "input_features",
    *,
    time_first: bool = True,
    frames: int = 80,
) -> Inputs:
    """(4, frames, bands) or (4, bands, frames), padded where a mask is named that says so."""
    valid = torch.arange(frames) < (FRAMES * frames // 80)[:, None]
    features = noise(4, frames, bands)
    if mask:
        features = features * valid[:, :, None]
    features = features if time_first else features.mT.contiguous()
    return {name: features, **({mask: valid.long()} if mask else {})}


def image(height: int = 64, width: int = 128, channels: int = 1) -> Inputs:
    """(4, channels, bands, frames) of a spectrogram."""
    return {"pixel_values": noise(4, channels, height, width)}


def cut(inputs: Inputs, utterance: int) -> Inputs:
    """One utterance without the padding that its mask shows."""
    mask = next(value for name, value in inputs.items() if "mask" in name)
    length = int(mask[utterance].sum()) if mask.dtype != torch.bool else int((~mask[utterance]).sum())
    short = {}
    for name, value in inputs.items():
        one = value[utterance : utterance + 1]
        axes = [axis for axis in range(1, one.ndim) if one.shape[axis] == mask.shape[1]]
        short[name] = one.narrow(axes[0], 0, length) if axes else one
    return short


def through(counts: Tensor, *convolutions: tuple[int, int, int]) -> list[int]:
    """Frames behind convolutions of these kernels, strides and paddings."""
    for kernel, stride, padding in convolutions:
        counts = (counts + 2 * padding - kernel) // stride + 1
    found: list[int] = counts.tolist()
    return found
