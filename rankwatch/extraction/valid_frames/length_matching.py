"""Whether something that could be lengths fits a layer, given the audio's time axes and the downsampling."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from rankwatch.extraction.inputs.call_arguments import named_arguments, waveform_like, waveform_lists
from rankwatch.extraction.inputs.containers import walk
from rankwatch.extraction.model.layers import WatchedLayer
from rankwatch.extraction.model.module_paths import unwrap
from rankwatch.extraction.valid_frames.downsampling import TRIM, Chain, chains, front_ends_of, to_frames
from rankwatch.extraction.valid_frames.input_axes import InputAxes, input_axes
from rankwatch.extraction.valid_frames.length_candidates import Candidate


@dataclass(frozen=True)
class Inputs:
    """What lengths are checked against.

    Attributes:
        axes: Sizes of what may be the input's time axis, with their unit in words; largest tensor first.
        audio: The floating tensors of this batch.
        root: The whole model, or None.
        front_ends: Its convolutional front ends, as far as they are watched.
        batch_is_known: Whether there is a batch, whose fields the user can name; Hugging Face's Trainer shows none.
        unwatched: Frames that the convolutions of front ends gave that aren't watched.
    """

    axes: Mapping[int, str]
    audio: Sequence[Tensor]
    root: nn.Module | None
    front_ends: Sequence[nn.Module]
    batch_is_known: bool = True
    unwatched: frozenset[int] = frozenset()

    @cached_property
    def ways(self) -> list[Chain]:
        """The model's own downsampling, likeliest first: a walk over all modules, made only where it is asked for."""
        known = list(self.front_ends) or (front_ends_of(self.root) if self.root is not None else [])
        return chains(self.root, known)


@dataclass(frozen=True)
class Pass:
    """What is known of one forward pass beside the layers' outputs.

    Attributes:
        size: B.
        inputs: The audio and the model's downsampling.
        candidates: What may be lengths.
        call: The call's arguments by name, and the batch.
    """

    size: int
    inputs: Inputs
    candidates: Sequence[Candidate]
    call: Sequence[Any]

    @cached_property
    def axes(self) -> InputAxes | None:
        """Axes of the input."""
        longest = {int(c.values.max()) for c in self.candidates if c.unit == "integer" and not c.problem}
        masks = {c.axis for c in self.candidates if c.axis is not None}
        return input_axes(self.inputs.audio, longest | masks)

    @cached_property
    def frames(self) -> list[int]:
        """Frames that the model's own downsampling makes of the input's time axis."""
        return [way.of(self.axes.time) for way in self.inputs.ways] if self.axes is not None else []


@dataclass(frozen=True)
class Fit:
    """A candidate, brought to a layer's axis.

    Attributes:
        candidate: What it was.
        frames: (B,) int64 valid frames.
        words: How it came here.
        exact: Whether its longest is exactly the whole of its axis.
    """

    candidate: Candidate
    frames: Tensor
    words: str
    exact: bool

    @property
    def source(self) -> str:
        """Where the lengths come from, for the table."""
        return f"{self.candidate.name} ({self.words})"


def inputs_of(
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
    batch: Any,
    batch_size: int,
    root: nn.Module | None,
    front_ends: Sequence[nn.Module],
) -> Inputs:
    """Collect the audio's axes from a call and its batch, and the convolutions from the model."""
    call = named_arguments(args, kwargs, None)
    audio = [x for _, x in waveform_like(call, batch) if len(x) == batch_size]
    lists = waveform_lists(call, batch)
    audio += [pad_sequence(waves, batch_first=True) for _, waves in lists if len(waves) == batch_size]
    axes: dict[int, str] = {}
    for x in sorted(audio, key=Tensor.numel, reverse=True):
        unit = "samples" if sum(axis > 1 for axis in x.shape[1:]) == 1 else "input frames"
        for axis in x.shape[1:]:
            if axis > 1:
                axes.setdefault(axis, unit)
    return Inputs(
        axes, audio, root, front_ends, batch_is_known=any(isinstance(leaf, Tensor) for _, leaf in walk(batch))
    )


def frames_of_convolutions(convolutions: Sequence[WatchedLayer], outputs: Mapping[str, Any]) -> frozenset[int]:
    """Frames that the convolutions over time gave, of front ends that aren't watched."""
    over_time = [outputs.get(one.name) for one in convolutions if isinstance(unwrap(one.module), nn.Conv1d)]
    return frozenset(output.shape[-1] for output in over_time if isinstance(output, Tensor))


def advice(candidate: Candidate | None, inputs: Inputs) -> str:
    """What the user can do where lengths are ambiguous, as one sentence.

    Args:
        candidate: What is most likely to be the lengths, or None.
        inputs: The call and the batch.

    Returns:
        Arguments to copy, only those that this caller can pass.
    """
    every = 'rows=RowSampling(lengths="none") if every frame counts'
    if not inputs.batch_is_known:
        return f"Call the model with an attention_mask or with one field of lengths, or pass {every}."
    named = candidate is not None and candidate.place == "batch" and candidate.path
    path = candidate.path if candidate is not None and named else "path.into.batch"
    return f'Pass rows=RowSampling(lengths="{path}") or a function of the batch as lengths, or {every}.'


