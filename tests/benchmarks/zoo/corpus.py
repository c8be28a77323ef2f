"""Speech for the zoo: real corpora from a folder beside the project, or synthesised; and their labels for the probe."""

from __future__ import annotations

import csv
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

ROOT = Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT / "examples"))

from audio_data import AudioBatch, collate, find_audio, read_audio, standardise  # noqa: E402
from speech_synthesis import synthetic_speech  # noqa: E402

SECONDS = 0.8
"""Longest crop that is trained on."""
RATE = 16_000
HOP = 320
"""Samples from one frame of any of the zoo's models to the next."""
REAL = ("emodb", "speechocean", "autovot", "arabic_commands")


@cache
def waveforms(data: Path, corpus: str) -> tuple[Tensor, ...]:
    """A corpus in memory, standardised: ``"real"`` (four corpora), ``"digits"`` (fsdd) or ``"generated"``."""
    folders = {"real": [data / name for name in REAL], "digits": [data / "fsdd"]}.get(corpus) or [synthetic_speech()]
    files = [file for folder in folders for file in find_audio(folder, 0.2)[0]]
    if corpus == "digits":
        files = files[::3]
    return tuple(standardise(read_audio(file)) for file in files)


def batches(data: Path, corpus: str, size: int, generator: torch.Generator) -> AudioBatch:
    """A batch of random crops."""
    speech = waveforms(data, corpus)
    chosen = torch.randint(len(speech), (size,), generator=generator).tolist()
    return collate([_crop(speech[i], generator) for i in chosen])


def _crop(waveform: Tensor, generator: torch.Generator) -> Tensor:
    spare = len(waveform) - int(SECONDS * RATE)
    if spare <= 0:
        return waveform
    start = int(torch.randint(spare + 1, (), generator=generator))
    return waveform[start : start + int(SECONDS * RATE)]


@dataclass(frozen=True)
class Labelled:
    """Recordings for a probe.

    Attributes:
        waveforms: Standardised.
        labels: One per recording, or where `frames` one per frame of 20 ms, -1 where there is none.
        fold: 0 or 1 for each recording; no speaker is in both.
        frames: Whether frames are labelled.
    """

    waveforms: tuple[Tensor, ...]
    labels: tuple[np.ndarray, ...]
    fold: np.ndarray
    frames: bool


@cache
def phones(data: Path) -> Labelled:
    """Phones of emodb, labelled by hand, in the first 1.5 seconds of every second recording."""
    rows = [row for row in _manifest(data / "emodb") if row["alignment_path"]][::2]
    longest = 3 * RATE // 2
    speech = [standardise(read_audio(data / "emodb" / row["path"]))[:longest] for row in rows]
    names: dict[str, int] = {}
    labels = []
    for row, waveform in zip(rows, speech, strict=True):
        found = np.full(len(waveform) // HOP, -1)
        with (data / "emodb" / row["alignment_path"]).open() as file:
            for entry in csv.DictReader(file, delimiter="\t"):
                if entry["tier"] == "phone":
                    # Frames whose middle lies in the phone.
                    start, end = (int(float(entry[key]) * RATE / HOP + 0.5) for key in ("start", "end"))
                    found[start:end] = names.setdefault(entry["label"], len(names))
        labels.append(found)
    return Labelled(tuple(speech), tuple(labels), _folds(rows), frames=True)


@cache
def digits(data: Path) -> Labelled:
    """Digits of fsdd: four takes of each by each of six speakers."""
    rows = [row for row in _manifest(data / "fsdd") if int(row["index"]) < 4]
    speech = tuple(standardise(read_audio(data / "fsdd" / row["path"])) for row in rows)
    return Labelled(speech, tuple(np.array([int(row["label"])]) for row in rows), _folds(rows), frames=False)


def _folds(rows: list[dict[str, str]]) -> np.ndarray:
    speakers = sorted({row["speaker"] for row in rows})
    return np.array([speakers.index(row["speaker"]) % 2 for row in rows])


def _manifest(folder: Path) -> list[dict[str, str]]:
    with (folder / "manifest.csv").open() as file:
        return list(csv.DictReader(file))
