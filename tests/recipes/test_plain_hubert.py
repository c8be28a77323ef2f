"""HuBERT in plain Lightning: a named tuple, `input_lengths` beside a list of `target_lengths`, targets that trim T."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import pytest
import torch
from recipe import drawn, padded, pretrain
from torch import Tensor, nn
from toys import pl

from rankwatch import RankWatch, RowSampling

WIDTH = 24
SAMPLES = [[1600, 1580, 1555], [920, 900], [1234, 1200, 1190], [400, 390, 380, 360]]  # buckets of like duration


class Batch(NamedTuple):
    """What the bucketing loader gives."""

    inputs: Tensor
    input_lengths: Tensor
    targets: Tensor
    target_lengths: list[int]


def _frames(samples: int) -> int:
    return ((samples - 10) // 5 + 1 - 8) // 4 + 1


class FeatureEncoder(nn.Module):
    """(B, C, T) out."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv1d(1, 16, 10, 5, bias=False), nn.GELU(), nn.Conv1d(16, 16, 8, 4, bias=False), nn.GELU()
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x[:, None])


class Hubert(pl.LightningModule):
    """Masks inside; trims to the targets; a second, unmasked pass in validation."""

    def __init__(self) -> None:
        super().__init__()
        self.feature_encoder = FeatureEncoder()
        self.project = nn.Linear(16, WIDTH)
        self.mask_embedding = nn.Parameter(torch.randn(WIDTH))
        layer = partial(nn.TransformerEncoderLayer, WIDTH, 2, 32, 0.1, batch_first=True)
        self.context = nn.ModuleList(layer() for _ in range(3))
        self.head = nn.Linear(WIDTH, 8)

    def encode(self, x: Tensor, lengths: Tensor, frames: int, mask: bool) -> Tensor:
        x = self.project(self.feature_encoder(x).transpose(1, 2))[:, :frames]
        if mask:
            x = torch.where(torch.rand(*x.shape[:2], 1) < 0.5, self.mask_embedding, x)
        valid = ((lengths - 10) // 5 + 1 - 8) // 4 + 1
        for block in self.context:
            x = block(x, src_key_padding_mask=torch.arange(x.shape[1]) >= valid[:, None])
        return x

    def forward(self, inputs: Tensor, input_lengths: Tensor, frames: int, mask: bool = True) -> Tensor:
        return self.encode(inputs, input_lengths, frames, mask)

    def training_step(self, batch: Batch, index: int) -> Tensor:
        hidden = self(batch.inputs, batch.input_lengths, max(batch.target_lengths))
        return nn.functional.cross_entropy(self.head(hidden).flatten(0, 1), batch.targets.flatten())

    def validation_step(self, batch: Batch, index: int) -> None:
        masked = self(batch.inputs, batch.input_lengths, max(batch.target_lengths))
        clean = self(batch.inputs, batch.input_lengths, max(batch.target_lengths), mask=False)
        self.log("val_loss", (masked - clean).square().mean())

    def configure_optimizers(self) -> Any:
        return torch.optim.AdamW(self.parameters(), 1e-3)


def _batch(samples: list[int], seed: int, trim: int = 1) -> Batch:
    waveforms, lengths = padded(samples, seed)
    targets = [_frames(n) - trim for n in samples]
    return Batch(waveforms, lengths, torch.zeros(len(samples), max(targets), dtype=torch.long), targets)


def _batches(make: Callable[[list[int], int], Any] = _batch) -> list[Any]:
    return [make(samples, seed) for seed, samples in enumerate(SAMPLES)]


FRAMES = [_frames(n) for samples in SAMPLES for n in samples]
TRIMMED = [min(_frames(n), _frames(samples[0]) - 1) for samples in SAMPLES for n in samples]


def test_one_line(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    run = pretrain(Hubert, _batches(), tmp_path, monkeypatch, accumulate_grad_batches=16)
    assert run.layers == ["feature_encoder", "context.0", "context.1", "context.2"]
    assert run.frames("feature_encoder") == FRAMES
    assert run.frames("context.2") == TRIMMED
    assert "'input_lengths'" in run.source("context.2")
    assert "1 cut off" in run.source("context.2")
    assert run.rows("frame")["context.2"] == {drawn(TRIMMED)}
    assert {r.protocol.input for r in run.watch.readings} == {"replayed"}
    assert "replay of the call of the module itself (eval mode)" in run.table


def test_lengths_under_a_name_that_says_nothing(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Counts of samples that fit exactly need no name; the targets' list is never taken for them."""

    class Anonymous(Hubert):
        def training_step(self, batch: Any, index: int) -> Tensor:
            x, durations, targets, sizes = batch
            return super().training_step(Batch(x, durations, targets, sizes), index)

    run = pretrain(Anonymous, _batches(lambda s, seed: tuple(_batch(s, seed))), tmp_path, monkeypatch)
    assert run.frames("context.2") == TRIMMED


def test_a_path_into_the_batch_wins(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    watch = RankWatch(rows=RowSampling(lengths="input_lengths"))
    run = pretrain(Hubert, _batches(), tmp_path, monkeypatch, watch=watch)
    assert run.frames("context.2") == TRIMMED
    assert run.source("context.2").startswith("field 'input_lengths' of the batch")


def test_a_path_that_is_not_there_names_what_is(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    run = pretrain(Hubert, _batches(), tmp_path, monkeypatch, watch=RankWatch(rows=RowSampling(lengths="lens")))
    assert not run.watch.readings
    (said,) = [one for one in run.said if "first_batches" in one]
    assert "has no 'lens'; it has: inputs, input_lengths, targets, target_lengths" in said


def test_trimmed_by_more_than_recipes_do_is_refused(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    run = pretrain(Hubert, _batches(partial(_batch, trim=5)), tmp_path, monkeypatch)
    assert not run.watch.readings
    (said,) = [one for one in run.said if "first_batches" in one]
    assert "layer 'context.0', 73 frames: looks like lengths but doesn't fit: argument 'input_lengths' = [1600" in said


def test_a_mask_in_the_replayed_call_sets_frames_apart(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    class Told(Hubert):
        def forward(self, inputs: Tensor, input_lengths: Tensor, frames: int, mask: Any = None) -> Tensor:
            return self.encode(inputs, input_lengths, frames, mask is not None)

        def training_step(self, batch: Batch, index: int) -> Tensor:
            mask = torch.rand(batch.targets.shape) < 0.5
            hidden = self(batch.inputs, batch.input_lengths, batch.targets.shape[1], mask)
            return nn.functional.cross_entropy(self.head(hidden).flatten(0, 1), batch.targets.flatten())

    watch = RankWatch(rows=RowSampling(frames_per_utterance=1000))
    run = pretrain(Told, _batches(), tmp_path, monkeypatch, watch=watch)
    assert {r.protocol.frames for r in watch.readings} == {"unmasked"}
    assert {r.protocol.input for r in watch.readings} == {"replayed"}
    (rows,) = run.rows("frame")["context.1"]
    assert 0.4 < rows / sum(TRIMMED) < 0.6
