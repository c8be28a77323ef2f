"""Tiny files of audio, and text files beside them."""

from pathlib import Path

import numpy as np
import pytest


def write_audio(path: Path, seconds=0.1, *, rate=8_000, seed=0):
    """Writes noise; makes the folder."""
    soundfile = pytest.importorskip("soundfile")
    path.parent.mkdir(parents=True, exist_ok=True)
    samples = np.random.default_rng(seed).uniform(-0.3, 0.3, round(seconds * rate))
    soundfile.write(path, samples, rate, subtype="VORBIS" if path.suffix == ".ogg" else "PCM_16")
    return path


def write_text(path: Path, *lines, encoding="utf-8"):
    """Writes lines; makes the folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes("".join(f"{line}\n" for line in lines).encode(encoding))
    return path
