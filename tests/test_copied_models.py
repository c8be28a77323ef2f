"""Training code that copies or saves its model while hooks are on it: teachers, averaged weights, spawned workers."""

from __future__ import annotations

import copy
import io
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader
from toys import Module, Noise, collate, loader, pl, trainer

from rankwatch import RankWatch, RowSampling
from rankwatch.arguments.settings import WATCH

pytestmark = pytest.mark.filterwarnings("ignore:RankWatch. the trainer has no logger")


class OwnTeacher(Module):
    """Copies its teacher from the student in the first step, and saves the whole encoder in each."""

    saved = b""

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        if batch_idx == 0:
            self.teacher = copy.deepcopy(self.encoder).eval().requires_grad_(False)
        file = io.BytesIO()
        torch.save(self.encoder, file)
        self.saved = file.getvalue()
        with torch.no_grad():
            for old, new in zip(self.teacher.parameters(), self.encoder.parameters(), strict=True):
                old.lerp_(new, 0.1)
            target = self.teacher(*batch)
        return super().training_step(batch, batch_idx) + (self.encoder(*batch) - target).square().mean()


class HasModel:
    """A collator that asks the model for its output lengths, as that of Hugging Face's wav2vec 2.0 example."""

    def __init__(self, model: nn.Module) -> None:
        self.model = model

    def __call__(self, clips: list[Any]) -> Any:
        return collate(clips)


def _train(folder: Any, *callbacks: Any, module: type[Module] = Module, spawned: bool = False) -> Module:
    pl.seed_everything(0)
    model = module()
    data: Any = loader()
    if spawned:
        collator = HasModel(model.encoder)
        data = DataLoader(Noise(), 8, collate_fn=collator, num_workers=1, multiprocessing_context="spawn")
    options = {"max_steps": -1, "max_epochs": 1 if spawned else 3, "logger": False, "enable_checkpointing": False}
    trainer(folder, *callbacks, **options).fit(model, data)
    return model


def _callback(watch: Any) -> RankWatch:
    rows = RowSampling(n_utterances=24)
    return RankWatch(every_n_steps=3, rows=rows, watch=watch, sensitivity=[], max_overhead=None, strict=True)


def _check(ours: nn.Module, theirs: nn.Module) -> None:
    assert list(ours.state_dict()) == list(theirs.state_dict())
    for one, other in zip(ours.state_dict().values(), theirs.state_dict().values(), strict=True):
        assert torch.equal(one, other)
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in ours.modules())


def test_a_teacher_that_is_copied_in_the_first_step_and_a_model_that_is_saved_in_each(tmp_path: Any) -> None:
    callback = _callback(WATCH)
    plain = _train(tmp_path / "a", module=OwnTeacher)
    watched = _train(tmp_path / "b", callback, module=OwnTeacher)
    _check(watched, plain)
    assert {reading.source for reading in callback.readings} == {"first_batches", "train"}
    assert b"rankwatch" not in watched.saved
    assert len(watched.saved) == len(plain.saved)


@pytest.mark.slow
@pytest.mark.parametrize("ours_first", [True, False])
@pytest.mark.parametrize("averaging", ["StochasticWeightAveraging", "EMAWeightAveraging", "WeightAveraging"])
def test_averaged_weights(tmp_path: Any, averaging: str, ours_first: bool) -> None:
    kind = getattr(pl.callbacks, averaging, None)
    if kind is None:
        pytest.skip(f"this Lightning has no {averaging}")
    stochastic = averaging == "StochasticWeightAveraging"
    arguments = {"swa_lrs": 1e-2, "swa_epoch_start": 1, "annealing_epochs": 1} if stochastic else {}
    theirs, beside, ours = kind(**arguments), kind(**arguments), _callback(WATCH)
    plain = _train(tmp_path / "a", theirs)
    watched = _train(tmp_path / "b", *([ours, beside] if ours_first else [beside, ours]))
    _check(watched, plain)
    if isinstance(theirs._average_model, nn.Module):
        _check(beside._average_model, theirs._average_model)
    assert ours.readings


@pytest.mark.slow
def test_spawned_workers_whose_collator_holds_the_model(tmp_path: Any) -> None:
    plain = _train(tmp_path / "a", spawned=True)
    callback = _callback(WATCH)
    _check(_train(tmp_path / "b", callback, spawned=True), plain)
    assert callback.readings
