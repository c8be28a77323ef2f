"""Joint-embedding methods: two views, a projector, an EMA teacher; tensors only, no lengths."""

from __future__ import annotations

import copy
import itertools
from typing import Any

import pytest
import torch
from one_by_one import check, outputs, watch_every_frame
from recipe import padded, pretrain
from speech_models import FairseqLike
from torch import Tensor, nn
from toys import pl

from rankwatch import RankWatch, RowSampling

BLOCKS = ["encoder.blocks.0", "encoder.blocks.1"]


class TwoViews(pl.LightningModule):
    """The same encoder fires twice a step, its teacher twice as well; the views are crops of one batch."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = FairseqLike()
        self.projector = nn.Sequential(nn.Linear(24, 48), nn.LayerNorm(48), nn.ReLU(), nn.Linear(48, 48))
        self.teacher = copy.deepcopy(self.encoder).requires_grad_(False)

    def training_step(self, batch: Tensor, index: int) -> Tensor:
        first, second = batch[:, :800], batch[:, -800:]
        with torch.no_grad():
            targets = [self.teacher(source=view).mean(1) for view in (second, first)]
        views = [self.projector(self.encoder(source=view).mean(1)) for view in (first, second)]
        return sum((v[:, :24] - t).square().mean() for v, t in zip(views, targets, strict=True))

    def on_train_batch_end(self, *_: Any) -> None:
        with torch.no_grad():
            for ours, theirs in zip(self.teacher.parameters(), self.encoder.parameters(), strict=True):
                ours.lerp_(theirs, 0.01)

    def configure_optimizers(self) -> Any:
        return torch.optim.AdamW([*self.encoder.parameters(), *self.projector.parameters()], 1e-3)


def _batches(count: int = 3) -> list[Tensor]:
    return [padded([1000] * 6, seed)[0] for seed in range(count)]


def test_one_line(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    run = pretrain(TwoViews, _batches(), tmp_path, monkeypatch)
    assert run.layers == ["encoder.feature_extractor", *BLOCKS]
    for layer in run.layers:
        assert len(run.frames(layer)) == 18  # the first view of each utterance counts, the second doesn't
        assert set(run.frames(layer)) == {78}
        assert run.source(layer) == "every frame (no lengths found)"
        assert run.rows("utterance")[layer] == {18}
    assert "the teacher branch is not watched; layers=[..., 'teacher.*'] adds it" in run.table
    assert "(T, B, C)" in run.table


def test_the_teacher_on_request(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    run = pretrain(TwoViews, _batches(), tmp_path, monkeypatch, watch=RankWatch(layers=["teacher.*"]))
    assert run.layers == ["teacher.feature_extractor", "teacher.blocks.0", "teacher.blocks.1"]
    assert run.rows("utterance")["teacher.blocks.1"] == {18}


def test_student_and_teacher_together(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    watch = RankWatch(layers=["encoder.blocks.*", "teacher.blocks.*"])
    run = pretrain(TwoViews, _batches(), tmp_path, monkeypatch, watch=watch)
    assert run.layers == [*BLOCKS, "teacher.blocks.0", "teacher.blocks.1"]
    replays = "replay of the call of encoder (eval mode); replay of the call of teacher (eval mode)"
    assert replays in " ".join(run.table.split())
    readings = {(r.step, r.level, r.layer): r.effective_rank for r in run.watch.readings}
    first = min(step for step, _, _ in readings)
    # Each is given its own first view: the student's is the teacher's second, so the two are read on different audio.
    assert readings[first, "frame", BLOCKS[1]] != readings[first, "frame", "teacher.blocks.1"]


def test_padded_views_without_lengths_are_refused(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    batches = [padded([1600, 300, 500, 420], seed)[0] for seed in range(3)]
    run = pretrain(TwoViews, batches, tmp_path, monkeypatch)
    assert not run.watch.readings
    assert any('lengths="none"' in one for one in run.said)


class Residual(nn.Module):
    def __init__(self, inside: int, outside: int, stride: int) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(inside, outside, 3, stride, 1, bias=False), nn.BatchNorm2d(outside)
        self.conv2, self.bn2 = nn.Conv2d(outside, outside, 3, 1, 1, bias=False), nn.BatchNorm2d(outside)
        self.relu = nn.ReLU()
        self.downsample = nn.Sequential(nn.Conv2d(inside, outside, 1, stride), nn.BatchNorm2d(outside))

    def forward(self, x: Tensor) -> Tensor:
        y = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))
        added: Tensor = self.relu(y + self.downsample(x))
        return added


class ImagesOfSpeech(pl.LightningModule):
    """As lightly's examples: the children of a ResNet for images as a `Sequential`, on log-mels in three channels."""

    def __init__(self, teacher: bool = True) -> None:
        super().__init__()
        stem = [nn.Conv2d(3, 4, 7, 2, 3, bias=False), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(3, 2, 1)]
        widths = [4, 4, 6, 8, 10]
        stages = [
            nn.Sequential(Residual(n, m, 1 if i == 0 else 2), Residual(m, m, 1))
            for i, (n, m) in enumerate(itertools.pairwise(widths))
        ]
        self.backbone = nn.Sequential(*stem, *stages, nn.AdaptiveAvgPool2d(1))
        self.projection_head = nn.Sequential(nn.Linear(10, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 8))
        if teacher:
            self.backbone_momentum = copy.deepcopy(self.backbone).requires_grad_(False)
        self.teacher = teacher

    def training_step(self, batch: Any, index: int) -> Tensor:
        (first, second), _ = batch
        views = [self.projection_head(self.backbone(x).flatten(1)) for x in (first, second)]
        if self.teacher:  # BYOL
            with torch.no_grad():
                targets = [self.backbone_momentum(x).flatten(1)[:, :8] for x in (second, first)]
            return sum((v - t).square().mean() for v, t in zip(views, targets, strict=True))
        correlations = views[0].T @ views[1] / len(first)  # Barlow Twins
        return (correlations - torch.eye(8)).square().sum()

    def configure_optimizers(self) -> Any:
        return torch.optim.SGD(self.parameters(), 1e-3)


