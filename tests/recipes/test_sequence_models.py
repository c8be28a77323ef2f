"""Encoders of log-mels without attention: blocks of a state space (Mamba), and APC's LSTMs on packed sequences."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from one_by_one import check, outputs, watch_every_frame
from recipe import pretrain
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence
from toys import pl

MELS, WIDTH = 20, 12
LENGTHS = [[61, 84, 77, 69], [90, 80, 66, 71]]


def _clips(lengths: list[int], seed: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    counts = torch.tensor(lengths)
    keep = torch.arange(int(counts.max())) < counts[:, None]
    return torch.randn(4, int(counts.max()), MELS, generator=generator) * keep[:, :, None], counts


BATCHES = [_clips(lengths, seed) for seed, lengths in enumerate(LENGTHS)]


class MambaBlock(nn.Module):
    """A norm, a gated causal convolution and a selective scan, with x added: no attention, no feed-forward."""

    def __init__(self, states: int = 4) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(WIDTH)
        self.in_proj = nn.Linear(WIDTH, 4 * WIDTH, bias=False)
        self.conv1d = nn.Conv1d(2 * WIDTH, 2 * WIDTH, 3, padding=2, groups=2 * WIDTH)
        self.x_proj = nn.Linear(2 * WIDTH, 1 + 2 * states, bias=False)
        self.dt_proj = nn.Linear(1, 2 * WIDTH)
        self.A_log = nn.Parameter(torch.arange(1.0, states + 1).log().repeat(2 * WIDTH, 1))
        self.D = nn.Parameter(torch.ones(2 * WIDTH))
        self.out_proj = nn.Linear(2 * WIDTH, WIDTH, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        inside, gate = self.in_proj(self.norm(x)).chunk(2, dim=-1)
        inside = nn.functional.silu(self.conv1d(inside.mT)[:, :, : x.shape[1]].mT)
        step, into, out = self.x_proj(inside).split([1, 4, 4], dim=-1)
        step = nn.functional.softplus(self.dt_proj(step))
        decay = torch.exp(step[..., None] * -self.A_log.exp())
        state, scanned = x.new_zeros(len(x), *self.A_log.shape), []
        for t in range(x.shape[1]):
            state = decay[:, t] * state + (step * inside)[:, t, :, None] * into[:, t, None]
            scanned.append((state * out[:, t, None]).sum(-1))
        y = torch.stack(scanned, dim=1) + self.D * inside
        added: Tensor = x + self.out_proj(y * nn.functional.silu(gate))
        return added


class MambaEncoder(pl.LightningModule):
    """Predicts frames under a mask that it draws in training; causal, so that padding behind changes nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.subsampling = nn.Conv1d(MELS, WIDTH, 2, stride=2)
        self.layers = nn.ModuleList(MambaBlock() for _ in range(2))
        self.norm_f, self.head = nn.LayerNorm(WIDTH), nn.Linear(WIDTH, 2 * MELS)

    def forward(self, features: Tensor, lengths: Tensor) -> Tensor:
        if self.training:
            features = features.masked_fill(torch.rand(features.shape[:2])[:, :, None] < 0.3, 0.0)
        x = self.subsampling(features.mT).mT
        for layer in self.layers:
            x = layer(x)
        normed: Tensor = self.norm_f(x)
        return normed

    def training_step(self, batch: Any, index: int) -> Tensor:
        features, lengths = batch
        predicted = self.head(self(features, lengths))
        whole = features[:, : 2 * predicted.shape[1]].unflatten(1, (-1, 2)).flatten(2)
        return nn.functional.l1_loss(predicted, whole)

    def configure_optimizers(self) -> Any:
        return torch.optim.Adam(self.parameters(), 1e-3)


def test_blocks_of_a_state_space(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    run = pretrain(MambaEncoder, BATCHES, tmp_path, monkeypatch, watch=watch_every_frame())
    assert run.layers == ["subsampling", "layers.0", "layers.1"]
    calls = [lambda x=x[i : i + 1, :n], n=n: run.module(x, n) for x, counts in BATCHES for i, n in enumerate(counts)]
    for layer in run.layers:
        assert run.frames(layer) == [n // 2 for lengths in LENGTHS for n in lengths]
        seen = outputs(run.module, layer, calls, lambda out: out[0])
        check(run, layer, [one.T for one in seen] if layer == "subsampling" else seen)


class Apc(pl.LightningModule):
    """Layers of an LSTM with connections around them, on packed sequences; predicts a frame some steps ahead."""

    def __init__(self, shift: int = 3) -> None:
        super().__init__()
        self.shift = shift
        self.rnns = nn.ModuleList(nn.LSTM(MELS if i == 0 else WIDTH, WIDTH, batch_first=True) for i in range(3))
        self.postnet = nn.Conv1d(WIDTH, MELS, 1)

    def forward(self, features: Tensor, lengths: Tensor) -> Tensor:
        x: Any = pack_padded_sequence(features, lengths, batch_first=True, enforce_sorted=False)
        for place, rnn in enumerate(self.rnns):
            y, _ = rnn(x)
            x = PackedSequence(x.data + y.data, *y[1:]) if place else y
        unpacked, _ = pad_packed_sequence(x, batch_first=True)
        predicted: Tensor = self.postnet(unpacked.mT).mT
        return predicted

    def training_step(self, batch: Any, index: int) -> Tensor:
        features, lengths = batch
        predicted = self(features, lengths)
        return nn.functional.l1_loss(predicted[:, : -self.shift], features[:, self.shift :])

    def configure_optimizers(self) -> Any:
        return torch.optim.Adam(self.parameters(), 1e-3)


def test_recurrent_layers_on_packed_sequences(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    run = pretrain(Apc, BATCHES, tmp_path, monkeypatch, watch=watch_every_frame())
    assert run.layers == ["rnns.0", "rnns.1", "rnns.2"]
    calls = [
        lambda x=x[i : i + 1, :n], n=n: run.module(x, n[None]) for x, counts in BATCHES for i, n in enumerate(counts)
    ]
    for layer in run.layers:
        assert run.frames(layer) == [n for lengths in LENGTHS for n in lengths]
        check(run, layer, outputs(run.module, layer, calls, lambda out: out[0].data))
