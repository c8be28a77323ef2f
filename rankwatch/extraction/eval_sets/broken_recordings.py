"""Recordings whose samples alone show that something is wrong: constant, not finite, or scaled unlike all others.

One of them lies so far from all others in every layer that it would decide what is read of the whole set.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
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

_MOST_CHANNELS, _FRAMES_PER_CHANNEL = 8, 32
"""A short axis of channels, which may all be the same, is told from one of bands by these."""

_MOST_LOUD = 1 / 8
"""Share of recordings up to which those that are far louder are broken; more of them are what the set is like."""


def broken_recordings(eval_set: EvalSet) -> dict[int, str]:
    """Find recordings that are constant, or hundreds of times as loud as the others, and files that hold NaN or Inf.

    Looked at are waveforms, of one or several channels, and features, of which only those that never change over time
    are told: how loud they are isn't seen behind a logarithm. One value over and over, at either end, is padding. NaN
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
        recordings = [one.detach() for one in audio.unbind()]
    except (ValueError, RuntimeError):  # nothing that is audio, or a kind of tensor that can't be taken apart
        return
    if len(recordings) != len(batch.keys) or any(one.is_sparse or one.numel() == 0 for one in recordings):
        return
    leaves = [leaf for _, leaf in walk((batch.args, batch.kwargs, batch.batch)) if isinstance(leaf, Tensor)]
    lengths = [leaf for leaf in leaves if _counts(leaf, batch.keys)]
    for i, key in enumerate(batch.keys[: batch.used].tolist()):
        empty = any(int(one[i]) == 0 for one in lengths)  # of no length, which is reported elsewhere
        deviation = _deviation(recordings[i].squeeze())
        if deviation is not None:
            yield key, f"recording {i + 1} of batch {number}", math.nan if empty and deviation == 0.0 else deviation


def _counts(leaf: Tensor, keys: Tensor) -> bool:
    return not leaf.is_nested and leaf.shape == keys.shape and not leaf.is_floating_point()


def _deviation(recording: Tensor) -> float | None:
    """Standard deviation over time, which is the longer axis by far, or of features either one; infinite for NaN.

    Args:
        recording: Samples (T,), channels (C, T), (T, C), or features (F, T), (T, F).

    Returns:
        It; for several channels or bands the mean of theirs. None for what is neither.
    """
    if recording.dim() not in (1, 2):
        return None
    if not bool(recording.isfinite().all()):
        return math.inf
    if recording.dim() == 1:
        return _over_time(recording.unsqueeze(1))
    short, long = sorted(recording.shape)
    as_rows = recording if recording.shape[0] == long else recording.T
    if short <= _MOST_CHANNELS and long >= _FRAMES_PER_CHANNEL * short:
        return _over_time(as_rows)
    return min(_over_time(as_rows), _over_time(as_rows.T))


def _over_time(frames: Tensor) -> float:
    """Mean over the columns of the standard deviation, without the padding at both ends; 0 where nothing is left."""
    inner = (frames != frames[-1]).any(dim=1) & (frames != frames[0]).any(dim=1)
    places = inner.nonzero()
    if not len(places):
        return 0.0
    sounding = frames[int(places[0]) : int(places[-1]) + 1].double()
    return float(sounding.std(dim=0, correction=0).mean())
