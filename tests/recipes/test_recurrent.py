"""CPC: strided convolutions, then a recurrent network that may carry its state from one batch to the next."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
import torch
from one_by_one import check, outputs, watch_every_frame
from recipe import padded, pretrain
from torch import Tensor, nn
from toys import pl

CHANNELS, WIDTH = 16, 12
FRAMES = (1000, 40)  # samples, and what the encoder makes of them


class CPCEncoder(nn.Module):
    """(B, 1, samples) to (B, C, T); its convolutions pad, and stand one by one beside their norms."""

    def __init__(self) -> None:
        super().__init__()
        self.conv0 = nn.Conv1d(1, CHANNELS, 10, stride=5, padding=3)
        self.norm0 = nn.GroupNorm(1, CHANNELS)
        self.conv1 = nn.Conv1d(CHANNELS, CHANNELS, 8, stride=5, padding=2)
        self.norm1 = nn.GroupNorm(1, CHANNELS)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm1(self.conv1(self.norm0(self.conv0(x)).relu())).relu()


class CPCAR(nn.Module):
    """A context network; with `keep_hidden` its state goes on into the next batch."""

    def __init__(self, net: nn.RNNBase, keep_hidden: bool) -> None:
        super().__init__()
        self.baseNet = net
        self.hidden: Any = None
        self.keep_hidden = keep_hidden

    def forward(self, x: Tensor) -> Tensor:
        x, hidden = self.baseNet(x, self.hidden)
        if self.keep_hidden:
            self.hidden = tuple(h.detach() for h in hidden) if isinstance(hidden, tuple) else hidden.detach()
        return x


class CPC(pl.LightningModule):
    def __init__(self, net: type[nn.RNNBase] = nn.GRU, depth: int = 1, keep_hidden: bool = False) -> None:
        super().__init__()
        self.gEncoder = CPCEncoder()
        self.gAR = CPCAR(net(CHANNELS, WIDTH, num_layers=depth, batch_first=True), keep_hidden)
        self.predictors = nn.ModuleList(nn.Linear(WIDTH, CHANNELS, bias=False) for _ in range(3))

    def forward(self, batch: Tensor, label: Tensor) -> tuple[Tensor, Tensor]:
        encoded = self.gEncoder(batch).permute(0, 2, 1)
        return self.gAR(encoded), encoded

    def training_step(self, batch: Any, index: int) -> Tensor:
        context, encoded = self(*batch)
        losses = []
        for step, predictor in enumerate(self.predictors, 1):
            scores = torch.einsum("btc,nsc->btns", predictor(context[:, :-step]), encoded[:, step:]).flatten(2)
            own = torch.arange(scores[0, :, 0].numel()) + torch.arange(len(scores))[:, None] * scores.shape[1]
            losses.append(nn.functional.cross_entropy(scores.flatten(0, 1), own.flatten()))
        return torch.stack(losses).sum()

    def configure_optimizers(self) -> Any:
        return torch.optim.Adam(self.parameters(), 2e-3)


BATCHES = [(padded([FRAMES[0]] * 4, seed)[0][:, None], torch.zeros(4, dtype=torch.long)) for seed in range(3)]


def _check(run: Any, layers: list[str]) -> None:
    calls = [lambda x=x[i : i + 1], y=y: run.module(x, y) for x, y in BATCHES for i in range(4)]
    for layer in layers:
        assert run.frames(layer) == [FRAMES[1]] * 12
        rows = outputs(run.module, layer, calls, lambda out: out[0][0] if isinstance(out, tuple) else out[0].T)
        check(run, layer, rows)


def test_the_encoder_by_its_name(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    run = pretrain(CPC, BATCHES, tmp_path, monkeypatch, watch=watch_every_frame(layers=["gEncoder"]))
    _check(run, ["gEncoder"])


def test_a_state_that_goes_on_into_the_next_batch_is_left_alone(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """`pretrain` compares the weights, which the carried state has its part in."""
    make = partial(CPC, keep_hidden=True)
    run = pretrain(make, BATCHES, tmp_path, monkeypatch, watch=watch_every_frame(layers=["gEncoder", "gAR"]))
    assert "gEncoder" in run.layers


@pytest.mark.parametrize(("net", "depth"), [(nn.GRU, 1), (nn.LSTM, 2)])
def test_a_recurrent_network_is_found(
    net: type[nn.RNNBase], depth: int, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = pretrain(partial(CPC, net, depth), BATCHES, tmp_path, monkeypatch, watch=watch_every_frame())
    assert run.layers == ["gEncoder", "gAR.baseNet"]
    _check(run, run.layers)
