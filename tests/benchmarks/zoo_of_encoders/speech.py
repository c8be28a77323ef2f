"""What is trained on and what is probed: speech that is synthesised on first use, or real corpora."""

from __future__ import annotations

import csv
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import numpy as np
import soundfile
import torch
from audio_data import AudioBatch, collate, find_audio, read_audio, standardise
from speech_synthesis import cache_folder, synthetic_speech
from torch import Tensor

from zoo_of_encoders.spoken_labels import spoken_digits

__all__ = ["HOP", "RATE", "AudioBatch", "Labelled", "collate", "crops", "labelled", "sounds", "waveforms"]

SECONDS = 0.8
"""Longest crop that is trained on."""
RATE = 16_000
HOP = 320
REAL = ("emodb", "speechocean", "autovot", "arabic_commands")
_FEWEST = 60  # frames of a phone that is probed for


@cache
def waveforms(corpus: str, data: Path | None) -> tuple[Tensor, ...]:
    """A corpus in memory, standardised.

    Args:
        corpus: ``"spoken"`` (the example's), ``"other"`` (other utterances by the same voices), ``"real"`` (four
            corpora below `data`) or ``"digits"`` (fsdd).
        data: Folder of the real ones.

    Returns:
        Waveforms (n,).

    Raises:
        FileNotFoundError: If a real corpus is asked for without a folder.
    """
    if corpus in ("spoken", "other"):
        folders = [synthetic_speech(seed=("spoken", "other").index(corpus))]
    elif data is None:
        raise FileNotFoundError(f"the corpus {corpus!r} needs --data")
    else:
        folders = [data / name for name in REAL] if corpus == "real" else [data / "fsdd"]
    files = [file for folder in folders for file in find_audio(folder, 0.2)[0]]
    return tuple(standardise(read_audio(file)) for file in (files[::3] if corpus == "digits" else files))


def crops(speech: tuple[Tensor, ...], size: int, generator: torch.Generator) -> AudioBatch:
    """A batch of random crops."""
    chosen = torch.randint(len(speech), (size,), generator=generator).tolist()
    return collate([_crop(speech[i], generator) for i in chosen])


def _crop(waveform: Tensor, generator: torch.Generator) -> Tensor:
    spare = len(waveform) - int(SECONDS * RATE)
    if spare <= 0:
        return waveform
    start = int(torch.randint(spare + 1, (), generator=generator))
    return waveform[start : start + int(SECONDS * RATE)]


@cache
def sounds() -> Path:
    """A further evaluation set that is no speech: 64 sums of partials with some noise, written once."""
    folder = cache_folder() / "zoo-sounds-1"
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(11)
    times = np.arange(int(SECONDS * RATE)) / RATE
    for i in range(64):
        pitch, glide = rng.uniform(80, 1200), rng.uniform(-0.6, 0.6)
        phase = 2 * np.pi * pitch * (times + 0.5 * glide * times**2)
        tone = sum(rng.uniform(0, 1) / k * np.sin(k * phase) for k in range(1, 9))
        shape = np.exp(-times / rng.uniform(0.1, 1.0)) * (1 + np.sin(2 * np.pi * rng.uniform(1, 9) * times))
        samples = shape * tone + rng.uniform(0, 0.2) * rng.standard_normal(len(times))
        path = folder / f"{i:02d}.flac"
        if not path.exists():
            aside = folder / f"{i:02d}.{id(rng)}.part"
            soundfile.write(aside, 0.3 * samples / np.abs(samples).max(), RATE, format="FLAC")
            aside.replace(path)
    return folder


@dataclass(frozen=True)
class Labelled:
    """Recordings for linear probes.

    Attributes:
        waveforms: Standardised.
        frames: Task to, for each recording, the label of each frame of 20 ms, -1 where there is none.
        utterances: Task to the label of each recording.
        folds: Task to 0 or 1 for each recording; what is to be generalised over is not in both.
    """

    waveforms: tuple[Tensor, ...]
    frames: dict[str, tuple[np.ndarray, ...]] = field(default_factory=dict)
    utterances: dict[str, np.ndarray] = field(default_factory=dict)
    folds: dict[str, np.ndarray] = field(default_factory=dict)


