"""Sounds that speech models are not made for: alarms, very short clips, clips that are mostly silence.

All are written once into a folder, from seeds, so that they are the same for every model.
"""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

from study.speech import SAMPLE_RATE, unseen_files, waveforms

CLIPS = 96
SHORT = (0.1, 0.3)
"""Seconds of the short clips."""
SILENT = (0.5, 0.9)
"""Share of silence in the intermittent clips, each of one second."""
_FADE = 0.005
Samples = NDArray[np.float64]


def _seconds(length: float) -> Samples:
    return np.arange(int(length * SAMPLE_RATE)) / SAMPLE_RATE


def _gate(t: Samples, period: float, share: float) -> Samples:
    """1 for a share of each period and 0 else, with soft edges."""
    phase = (t / period) % 1.0
    edge = _FADE / period
    return np.clip(np.minimum(phase / edge, (share - phase) / edge), 0.0, 1.0)


def _sweep(t: Samples, low: float, high: float, period: float, back: bool) -> Samples:
    """A tone that goes from one frequency to the other in each period, and back again where it is a siren."""
    phase = (t / period) % 1.0
    height = 1 - np.abs(2 * phase - 1) if back else phase
    return np.sin(2 * np.pi * np.cumsum(low + (high - low) * height) / SAMPLE_RATE)


ALARMS: dict[str, Callable[[Samples, float, float], Samples]] = {
    # Time, base frequency and a number in [0, 1) that varies rhythm and share of silence.
    "slow_beep": lambda t, f, x: np.sin(2 * np.pi * f * t) * _gate(t, 0.6, 0.1 + 0.4 * x),
    "fast_beep": lambda t, f, x: np.sin(2 * np.pi * f * t) * _gate(t, 0.12, 0.3 + 0.4 * x),
    "two_tone": lambda t, f, x: np.sin(2 * np.pi * f * np.where((t / 0.3) % 2 < 1, 1.0, 1.25) * t),
    "siren": lambda t, f, x: _sweep(t, 0.6 * f, 1.4 * f, 0.5 + 0.5 * x, True),
    "rising": lambda t, f, x: _sweep(t, 0.5 * f, 1.5 * f, 0.25 + 0.2 * x, False),
    "buzzer": lambda t, f, x: np.sign(np.sin(2 * np.pi * (60 + 60 * x) * t)) * _gate(t, 0.5, 0.7),
    "bell": lambda t, f, x: sum(np.sin(2 * np.pi * f * k * t) for k in (1, 2.76, 5.4)) * np.exp(-6 * (t % 0.5)),
    "clicks": lambda t, f, x: np.sin(2 * np.pi * f * t) * np.exp(-400 * (t % (0.1 + 0.2 * x))),
}
"""Eight kinds of alarm, which are a labelled check of their own."""


def alarms(folder: Path, count: int = CLIPS) -> Path:
    """As many clips of one second of each kind, with a little noise, and a table of their kinds.

    Args:
        folder: Where they are written.
        count: Clips of all kinds together.

    Returns:
        The table.
    """
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(17)
    t = _seconds(1.0)
    rows = []
    for kind, make in ALARMS.items():
        for i in range(count // len(ALARMS)):
            frequency, variety, noise = rng.uniform(400, 2500), rng.uniform(), 10 ** rng.uniform(-3, -1.5)
            clip = 0.3 * make(t, frequency, variety) + noise * rng.standard_normal(len(t))
            _write(folder / f"{kind}-{i:02d}.flac", clip)
            rows.append({"path": f"{kind}-{i:02d}.flac", "label": kind})
    with (folder / "alarms.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, ["path", "label"])
        writer.writeheader()
        writer.writerows(rows)
    return folder / "alarms.csv"


def short_clips(data: Path, folder: Path, seconds: float, count: int = CLIPS) -> Path:
    """Pieces of so many seconds of recordings that weren't trained on; returns the folder."""
    return _pieces(data, folder, seconds, 0.0, count)


def intermittent_clips(data: Path, folder: Path, silence: float, count: int = CLIPS) -> Path:
    """One second of such a recording, of which a share is silenced in bursts; returns the folder."""
    return _pieces(data, folder, 1.0, silence, count)


def _pieces(data: Path, folder: Path, seconds: float, silence: float, count: int) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    if (folder / f"{count - 1:03d}.flac").exists():  # the last one: all are there
        return folder
    rng = np.random.default_rng(23)
    speech = [one.double().numpy() for one in waveforms(tuple(unseen_files(data)))]
    t = _seconds(seconds)
    speech = [one for one in speech if len(one) >= 1.2 * SAMPLE_RATE]
    for i in range(count):
        whole = speech[i % len(speech)]
        loud = np.convolve(whole**2, np.ones(len(t)), "valid")
        starts = np.flatnonzero(loud >= np.quantile(loud, 0.5))  # a piece of a pause is no speech
        start = int(rng.choice(starts))
        clip = whole[start : start + len(t)]
        if silence:
            clip = clip * _gate(t + rng.uniform(), 0.25, 1 - silence)
        _write(folder / f"{i:03d}.flac", 0.1 * clip + 1e-4 * rng.standard_normal(len(t)))
    return folder


def _write(path: Path, samples: Samples) -> None:
    soundfile.write(path, np.clip(samples, -1, 1), SAMPLE_RATE, format="FLAC")
