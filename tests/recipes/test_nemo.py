"""NVIDIA NeMo's self-supervised models, by a stand-in: tuples by position, a dataclass with three lengths."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
import torch
from nemo_like import BANDS, WIDTH, AudioNoiseBatch, NemoModel
from recipe import drawn, padded, pretrain
from torch import Tensor, nn

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


class Stacking(nn.Module):
    """Features of four frames side by side, without lengths of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv1d(BANDS, WIDTH, 4, 4)

    def forward(self, x: Tensor, lengths: Tensor) -> tuple[Tensor, None]:
        return self.conv(x.transpose(1, 2)).transpose(1, 2), None


class WithoutLengths(NemoModel):
    """Its subsampling tells no lengths, so the encoder's argument has to."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder.pre_encode = Stacking()
        self.encoder.forward = self.encode  # type: ignore[method-assign]

    def encode(self, audio_signal: Tensor, length: Tensor) -> tuple[Tensor, Tensor]:
        x, _ = self.encoder.pre_encode(x=audio_signal.transpose(1, 2), lengths=length)
        for layer in self.encoder.layers:
            x = layer(x=x, pos_emb=torch.zeros(1, WIDTH))
        return x.transpose(1, 2), length // 4


def test_the_encoders_argument_where_the_subsampling_tells_nothing(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    batches = [_dataclass(samples, seed) for seed, samples in enumerate(SAMPLES)]
    run = pretrain(WithoutLengths, batches, tmp_path, monkeypatch)
    assert run.frames(LAYERS[-1]) == [n // 20 // 4 for samples in SAMPLES for n in samples]
    assert "argument 'length' (input frames, through 1 convolution)" in run.source(LAYERS[-1])


def test_features_in_the_batch(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A loader that preprocesses: (B, D, T) and its lengths in frames."""

    class Processed(NemoModel):
        def training_step(self, batch: Any, batch_idx: int) -> dict[str, Tensor]:
            features, _ = self.mask_processor(input_feats=batch[0], input_lengths=batch[1])
            return {"loss": self.decoder(self.encoder(audio_signal=features, length=batch[1])[0]).square().mean()}

    lengths = [torch.tensor([n // 20 for n in samples]) for samples in SAMPLES]
    draws = torch.Generator().manual_seed(0)
    batches = [(torch.randn(len(n), BANDS, int(n.max()), generator=draws), n, torch.zeros(len(n), 3)) for n in lengths]
    run = pretrain(Processed, batches, tmp_path, monkeypatch)
    assert run.frames(LAYERS[-1]) == FRAMES
    assert {r.protocol.input for r in run.watch.readings} == {"clean"}


def test_lengths_above_the_features_are_refused_by_name(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    class Wrong(WithoutLengths):
        def training_step(self, batch: Any, batch_idx: int) -> dict[str, Tensor]:
            features, lengths = self.preprocessor(input_signal=batch[0], length=batch[1])
            return {"loss": self.encoder(audio_signal=features, length=lengths + 40)[0].square().mean()}

    batches = [_tuple(samples, seed)[:2] for seed, samples in enumerate(SAMPLES)]
    run = pretrain(Wrong, [[x, n + 800] for x, n in batches], tmp_path, monkeypatch)
    assert not run.watch.readings
    (said,) = [one for one in run.said if "first_batches" in one]
    assert "looks like lengths but doesn't fit: argument 'length' = [160, 125, 141, 90]" in said


def test_another_model_with_the_same_names_is_replayed(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """`preprocessor` and `encoder` that take other arguments than NeMo's, and a batch in another order."""

    class Other(NemoModel):
        def training_step(self, batch: Any, batch_idx: int) -> dict[str, Tensor]:
            return {"loss": self.forward(batch[0], batch[2], apply_mask=True).square().mean()}

    batches = [(x, torch.full_like(n, 9999), n) for x, n in (_tuple(s, i)[:2] for i, s in enumerate(SAMPLES))]
    run = pretrain(Other, batches, tmp_path, monkeypatch)
    assert run.frames(LAYERS[-1]) == FRAMES
    assert {r.protocol.input for r in run.watch.readings} == {"replayed"}
