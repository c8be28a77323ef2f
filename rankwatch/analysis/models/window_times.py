r"""When the frames of a model are that takes windows of one length: by what single moments of the audio change in them.

Lengths say nothing there, since every input is as long. Two things are asked instead. Which frames of the features does
a click change? And which frames of a layer does a change of one frame of the features reach? Of outputs j that see
inputs :math:`s j + l` to :math:`s j + h`, input k changes those from :math:`\lceil (k - h) / s \rceil` to
:math:`\lfloor (k - l) / s \rfloor`; with inputs at all phases s, l and h follow, and output j is centred at
:math:`s j + (l + h) / 2`. Both answers together give seconds. No kernel, stride or padding has to be known.

Behind attention every frame depends on all. But a layer that has as many frames as the convolutions before it has the
same ones, and where it has half as many it has two of them together.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rankwatch.analysis.models.feature_inputs import FeatureInput
from rankwatch.analysis.models.utterance_frames import UtteranceFrames

_APART = 5
"""Outputs from one change to the next: the windows of features and the kernels of front ends are narrower."""

_MARGIN = 0.05
"""Share of the window at each end in which nothing is changed: padding is another matter."""

_CLICK, _HEARD = 0.5, 0.05
"""How high clicks are, and the share of the largest answer from which features count as changed."""

_REACHED = 1e-3
"""The same of layers, of which those behind convolutions alone are changed nowhere else but for rounding."""

_FEWEST, _MOST_PASSES = 8, 12
"""Changes that a line is fitted to, at least; and passes over the window in which they are made, at most."""

Run = tuple[int, int]


@dataclass(frozen=True)
class _Line:
    """Output j is centred at input `step` * j + `first`."""

    step: float
    first: float


def window_times(model: UtteranceFrames) -> tuple[dict[str, tuple[float, float]], dict[str, str]]:
    """Seconds from frame to frame, and to the centre of the first, of each layer of a model with a fixed window.

    Args:
        model: Runs utterances through a feature extractor that has a window.

    Returns:
        Both numbers by layer; and for layers without any, or whose frames are only taken to divide the window evenly,
        the reason. Three forward passes for Whisper and AST, up to twelve more for each further number of frames that
        layers have.
    """
    features = model.features
    assert features is not None
    assert features.window is not None
    samples = round(features.window * model.sample_rate)
    noise = 0.1 * torch.randn(samples, generator=torch.Generator().manual_seed(0))
    found = model(noise)
    of_features = _line_of_features(features, samples)
    lines = _lines_of_counts(model, noise, *of_features[:2]) if of_features is not None else {}
    times, reasons = {}, {layer: str(error) for layer, error in found.failures.items()}
    for layer, frames in found.frames.items():
        line = _of_count(lines, len(frames))
        if of_features is None or line is None:
            step = features.window / len(frames)
            times[layer] = (step, step / 2.0)
            reasons[layer] = (
                f"layer {layer!r}: when its frames are could not be found; they are taken to divide the window of "
                f"{features.window:g} s evenly, so that labels may meet frames that are half a step off"
            )
        else:
            of_feature = of_features[2]
            first = of_feature.first + of_feature.step * line.first
            times[layer] = (line.step * of_feature.step / model.sample_rate, first / model.sample_rate)
    return times, reasons


def _of_count(lines: dict[int, _Line], count: int) -> _Line | None:
    """The line of layers with so many frames: a known one, or several frames of a known one taken together."""
    for known in sorted(lines):
        if known % count == 0:
            together, line = known // count, lines[known]
            return _Line(line.step * together, line.first + line.step * (together - 1) / 2.0)
    return None


def _line_of_features(features: FeatureInput, samples: int) -> tuple[str, int, _Line] | None:
    """Which axis of which tensor is time, and the samples that its frames are centred at."""
    for name, value in features.run(torch.zeros(samples)).items():
        for axis in range(1, value.ndim) if value.is_floating_point() else ():
            passes, runs = _passes(samples, value.shape[axis]), []
            for at in passes:
                clicks = torch.zeros(samples)
                clicks[at] = _CLICK
                heard = features.run(clicks)[name].float().movedim(axis, 0).flatten(1)
                answer = (heard - heard.median(dim=0).values).abs().amax(dim=1).numpy()
                runs.append(_runs(answer > _HEARD * answer.max()))
            line = _fitted(passes, runs)
            if line is not None:
                return name, axis, line
    return None


def _lines_of_counts(model: UtteranceFrames, waveform: Tensor, name: str, axis: int) -> dict[int, _Line]:
    """Which frames of the features those of layers are centred at, by how many frames a layer has."""
    assert model.features is not None
    given = model.features.run(waveform)
    plain = model.with_features(lambda _: given)(waveform).frames
    lines = {}
    for count in sorted({len(frames) for frames in plain.values()}):
        passes = _passes(given[name].shape[axis], count)
        layers = [layer for layer, frames in plain.items() if len(frames) == count]
        runs: dict[str, list[list[Run]]] = {layer: [] for layer in layers}
        for at in passes:
            changed = {**given, name: _changed(given[name], axis, at)}
            frames = model.with_features(lambda _, changed=changed: changed)(waveform).frames  # type: ignore[misc]
            for layer in layers:
                answer = (frames[layer] - plain[layer]).abs().amax(dim=1).numpy()
                runs[layer].append(_runs(answer > _REACHED * answer.max()))
        fitted = [line for line in (_fitted(passes, runs[layer]) for layer in layers) if line is not None]
        if fitted:
            lines[count] = fitted[0]
    return lines


def _passes(inputs: int, outputs: int) -> list[list[int]]:
    """Inputs to change in each pass over the window: some outputs apart, until all phases of an output were met."""
    # A prime number of inputs apart, they meet all phases of any step one after the other.
    step = inputs / outputs
    spacing = math.ceil(_APART * step) + 1
    while any(spacing % k == 0 for k in range(2, math.isqrt(spacing) + 1)):
        spacing += 1
    begin, end = math.ceil(_MARGIN * inputs), math.floor((1.0 - _MARGIN) * inputs)
    each = max(1, (end - begin) // spacing)
    count = min(_MOST_PASSES, math.ceil(max(step, _FEWEST) / each))
    starts = [begin + round(k * spacing / count) for k in range(count)]
    return [list(range(start, end, spacing)) for start in starts if start < end]


def _changed(value: Tensor, axis: int, at: list[int]) -> Tensor:
    """The features with noise of their own size added at some frames."""
    moved = value.clone().movedim(axis, 0)
    noise = torch.randn(moved[at].shape, generator=torch.Generator().manual_seed(1))
    moved[at] += float(value.float().std()) * noise.to(value)
    return moved.movedim(0, axis)


def _runs(changed: NDArray[np.bool_]) -> list[Run]:
    """First and last place of each run of changed outputs; those at the ends may be padding, which isn't silence."""
    edge = round(_MARGIN / 2.0 * len(changed))
    inside = changed[edge : len(changed) - edge]
    edges = np.diff(np.concatenate([[0], inside.astype(np.int8), [0]]))
    firsts, behind = (np.flatnonzero(edges == sign) + edge for sign in (1, -1))
    return list(zip(firsts.tolist(), (behind - 1).tolist(), strict=True))


def _fitted(passes: Sequence[list[int]], runs: Sequence[list[Run]]) -> _Line | None:
    """The line that runs of changed outputs follow; None where there isn't one run for each change, or no line."""
    if [len(at) for at in passes] != [len(of_pass) for of_pass in runs]:
        return None
    k = np.array([one for at in passes for one in at], dtype=np.float64)
    ends = np.array([one for of_pass in runs for one in of_pass], dtype=np.float64)
    if len(np.unique(k)) < _FEWEST:
        return None
    middles = ends.mean(axis=1)
    slope, start = np.polyfit(k, middles, 1).tolist()
    rest = middles - slope * k - start
    if slope <= 0.0 or np.abs(rest).max() > 1.0:
        return None
    step = 1.0 / slope
    unsure = 4.0 * step**2 * math.sqrt(float(rest @ rest) / (len(k) - 2)) / float(np.linalg.norm(k - k.mean()))
    if abs(step - round(step)) > max(unsure, 1e-9 * step) or round(step) < 1:
        return _Line(step, float((k - step * middles).mean()))
    step = float(round(step))
    low, high = (k - step * ends[:, 1]).min(), (k - step * ends[:, 0]).max()
    return _Line(step, float(low + high) / 2.0)
