"""Recordings whose samples alone show that something is wrong: constant, not finite, or scaled unlike all others.

One of them lies so far from all others in every layer that it would decide what is read of the whole set.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from rankwatch.extraction.eval_sets.eval_set import EvalBatch, EvalSet
from rankwatch.extraction.inputs.containers import walk
from rankwatch.extraction.inputs.utterance_keys import primary_input

_CONSTANT = 1e-4
"""Standard deviation, relative to the set's median, that is none: less than one step of 16 bits in speech."""

_LOUD = 300.0
"""Standard deviation, relative to the set's median, that no voice has (50 dB): integers among numbers up to one."""

_FEWEST = 4
"""Recordings that it takes to know what is usual."""

_MOST_LOUD = 1 / 8
"""Share of recordings up to which those that are far louder are broken; more of them are what the set is like."""


def broken_recordings(eval_set: EvalSet) -> dict[int, str]:
    """Find recordings that are constant, or hundreds of times as loud as the others, and files that hold NaN or Inf.

    Only waveforms are looked at: batches whose audio is (B, T), (B, 1, T) or (B, T, 1). Trailing zeros are padding. NaN
    in a training batch is not the recording's alone, since training reads it too: that is left to the alarms.

    Args:
        eval_set: This process's part of a set, on the CPU.

    Returns:
        Where each of them comes from and what is wrong with it, in words, by its key.
    """
    found = [one for number, batch in enumerate(eval_set.batches, 1) for one in _deviations(batch, number)]
    known = [(key, place, deviation) for key, place, deviation in found if math.isfinite(deviation)]
    origins = eval_set.origins
    broken = {
        key: f"{origins[key]} (holds NaN or Inf)"
        for key, _, deviation in found
        if math.isinf(deviation) and key in origins
    }
    if len(known) < _FEWEST:
        return broken
    median = float(np.median([deviation for _, _, deviation in known]))
    loud = [key for key, _, deviation in known if deviation > _LOUD * median]
    for key, place, deviation in known:
        where = eval_set.origins.get(key, place)
        if deviation <= _CONSTANT * median:
            broken[key] = f"{where} (constant: a microphone that was dead, or no signal at all)"
        elif key in loud and len(loud) <= max(1.0, _MOST_LOUD * len(known)):
            times = f"{deviation / median:.0f}" if median > 0.0 else "infinitely many"
            broken[key] = f"{where} ({times} times as loud as the others: integers where these are scaled to one)"
    return broken


def _deviations(batch: EvalBatch, number: int) -> Iterator[tuple[int, str, float]]:
    """Key, place and standard deviation of each recording of a batch that counts."""
    try:
        audio = primary_input((batch.args, batch.kwargs), batch.batch)
    except ValueError:
        return
    audio = audio.squeeze(1) if audio.dim() == 3 and audio.shape[1] == 1 else audio
    audio = audio.squeeze(2) if audio.dim() == 3 and audio.shape[2] == 1 else audio
    if audio.dim() != 2 or len(audio) != len(batch.keys):
        return
    leaves = [leaf for _, leaf in walk((batch.args, batch.kwargs, batch.batch)) if isinstance(leaf, Tensor)]
    lengths = [leaf for leaf in leaves if leaf.shape == batch.keys.shape and not leaf.is_floating_point()]
    for i, key in enumerate(batch.keys[: batch.used].tolist()):
        empty = any(int(one[i]) == 0 for one in lengths)  # of no length, which is reported elsewhere
        deviation = _deviation(audio[i])
        yield key, f"recording {i + 1} of batch {number}", math.nan if empty and deviation == 0.0 else deviation


def _deviation(samples: Tensor) -> float:
    """Standard deviation without trailing zeros; 0 where there are only zeros, infinite where one isn't finite."""
    if not bool(samples.isfinite().all()):
        return math.inf
    sounding = (samples != 0).flip(0).to(torch.uint8)
    end = len(samples) - int(sounding.argmax()) if bool(sounding.any()) else 0
    return float(samples[:end].double().std(correction=0)) if end else 0.0