def _log_mels(bands: int, frames: int) -> list[Any]:
    generator = torch.Generator().manual_seed(0)
    long = [torch.randn(4, 1, bands, frames + 5, generator=generator).cumsum(3).expand(-1, 3, -1, -1) for _ in range(2)]
    return [((x[..., :frames].clone(), x[..., 5:].clone()), torch.zeros(4)) for x in long]


BACKBONE = ["backbone.0", *(f"backbone.{stage}.{block}" for stage in range(4, 8) for block in range(2))]


@pytest.mark.parametrize("teacher", [True, pytest.param(False, marks=pytest.mark.slow)], ids=["byol", "barlow_twins"])
def test_images_of_speech(teacher: bool, tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The last stage has (3, 2) positions left, and a stage before it 3 frames: time is the same axis in all."""
    batches = _log_mels(80, 48)
    run = pretrain(lambda: ImagesOfSpeech(teacher), batches, tmp_path, monkeypatch, watch=watch_every_frame())
    assert run.layers == BACKBONE
    calls = [lambda x=x[i : i + 1]: run.module.backbone(x) for (x, _), _ in batches for i in range(4)]
    for layer, frames in zip(BACKBONE, [24, 12, 12, 6, 6, 3, 3, 2, 2], strict=True):
        assert run.frames(layer) == [frames] * 8
        check(run, layer, outputs(run.module, layer, calls, lambda out: out[0].permute(2, 0, 1).flatten(1)))
    assert "longer one was taken as time" not in run.table


def test_a_guess_of_the_time_axis_is_said(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    run = pretrain(ImagesOfSpeech, _log_mels(32, 24), tmp_path, monkeypatch)
    assert "axes of 32 and 24 the longer one was taken as time" in " ".join(run.table.split())
    watch = RankWatch(rows=RowSampling(layouts={"backbone.*": "(B, C, F, T)"}))
    run = pretrain(ImagesOfSpeech, _log_mels(32, 24), tmp_path / "said", monkeypatch, watch=watch)
    assert run.frames("backbone.0") == [12] * 8
    assert "longer one was taken as time" not in " ".join(run.table.split())