@cache
def labelled(corpus: str, data: Path | None) -> tuple[Labelled, ...]:
    """What runs on a corpus are probed with: synthesised digits, voices and phones, or real ones."""
    return (_spoken(),) if data is None or corpus not in ("real", "digits") else (_emodb(data), _fsdd(data))


def _spoken() -> Labelled:
    """Digits and phones over voices, voices over digits."""
    folder = spoken_digits()
    rows = _manifest(folder)
    speech = tuple(standardise(read_audio(folder / row["path"])) for row in rows)
    voices = sorted({row["speaker"].split("+")[1] for row in rows})
    digits = np.array([int(row["digit"]) for row in rows])
    voice = np.array([voices.index(row["speaker"].split("+")[1]) for row in rows])
    entries = [[entry.split(":", 1) for entry in row["phones"].split(" ")] for row in rows]
    spans = [
        [(int(start) / 1000, int(end) / 1000, name.strip("'2["))
         for (start, name), (end, _) in zip(entry, [*entry[1:], ("9999", "")], strict=True)
         if not name.startswith("_")]
        for entry in entries
    ]  # fmt: skip
    return Labelled(
        speech,
        {"phones": _phones(speech, spans)},
        {"digits": digits, "voices": voice},
        {"phones": voice % 2, "digits": voice % 2, "voices": digits % 2},
    )


def _emodb(data: Path) -> Labelled:
    """Phones labelled by hand, in the first 1.5 seconds of every second recording."""
    rows = [row for row in _manifest(data / "emodb") if row["alignment_path"]][::2]
    speech = tuple(standardise(read_audio(data / "emodb" / row["path"]))[: 3 * RATE // 2] for row in rows)
    spans = []
    for row in rows:
        with (data / "emodb" / row["alignment_path"]).open() as file:
            entries = [entry for entry in csv.DictReader(file, delimiter="\t") if entry["tier"] == "phone"]
        spans.append([(float(e["start"]), float(e["end"]), e["label"]) for e in entries])
    return Labelled(speech, {"phones": _phones(speech, spans)}, {}, {"phones": _speakers(rows) % 2})


def _fsdd(data: Path) -> Labelled:
    """Six takes of each digit by each of six speakers."""
    rows = [row for row in _manifest(data / "fsdd") if int(row["index"]) < 6]
    speech = tuple(standardise(read_audio(data / "fsdd" / row["path"])) for row in rows)
    digits = np.array([int(row["label"]) for row in rows])
    speakers = _speakers(rows)
    return Labelled(
        speech,
        {},
        {"digits": digits, "voices": speakers},
        {"digits": speakers % 2, "voices": digits % 2},
    )


def _phones(speech: tuple[Tensor, ...], spans: list[list[tuple[float, float, str]]]) -> tuple[np.ndarray, ...]:
    """Frames whose middle lies in a phone; rare phones have no label."""
    names: dict[str, int] = {}
    labels = []
    for waveform, entries in zip(speech, spans, strict=True):
        found = np.full(max(1, len(waveform) // HOP), -1)
        for start, end, name in entries:
            first, last = (int(seconds * RATE / HOP + 0.5) for seconds in (start, end))
            found[first:last] = names.setdefault(name, len(names))
        labels.append(found)
    everything = np.concatenate(labels)
    counts = np.bincount(everything[everything >= 0], minlength=len(names))
    return tuple(np.where((found >= 0) & (counts[found] >= _FEWEST), found, -1) for found in labels)


def _speakers(rows: list[dict[str, str]]) -> np.ndarray:
    names = sorted({row["speaker"] for row in rows})
    return np.array([names.index(row["speaker"]) for row in rows])


def _manifest(folder: Path) -> list[dict[str, str]]:
    with (folder / "manifest.csv").open(encoding="utf-8") as file:
        return list(csv.DictReader(file))
