"""What the layers know: linear probes of several tasks, and how far layers have moved since the last reading."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from rankwatch.numerics import linear_probe
from zoo_of_encoders.method import Method
from zoo_of_encoders.speech import HOP, AudioBatch, Labelled, collate

_AT_ONCE = 30
_EVERY = 3  # of neighbouring frames, which say the same


def layer_names(method: Method) -> list[str]:
    """The front end, then all blocks."""
    return ["encoder.feature_extractor", *(f"encoder.blocks.{i}" for i in range(len(method.encoder.blocks)))]


@torch.no_grad()
def hidden(method: Method, batch: AudioBatch, train: bool = False) -> list[list[Tensor]]:
    """For the front end and each block, each utterance's valid frames (n, C), bands averaged; in eval mode or not.

    Hooks give what a block really put out, whatever else is hooked on it.
    """
    found: dict[int, Tensor] = {}
    modules = [method.encoder.feature_extractor, *method.encoder.blocks]
    hooks = [m.register_forward_hook(lambda m, a, o, i=i: found.__setitem__(i, o)) for i, m in enumerate(modules)]
    training = method.encoder.training
    method.encoder.train(train)
    with torch.random.fork_rng():
        while len(found) < len(modules):  # a layer may be dropped in train mode
            method.encode(batch)
    method.encoder.train(training)
    for hook in hooks:
        hook.remove()
    bands = method.encoder.bands
    counts = [max(1, int(n) // (HOP * method.encoder.per_token)) for n in batch.lengths]
    layers = []
    for i in range(len(modules)):
        x = found[i].float()
        x = x.unflatten(1, (-1, bands)).mean(2)
        layers.append([row[:n] for row, n in zip(x, counts, strict=True)])
    return layers


def probe(method: Method, sets: tuple[Labelled, ...]) -> dict[str, list[list[float]]]:
    """Accuracy of each layer and that of naming the most frequent label, by task."""
    found: dict[str, list[list[float]]] = {}
    for speech in sets:
        layers = _embedded(method, speech)
        for task, labels in speech.frames.items():
            counts = [len(rows) for rows in layers[0]]
            step = method.encoder.per_token
            known = [y[::step][:n] for y, n in zip(labels, counts, strict=True)]
            known = [np.pad(y, (0, n - len(y)), constant_values=-1) for y, n in zip(known, counts, strict=True)]
            fold = np.concatenate([np.full(n, f) for n, f in zip(counts, speech.folds[task], strict=True)])
            y = np.concatenate(known)
            thin = np.flatnonzero(y >= 0)[:: 1 if step > 1 else _EVERY]
            found[task] = [_accuracy(torch.cat(rows)[torch.from_numpy(thin)], y[thin], fold[thin]) for rows in layers]
        for task, y in speech.utterances.items():
            found[task] = [
                _accuracy(torch.stack([r.mean(0) for r in rows]), y, speech.folds[task]) for rows in layers
            ]  # fmt: skip
    return found


def _embedded(method: Method, speech: Labelled) -> list[list[Tensor]]:
    """Layers of all recordings, in their order."""
    order = sorted(range(len(speech.waveforms)), key=lambda i: len(speech.waveforms[i]))
    found: dict[int, list[Tensor]] = {}
    for start in range(0, len(order), _AT_ONCE):
        chosen = order[start : start + _AT_ONCE]
        layers = hidden(method, collate([speech.waveforms[i] for i in chosen]))
        for place, i in enumerate(chosen):
            found[i] = [layer[place] for layer in layers]
    return [[found[i][layer] for i in range(len(order))] for layer in range(len(found[0]))]


def _accuracy(rows: Tensor, labels: np.ndarray, fold: np.ndarray) -> list[float]:
    """Both ways between two folds: accuracy and majority, pooled."""
    rows = torch.nan_to_num(rows.double(), 0.0, 0.0, 0.0)
    right = common = 0.0
    for test in (0, 1):
        there, here = np.flatnonzero(fold != test), np.flatnonzero(fold == test)
        result = linear_probe(rows[torch.from_numpy(there)], labels[there], rows[torch.from_numpy(here)], labels[here])
        right += result.accuracy * len(here)
        common += result.majority * len(here)
    return [right / len(labels), common / len(labels)]


@torch.no_grad()
def objective(method: Method, batches: Sequence[AudioBatch]) -> float:
    """The loss as it is meant, on clean batches that are always the same, with always the same masks and noise.

    What is broken in the method's own words is mended meanwhile; what is broken in its layers is not. Where targets
    come from a teacher it says little, since a collapse makes them easy.
    """
    kept = [(buffer, buffer.clone()) for buffer in method.buffers()]
    was = method.broken, method.term, method.facts
    method.broken, method.term, method.facts = "", 1.0, {}
    method.train()
    with torch.random.fork_rng():
        torch.manual_seed(5)
        value = float(np.mean([float(method.loss(batch, 1.0)) for batch in batches]))
    method.broken, method.term, method.facts = was
    for buffer, old in kept:
        buffer.copy_(old)
    return value


class Drift:
    """How far each layer's frames of a few fixed utterances have moved, since the last reading and since the first."""

    def __init__(self, speech: Labelled, utterances: int = 16) -> None:
        step = len(speech.waveforms) // utterances
        self._batch = collate(speech.waveforms[::step][:utterances])
        self._first: list[Tensor] = []
        self._last: list[Tensor] = []

    @torch.no_grad()
    def read(self, method: Method) -> dict[str, list[float]]:
        """By name one value for each layer; NaN where there is nothing to compare with.

        ``cka_last`` and ``cka_first`` are linear centred kernel alignments; ``moved`` is the distance from the last
        reading relative to the spread now; ``scale`` the root mean square of a frame, ``spread`` that of a centred one.
        """
        rows = [torch.cat(layer).double() for layer in hidden(method, self._batch)]
        centred = [x - x.mean(0) for x in rows]
        first, last = self._first or centred, self._last or centred
        found = {
            "cka_last": [_cka(x, y) for x, y in zip(centred, last, strict=True)],
            "cka_first": [_cka(x, y) for x, y in zip(centred, first, strict=True)],
            "moved": [float((x - y).norm() / x.norm()) for x, y in zip(centred, last, strict=True)],
            "scale": [float(x.norm()) / math.sqrt(len(x)) for x in rows],
            "spread": [float(x.norm()) / math.sqrt(len(x)) for x in centred],
        }
        if not self._last:
            found |= {name: [math.nan] * len(rows) for name in ("cka_last", "cka_first", "moved")}
        self._first, self._last = first, centred
        return found


def _cka(x: Tensor, y: Tensor) -> float:
    both = (x.T @ y).square().sum()
    return float(both / ((x.T @ x).norm() * (y.T @ y).norm()))


@torch.no_grad()
def in_train_mode(method: Method, batch: AudioBatch) -> dict[str, Any]:
    """What others look at: the last layer's frames in train mode, dropout and all."""
    kept = [(buffer, buffer.clone()) for buffer in method.encoder.buffers()]  # statistics of batch norms
    rows = torch.cat(hidden(method, batch, train=True)[-1]).double()
    for buffer, value in kept:
        buffer.copy_(value)
    if not bool(torch.isfinite(rows).all()):
        return {"rankme": math.nan, "std_normalised": math.nan}
    singular = torch.linalg.svdvals(rows)
    shares = singular / singular.sum() + 1e-7
    unit = torch.nn.functional.normalize(rows, dim=1)
    return {
        "rankme": float(torch.exp(-(shares * shares.log()).sum())),  # Garrido et al. 2023, equation 1
        "std_normalised": float(unit.std(0).mean()) * math.sqrt(rows.shape[1]),
    }
