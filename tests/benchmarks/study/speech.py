"""What is trained on: two thirds of four small corpora of real speech; a third of their recordings stays unseen."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import torch
from audio_data import AudioBatch, collate, find_audio, read_audio, standardise
from torch import Tensor

from study.catalogue import CROP_SECONDS

SAMPLE_RATE = 16_000
IN_DOMAIN = ("emodb", "speechocean", "autovot", "arabic_commands")


def training_files(data: Path) -> list[Path]:
    """Recordings that are trained on: of each corpus, in the order of the paths, all but every third."""
    return [path for corpus in IN_DOMAIN for i, path in enumerate(_files(data / corpus)) if i % 3]


def unseen_files(data: Path) -> list[Path]:
    """The other third, by the same speakers in the same rooms."""
    return [path for corpus in IN_DOMAIN for i, path in enumerate(_files(data / corpus)) if i % 3 == 0]


def _files(folder: Path) -> list[Path]:
    return find_audio(folder, 0.2)[0]


@cache
def waveforms(files: tuple[Path, ...]) -> tuple[Tensor, ...]:
    """Recordings in memory, standardised."""
    return tuple(standardise(read_audio(file)) for file in files)


def crops(speech: tuple[Tensor, ...], size: int, generator: torch.Generator) -> AudioBatch:
    """A batch of random crops; a recording is drawn in proportion to its length, so that every second counts alike."""
    lengths = torch.tensor([len(waveform) for waveform in speech], dtype=torch.float64)
    chosen = torch.multinomial(lengths, size, replacement=True, generator=generator).tolist()
    return collate([_crop(speech[i], generator) for i in chosen])


def _crop(waveform: Tensor, generator: torch.Generator) -> Tensor:
    samples = int(CROP_SECONDS * SAMPLE_RATE)
    spare = len(waveform) - samples
    if spare <= 0:
        return waveform
    start = int(torch.randint(spare + 1, (), generator=generator))
    return waveform[start : start + samples]