def fit(candidate: Candidate, frames: int, inputs: Inputs, asked: bool = False, added: bool = True) -> Fit | None:
    """The candidate as frames of a layer, or None where it can't be.

    Args:
        candidate: From `candidates`.
        frames: T of the layer.
        inputs: From `inputs_of`.
        asked: The user named it: then the batch may be padded further than the longest utterance.
        added: Whether frames may have been added inside, which is so of no front end.

    Returns:
        The candidate's valid frames, and how they were found.
    """
    if candidate.problem:
        return None
    if candidate.unit == "fraction":
        return _fractions(candidate, frames, inputs, asked)
    if candidate.unit == "mask":
        return _on_axis(candidate, candidate.axis or 0, "mask", frames, inputs, added)
    longest = int(candidate.values.max())
    axes = {frames: "frames", **{axis: unit for axis, unit in inputs.axes.items() if axis != frames}}

    def slack(axis: int) -> int:
        return TRIM * -(-axis // max(frames, 1))

    exact = [axis for axis in axes if axis == longest]
    # A batch padded further than its longest utterance (a few very short files, for example).
    silent = [axis for axis in axes if candidate.named and _silent_behind(candidate.values, axis, inputs.audio)]
    near = [axis for axis in axes if axis - slack(axis) <= longest < axis]
    # Counts above T can't be frames; those that may be either are taken for frames.
    far = [axis for axis in axes if longest < axis and (axis > frames or longest <= frames)] if asked else []
    for axis in (*exact, *silent, *near, *far):
        found = _on_axis(candidate, axis, axes[axis], frames, inputs, added)
        if found is not None:
            return found
    return None


def _fractions(candidate: Candidate, frames: int, inputs: Inputs, asked: bool) -> Fit | None:
    """Fractions of the input's axis where its way to T is known exactly, otherwise of T."""
    exact = abs(float(candidate.values.max()) - 1.0) < 1e-4
    for axis in inputs.axes:
        if axis != frames and any(way.of(axis) == frames for way in inputs.ways):
            mapped = to_frames((candidate.values * axis).round().long(), axis, frames, inputs.ways)
            break
    else:
        # A float32 fraction of T is off by less than T / 10^7: no frame is added for that.
        counts = (candidate.values * frames - 1e-3).ceil().long().clamp(0, frames)
        mapped = counts, "in proportion (to within a frame)"
    if mapped is None or not (exact or asked or int(mapped[0].max()) >= frames - TRIM):
        return None
    return Fit(candidate, mapped[0], f"fractions, {mapped[1]}", exact)


def _on_axis(candidate: Candidate, axis: int, unit: str, frames: int, inputs: Inputs, added: bool) -> Fit | None:
    mapped = to_frames(candidate.values, axis, frames, inputs.ways, added)
    if mapped is None:
        return None
    exact = int(candidate.values.max()) == axis
    return Fit(candidate, mapped[0], f"{unit}, {mapped[1]}" if mapped[1] else unit, exact)


def _silent_behind(counts: Tensor, axis: int, audio: Sequence[Tensor]) -> bool:
    """Whether waveforms (B, axis) are there, with nothing but zeros behind these counts of samples."""
    for x in audio:
        wave = x.flatten(1) if x.ndim == 3 and x.shape[1] == 1 else x
        if wave.ndim == 2 and wave.shape[1] == axis and int(counts.max()) <= axis:
            behind = torch.arange(axis, device=wave.device) >= counts.to(wave.device)[:, None]
            if bool((wave != 0).any()) and not bool(((wave != 0) & behind).any()):
                return True
    return False


def visibly_padded(audio: Sequence[Tensor], frames: int) -> bool:
    """Whether the audio ends in exact zeros of different lengths, in at least half of its utterances.

    Zeros count from more than one frame of the layer on, along either axis of features.

    Returns:
        False also where there is no audio.
    """
    if not audio:
        return False
    x = max(audio, key=Tensor.numel)
    if x.ndim == 3 and 1 in x.shape[1:]:
        x = x.flatten(1)
    if x.ndim == 4:
        x = x.abs().amax(dim=1) if x.shape[1] <= x.shape[3] else x.abs().amax(dim=3)
    planes = [x] if x.ndim == 2 else [x.abs().amax(dim=2), x.abs().amax(dim=1)]
    for plane in planes:
        if plane.shape[1] == 0:
            continue
        sounding = (plane != 0).flip(1).cumsum(dim=1) > 0
        tails = (~sounding).sum(dim=1)
        long = tails > -(-plane.shape[1] // max(frames, 1))
        if 2 * int(long.sum()) >= len(tails) and len(set(tails.tolist())) > 1:
            return True
    return False
