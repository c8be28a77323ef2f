"""A stand-in for one padded forward pass: four utterances, one layer."""

from __future__ import annotations

from typing import Any

import torch
from lengths_of import resolve_lengths
from speech_models import SAMPLES, audio
from torch import nn

from rankwatch.extraction.model.layers import WatchedLayer
from rankwatch.extraction.valid_frames.observed_outputs import Observed
from rankwatch.extraction.valid_frames.valid_lengths import Valid

WAVEFORMS, LENGTHS = audio()

# 4 utterances of up to 1600 samples, a front end of 79 frames.
FRONT_END = nn.Sequential(nn.Conv1d(1, 8, 10, 5), nn.Conv1d(8, 8, 3, 2), nn.Conv1d(8, 8, 2, 2))
LAYER = WatchedLayer("front", FRONT_END, "frontend", "student", "L00")
FRAMES = [79, 44, 61, 1]
STACK = nn.ModuleList([nn.TransformerEncoderLayer(8, 2, 8)])


def resolve(batch: Any, frames: int = 79, layer: WatchedLayer = LAYER, **options: Any) -> Valid:
    hidden = torch.zeros(len(SAMPLES), frames, 8)
    options = {"args": (), "kwargs": {}, **options}
    return resolve_lengths([Observed(layer, hidden)], batch=batch, **options)["front"]
