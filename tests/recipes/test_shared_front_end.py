"""SpidR's structure: one front end for student and teacher, masks as SDPA wants them, lists of masked frames."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from one_by_one import check, outputs, watch_every_frame
from recipe import padded, pretrain
from spidr_like import WIDTH, FeatureExtractor, FeatureProjection, Transformer, frame_count
from torch import Tensor, nn
from toys import pl

from rankwatch import RankWatch

CODES = 8
SAMPLES = [[1600, 900, 1234, 700], [1280, 777, 1111, 1200], [1910, 1919, 640, 800]]
BLOCKS = [f"student.layers.{i}" for i in range(3)]


class SpidRLike(pl.LightningModule):
    """The front end is built first and the student before its teacher; only the student has an optimiser."""

    def __init__(self) -> None:
        super().__init__()
        self.feature_extractor = FeatureExtractor()
        self.feature_projection = FeatureProjection()
        self.student = Transformer()
        self.heads = nn.ModuleList(nn.Sequential(nn.Linear(WIDTH, CODES), nn.LogSoftmax(-1)) for _ in range(2))
        self.teacher = copy.deepcopy(self.student).requires_grad_(False)
        self.mask_embedding = nn.Parameter(torch.rand(WIDTH))
        self.register_buffer("codes", torch.randn(CODES, WIDTH))

    def train(self, mode: bool = True) -> SpidRLike:
        super().train(mode)
        self.teacher.eval()
        return self

    def forward(self, waveforms: Tensor, *, mask_indices: Tensor, attention_mask: Tensor | None = None) -> Tensor:
        features = self.feature_projection(self.feature_extractor(waveforms))
        masked = torch.zeros(features.shape[:2], dtype=torch.bool).scatter_(1, mask_indices, True)
        x = torch.where(masked.unsqueeze(-1), self.mask_embedding, features)
        predictions = [
            head(y[masked])
            for head, y in zip(self.heads, self.student.get_intermediate_outputs(x, attention_mask)[1:], strict=True)
        ]
        with torch.no_grad():
            targets = self.teacher.get_intermediate_outputs(features, attention_mask)[1:]
            codes = [torch.cdist(y[masked], self.codes).argmin(1) for y in targets]
        return sum(
            (nn.functional.nll_loss(p, c) for p, c in zip(predictions, codes, strict=True)), start=torch.zeros(())
        )

    def training_step(self, batch: Any, index: int) -> Tensor:
        waveforms, attention_mask, mask_indices = batch
        loss: Tensor = self(waveforms, mask_indices=mask_indices, attention_mask=attention_mask)
        return loss

    def on_train_batch_end(self, *_: Any) -> None:
        with torch.no_grad():
            for ours, theirs in zip(self.teacher.parameters(), self.student.parameters(), strict=True):
                ours.lerp_(theirs, 0.1)

    def configure_optimizers(self) -> Any:
        return torch.optim.AdamW((p for p in self.parameters() if p.requires_grad), 1e-3)


def _batch(samples: list[int], seed: int) -> tuple[Tensor, Tensor | None, Tensor]:
    waveforms, _ = padded(samples, seed)
    frames = torch.tensor([frame_count(n) for n in samples])
    valid = torch.arange(int(frames.max())) < frames[:, None]
    masked = torch.stack([torch.randperm(int(n), generator=torch.Generator().manual_seed(seed))[:8] for n in frames])
    return waveforms, None if bool(valid.all()) else valid[:, None, None], masked


RAGGED = [_batch(samples, seed) for seed, samples in enumerate(SAMPLES)]
EQUAL = [_batch([max(samples)] * 4, seed) for seed, samples in enumerate(SAMPLES)]


def _check(batches: list[Any], samples: list[list[int]], run: Any, layers: list[str]) -> None:
    calls = [
        lambda x=waveforms[i : i + 1, :n], m=masked[i : i + 1]: run.module(x, mask_indices=m)
        for (waveforms, _, masked), lengths in zip(batches, samples, strict=True)
        for i, n in enumerate(lengths)
    ]
    hidden = [set(places.tolist()) for _, _, masked in batches for places in masked]
    for layer in layers:
        assert run.frames(layer) == [frame_count(n) for one in samples for n in one]
        rows = outputs(run.module, layer, calls, lambda o: (o[0] if isinstance(o, tuple) else o)[0])
        unmasked = [[t for t in range(len(x)) if t not in places] for x, places in zip(rows, hidden, strict=True)]
        check(run, layer, [x[places] for x, places in zip(rows, unmasked, strict=True)])
    assert {r.protocol.frames for r in run.watch.readings} == {"unmasked"}  # told by the list of masked frames


def test_without_padding(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    run = pretrain(SpidRLike, EQUAL, tmp_path, monkeypatch, watch=watch_every_frame())
    _check(EQUAL, [[max(samples)] * 4 for samples in SAMPLES], run, BLOCKS)


def test_the_mask_that_attention_receives_tells_lengths(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    run = pretrain(SpidRLike, RAGGED, tmp_path, monkeypatch, watch=watch_every_frame())
    assert all("attention_mask" in run.source(layer) for layer in BLOCKS)
    _check(RAGGED, SAMPLES, run, BLOCKS)


def test_the_shared_front_end_is_the_students(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    watch = watch_every_frame(layers=["auto", "feature_projection"])
    run = pretrain(SpidRLike, EQUAL, tmp_path, monkeypatch, watch=watch)
    assert [layer for layer in run.layers if layer in BLOCKS] == BLOCKS
    assert not [layer for layer in run.layers if layer.startswith("teacher")]
    _check(EQUAL, [[max(samples)] * 4 for samples in SAMPLES], run, ["feature_extractor", "feature_projection"])
    assert "the teacher branch is not watched; layers=[..., 'teacher.*'] adds it" in " ".join(run.table.split())


def test_the_teacher_on_request(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    run = pretrain(SpidRLike, EQUAL, tmp_path, monkeypatch, watch=RankWatch(layers=["teacher.layers.*"]))
    assert run.layers == [layer.replace("student", "teacher") for layer in BLOCKS]
