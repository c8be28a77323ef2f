"""A joint-embedding method: two views, a projector, an EMA teacher; tensors only, no lengths."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from recipe import padded, pretrain
from speech_models import FairseqLike
from torch import Tensor, nn
from toys import pl

from rankwatch import RankWatch

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
