"""torchaudio's HuBERT pretraining: its real classes, called as its two example recipes call them."""

from __future__ import annotations

from collections import namedtuple
from typing import Any

import pytest
import torch
from recipe import drawn, padded, pretrain
from speech_models import CONV, torchaudio_hubert
from torch import Tensor
from toys import pl

from rankwatch import RankWatch, RowSampling

Batch = namedtuple("Batch", ["inputs", "labels"])


class ManualHubert(pl.LightningModule):
    """A tuple batch; manual optimisation with a scaler of its own; None for a loss that is no use."""

    def __init__(self, layer_drop: float = 0.1) -> None:
        super().__init__()
        self.model = torchaudio_hubert(encoder_layer_drop=layer_drop).train()
        self.automatic_optimization = False
        self.scaler = torch.amp.GradScaler("cpu", enabled=False)
        self.optimizer = torch.optim.AdamW(self.model.parameters(), 1e-3)

    def training_step(self, batch: Any, index: int) -> Tensor | None:
        optimizer = self.optimizers()
        optimizer.zero_grad()
        waveforms, labels, lengths = batch
        masked, unmasked, penalty = self.model(waveforms, labels, lengths)
        loss = masked.logsumexp(1).mean() + unmasked.square().mean() + penalty
        if index == 1:  # a loss that came out as NaN
            optimizer.zero_grad()
            return None
        self.manual_backward(self.scaler.scale(loss))
        self.scaler.step(optimizer)
        self.scaler.update()
        return loss

    def configure_optimizers(self) -> Any:
        return self.optimizer


class NestedHubert(ManualHubert):
    """The newer example: automatic optimisation, `model(*batch.inputs)`, `batch.labels` beside it."""

    def __init__(self) -> None:
        super().__init__()
        self.automatic_optimization = True

    def training_step(self, batch: Any, index: int) -> Tensor:
        masked, unmasked, penalty = self.model(*batch.inputs)
        return masked.logsumexp(1).mean() + unmasked.square().mean() + penalty + 0 * batch.labels[0].sum()


def _batch(lengths: Any, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    waveforms, lengths = padded(lengths, seed)
    frames = waveforms.shape[1]
    for _, kernel, stride in CONV:
        frames = (frames - kernel) // stride + 1
    return waveforms, torch.zeros(len(lengths), frames, dtype=torch.long), lengths


CROPPED = [_batch([1265] * 5, 0), _batch([905] * 8, 1), _batch([1600] * 4, 2)]  # each to its shortest
LAYERS = [
    "model.wav2vec2.feature_extractor",
    *(f"model.wav2vec2.encoder.transformer.layers.{i}" for i in range(3)),
]


@pytest.mark.parametrize("nested", [False, True])
def test_cropped_batches(nested: bool, tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    batches = [Batch(one, (one[1],)) for one in CROPPED] if nested else CROPPED
    run = pretrain(NestedHubert if nested else ManualHubert, batches, tmp_path, monkeypatch)
    assert run.layers == LAYERS
    for layer in LAYERS:
        assert run.frames(layer) == [62] * 5 + [44] * 8 + [79] * 4
        assert run.source(layer) == "lengths given by model.wav2vec2.feature_extractor"
        assert run.rows("frame")[layer] == {17 * 4}
        assert run.rows("utterance")[layer] == {17}
    assert {r.protocol.input for r in run.watch.readings} == {"clean"}  # its own masks are drawn in eval mode too
    assert "evaluation sets are run by torchaudio's Wav2Vec2Model (unmasked, eval mode)" in run.table
    assert "(B, T, C)" in run.table


def test_padded_to_the_longest(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The recipe's `pad=True`."""
    lengths = [1600, 900, 1234, 37]
    run = pretrain(ManualHubert, [_batch(lengths, 0)], tmp_path, monkeypatch)
    assert run.frames(LAYERS[-1]) == [79, 44, 61, 1]
    assert run.rows("frame")[LAYERS[-1]] == {drawn([79, 44, 61, 1])}


def test_lengths_above_the_tensor_are_refused_by_name(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    waveforms, labels, lengths = _batch([1600, 900, 1234, 400], 0)
    run = pretrain(ManualHubert, [(waveforms, labels, lengths + 800)] * 3, tmp_path, monkeypatch)
    assert not run.watch.readings
    (said,) = [one for one in run.said if "first_batches" in one]
    assert "looks like lengths but doesn't fit: argument 'audio_lengths' = [2400, 1700, 2034, 1200]" in said
    assert "[1] not read" in run.table


def test_optimisers_that_are_stepped_behind_the_trainers_back(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """`global_step` stays 0 then; readings come by the optimiser's own steps."""

    class Raw(ManualHubert):
        def training_step(self, batch: Any, index: int) -> Tensor:
            self.optimizer.zero_grad()
            masked, _, _ = self.model(*batch)
            loss = masked.logsumexp(1).mean()
            loss.backward()
            self.optimizer.step()
            return loss

    watch = RankWatch(every_n_steps=2, rows=RowSampling(n_utterances=10))
    run = pretrain(Raw, CROPPED, tmp_path, monkeypatch, watch=watch, max_epochs=3)
    assert sorted({r.step for r in run.watch.readings}) == [2, 4, 6, 8, 9]
    assert not run.module.optimizer._optimizer_step_post_hooks
