"""minimal-hubert's structure: SpidR's parts without a teacher, and a mask over time."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from one_by_one import check, outputs, watch_every_frame
from recipe import padded, pretrain
from spidr_like import CHANNELS, WIDTH, FeatureExtractor, FeatureProjection, Transformer, frame_count
from torch import Tensor, nn
from toys import pl

CLASSES = 8
RAGGED = [[1600, 900, 1234, 700], [1280, 777, 1111, 1200]]
EQUAL = [[max(samples)] * 4 for samples in RAGGED]
BLOCKS = [f"encoder.layers.{i}" for i in range(3)]


class Encoder(Transformer):
    def forward(self, x: Tensor, attention_mask: Tensor | None = None) -> Tensor:
        x = x + self.pos_conv_embed(x, attention_mask)
        for layer in self.layers:
            x, _ = layer(x, attention_mask)
        return x


class HubertPretrain(pl.LightningModule):
    """The projection stands in a Sequential with a dropout; labels are -1 under padding."""

    def __init__(self) -> None:
        super().__init__()
        self.feature_extractor = FeatureExtractor()
        self.feature_projection = nn.Sequential(FeatureProjection(), nn.Dropout(0.1))
        self.encoder = Encoder()
        self.logit_generator = nn.Linear(WIDTH, CLASSES)
        self.mask_embedding = nn.Parameter(torch.rand(WIDTH))

    def forward(
        self, waveforms: Tensor, labels: Tensor, *, mask: Tensor, attention_mask: Tensor | None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        x = self.feature_extractor(waveforms)
        penalty = x.square().mean()
        x = torch.where(mask.unsqueeze(-1), self.mask_embedding, self.feature_projection(x))
        logits = self.logit_generator(self.encoder(x, attention_mask)[mask])
        loss = nn.functional.cross_entropy(logits, labels[mask])
        return penalty + loss, {"feature_loss": penalty, "logits_loss": loss}

    def training_step(self, batch: Any, index: int) -> Tensor:
        waveforms, labels, attention_mask, mask = batch
        loss: Tensor = self(waveforms, labels, mask=mask, attention_mask=attention_mask)[0]
        return loss

    def configure_optimizers(self) -> Any:
        return torch.optim.AdamW(self.parameters(), 1e-3)


def _batch(samples: list[int], seed: int) -> tuple[Tensor, Tensor, Tensor | None, Tensor]:
    waveforms, _ = padded(samples, seed)
    generator = torch.Generator().manual_seed(seed)
    frames = torch.tensor([frame_count(n) for n in samples])
    valid = torch.arange(int(frames.max())) < frames[:, None]
    labels = torch.randint(0, CLASSES, valid.shape, generator=generator).masked_fill(~valid, -1)
    mask = (torch.rand(valid.shape, generator=generator) < 0.4) & valid
    return waveforms, labels, None if bool(valid.all()) else valid[:, None, None], mask


def _check(samples: list[list[int]], tmp_path: Any, monkeypatch: pytest.MonkeyPatch, **arguments: Any) -> Any:
    """Frames under the mask are set apart; the others are those of the utterances one by one."""
    batches = [_batch(one, seed) for seed, one in enumerate(samples)]
    run = pretrain(HubertPretrain, batches, tmp_path, monkeypatch, watch=watch_every_frame(**arguments))
    calls, unmasked = [], []
    for (waveforms, labels, _, mask), lengths in zip(batches, samples, strict=True):
        for i, n in enumerate(lengths):
            own = mask[i : i + 1, : frame_count(n)]
            arguments = (waveforms[i : i + 1, :n], labels[i : i + 1, : frame_count(n)])
            calls.append(lambda a=arguments, m=own: run.module(*a, mask=m, attention_mask=None))
            unmasked.append(~own[0])
    for layer in ["feature_extractor", *BLOCKS]:
        assert run.frames(layer) == [frame_count(n) for one in samples for n in one]
        rows = outputs(run.module, layer, calls, lambda out: (out[0] if isinstance(out, tuple) else out)[0])
        check(run, layer, [x[keep] for x, keep in zip(rows, unmasked, strict=True)])
    assert {reading.protocol.frames for reading in run.watch.readings} == {"unmasked"}
    assert {r.d for r in run.watch.readings if r.layer == "feature_extractor"} == {CHANNELS}
    return run


def test_without_padding(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    _check(EQUAL, tmp_path, monkeypatch)


def test_the_mask_that_attention_receives_tells_lengths(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    run = _check(RAGGED, tmp_path, monkeypatch)
    assert all("attention_mask" in run.source(layer) for layer in BLOCKS)


def test_the_projection_and_positions_on_request(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    run = _check(EQUAL, tmp_path, monkeypatch, layers=["auto", "feature_projection", "encoder.pos_conv_embed"])
    assert {"feature_projection", "encoder.pos_conv_embed"} <= set(run.layers)
    assert {r.layer for r in run.watch.readings} == set(run.layers)
