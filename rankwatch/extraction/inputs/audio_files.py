"""Files of audio as evaluation sets: read, mixed to mono, resampled, cut, batched by length."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch
from scipy.signal import resample_poly
from torch import Tensor

from rankwatch.extraction.inputs.folder_search import FoundFiles, find_files

SUFFIXES = (".wav", ".flac", ".ogg", ".mp3", ".opus", ".aiff", ".aif")
_SHORTEST = 1600  # samples a batch is padded to at least: front ends refuse inputs shorter than their kernels
_BLOCK = 1 << 20  # samples of each channel that are decoded at once


def find_audio(folder: str | Path) -> FoundFiles:
    """All audio files below `folder`, sorted, and how many others there are.

    Returns:
        Paths, those in folders inside of it and behind links as well.

    Raises:
        FileNotFoundError: If the folder isn't there.
        ValueError: If it holds no file with one of the known endings.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise FileNotFoundError(f"evaluation set: there is no folder {folder}")
    found = find_files(folder, SUFFIXES)
    if not found.files:
        others = f"; {found.passed_over()}" if found.others else ""
        raise ValueError(f"evaluation set: no audio in {folder} (looked for {', '.join(SUFFIXES)}{others})")
    return found


def read_audio(
    path: str | Path | BinaryIO, sample_rate: int, max_seconds: float | None = None, start: float = 0.0
) -> Tensor:
    """One file, or a part of it, as (T,) float32 in [-1, 1] at `sample_rate`, mono.

    Only the part is decoded, in blocks whose channels are averaged at once, so that memory follows what is returned.
    Resampling is scipy's polyphase filter. Needs `soundfile` (the extra ``rankwatch[audio]``).

    Args:
        path: The file, or an open one.
        sample_rate: Samples per second that are wanted.
        max_seconds: How much is read at most, or None for all of it.
        start: Where reading begins, in seconds from the file's start.

    Returns:
        The waveform on the CPU; empty for a file without samples, and where `start` is at the file's end or behind it.

    Raises:
        ImportError: If soundfile isn't installed.
    """
    try:
        import soundfile  # an extra, needed by files of audio alone
    except ImportError as error:
        raise ImportError("files of audio need soundfile: pip install 'rankwatch[audio]'") from error
    with soundfile.SoundFile(path) as file:
        rate = file.samplerate
        first = round(start * rate)
        if first >= file.frames > 0:
            return torch.zeros(0)
        if first:
            file.seek(first)
        samples = _averaged_channels(file, None if max_seconds is None else int(max_seconds * rate))
    if rate != sample_rate and len(samples):
        common = math.gcd(rate, sample_rate)
        samples = resample_poly(samples, sample_rate // common, rate // common)
    return torch.from_numpy(np.ascontiguousarray(samples, dtype=np.float32))


def _averaged_channels(file: Any, frames: int | None) -> np.ndarray[Any, np.dtype[np.float32]]:
    """The next samples of an open file, at most `frames`; what its header promises beyond its end isn't there."""
    blocks = [np.zeros(0, dtype=np.float32)]
    while frames is None or frames > 0:
        block = file.read(_BLOCK if frames is None else min(frames, _BLOCK), dtype="float32", always_2d=True)
        if not len(block):
            break
        blocks.append(block.mean(axis=1))
        frames = None if frames is None else frames - len(block)
    return np.concatenate(blocks)


def padded_batches(utterances: Sequence[Tensor], batch_size: int) -> list[tuple[Tensor, Tensor]]:
    """Batches of like length: (B, T) zero-padded waveforms and (B,) int64 lengths in samples."""
    ordered = sorted(utterances, key=len)
    batches = []
    for start in range(0, len(ordered), batch_size):
        group = ordered[start : start + batch_size]
        lengths = torch.tensor([len(u) for u in group], dtype=torch.int64)
        waveforms = torch.zeros(len(group), max(_SHORTEST, int(lengths.max())))
        for row, utterance in zip(waveforms, group, strict=True):
            row[: len(utterance)] = utterance
        batches.append((waveforms, lengths))
    return batches
