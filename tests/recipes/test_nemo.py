"""NVIDIA NeMo's self-supervised models, by a stand-in: tuples by position, a dataclass with three lengths."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
import torch
from nemo_like import AudioNoiseBatch, NemoModel
from recipe import drawn, padded, pretrain

SAMPLES = [[1600, 900, 1234, 200], [1210, 777, 1111], [2000, 1999, 640, 400, 1203]]
LAYERS = ["encoder.pre_encode", "encoder.layers.0", "encoder.layers.1", "encoder.layers.2"]


def _frames(samples: list[int]) -> list[int]:
    return [((n // 20 - 1) // 2) // 2 + 1 for n in samples]


FRAMES = [n for samples in SAMPLES for n in _frames(samples)]


def _tuple(samples: list[int], seed: int) -> tuple[Any, ...]:
    """Signal, lengths, tokens, lengths of the tokens."""
    waveforms, lengths = padded(samples, seed)
    return waveforms, lengths, torch.zeros(len(samples), 7, dtype=torch.long), torch.full((len(samples),), 7)


def _dataclass(samples: list[int], seed: int) -> AudioNoiseBatch:
    """The noise is as long as the longest signal for every utterance."""
    waveforms, lengths = padded(samples, seed)
    noise = torch.randn(waveforms.shape, generator=torch.Generator().manual_seed(seed))
    noisy = waveforms + 0.1 * noise * (waveforms != 0)
    whole = torch.full_like(lengths, waveforms.shape[1])
    names = [f"clip{i}" for i in range(len(samples))]
    return AudioNoiseBatch(names, waveforms, lengths, noise, whole, noisy, lengths.clone())


@pytest.mark.parametrize("batch", [_tuple, _dataclass])
@pytest.mark.parametrize("after", [False, True])
def test_one_line(batch: Any, after: bool, tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    batches = [batch(samples, seed) for seed, samples in enumerate(SAMPLES)]
    run = pretrain(partial(NemoModel, after), batches, tmp_path, monkeypatch)
    assert run.layers == LAYERS
    for layer in LAYERS:
        assert run.frames(layer) == FRAMES
        assert run.source(layer) == "lengths given by encoder.pre_encode"
        assert run.rows("frame")[layer] == {drawn(FRAMES)}
    assert {r.protocol.input for r in run.watch.readings} == {"clean"}
    assert "unmasked" in run.table
