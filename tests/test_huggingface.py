"""Hugging Face's own Trainer with a model of its own family, built without weights."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from speech_models import hugging_face
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import nn
from toys import Noise

from rankwatch import CollapseError, FirstBatches, RowSampling
from rankwatch.runtime.diagnostics import CollapseWarning

pytest.importorskip("transformers")
pytest.importorskip("accelerate")

from transformers import Trainer, TrainerCallback, TrainingArguments

from rankwatch.huggingface import RankWatchCallback

SETTINGS = {"every_n_steps": 4, "rows": RowSampling(n_utterances=24), "strict": True}


class Pretraining(nn.Module):
    """A loss around Hugging Face's base model, with LayerDrop and time masks."""

    def __init__(self) -> None:
        super().__init__()
        self.model = hugging_face("Wav2Vec2Config", "Wav2Vec2Model", layerdrop=0.1).train()

    def forward(self, input_values: Any, attention_mask: Any) -> dict[str, Any]:
        return {"loss": self.model(input_values, attention_mask=attention_mask).last_hidden_state.square().mean()}


def collate(items: list[torch.Tensor]) -> dict[str, torch.Tensor]:
    lengths = torch.tensor([len(item) for item in items])
    waveforms = nn.utils.rnn.pad_sequence(items, batch_first=True)
    return {"input_values": waveforms, "attention_mask": (torch.arange(waveforms.shape[1]) < lengths[:, None]).long()}


def train(
    folder: Path, *callbacks: TrainerCallback, resume: bool | str = False, **arguments: Any
) -> tuple[nn.Module, list[float]]:
    torch.manual_seed(0)
    settings = {
        "max_steps": 12,
        "per_device_train_batch_size": 4,
        "use_cpu": True,
        "report_to": [],
        "save_strategy": "no",
        "disable_tqdm": True,
        "logging_steps": 1,
        "seed": 0,
        "learning_rate": 1e-3,
        **arguments,
    }
    trainer = Trainer(
        Pretraining(),
        TrainingArguments(str(folder), **settings),
        data_collator=collate,
        train_dataset=Noise(40, shortest=600, longest=1600).items,
        eval_dataset=Noise(8, shortest=600, longest=1600, seed=1).items,
        callbacks=list(callbacks),
    )
    trainer.train(resume_from_checkpoint=resume)
    return trainer.model, [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]


@pytest.mark.parametrize("accumulate", [pytest.param(1, marks=pytest.mark.slow), 3])
def test_training_is_bit_identical_and_readings_come_by_optimiser_steps(tmp_path: Path, accumulate: int) -> None:
    plain, losses = train(tmp_path / "a", gradient_accumulation_steps=accumulate)
    callback = RankWatchCallback(**SETTINGS)
    watched, seen = train(tmp_path / "b", callback, gradient_accumulation_steps=accumulate)
    assert seen == losses
    for ours, theirs in zip(watched.state_dict().values(), plain.state_dict().values(), strict=True):
        assert torch.equal(ours, theirs)
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in watched.modules())
    first = 6 if accumulate == 1 else 2
    assert sorted({r.step for r in callback.readings}) == [first, *(s for s in (4, 8, 12) if s > first)]
    assert {r.protocol.input for r in callback.readings} == {"clean"}
    assert {r.n for r in callback.readings if r.level == "utterance"} == {24}
    assert len({r.layer for r in callback.readings}) == 4


def test_files_and_pictures(tmp_path: Path) -> None:
    train(tmp_path, RankWatchCallback(**SETTINGS))
    events = EventAccumulator(str(tmp_path / "rankwatch"), size_guidance={"scalars": 0}).Reload()
    assert {"RankWatch/health", "RankWatch_frame/L00", "RankWatch_utterance/L03"} <= set(events.Tags()["scalars"])
    records = [json.loads(line) for line in (tmp_path / "rankwatch/RankWatch.jsonl").read_text().splitlines()]
    assert {"run", "protocol", "reading", "cost", "end"} <= {record["record"] for record in records}


def test_bfloat16_is_read_in_bfloat16(tmp_path: Path) -> None:
    callback = RankWatchCallback(**SETTINGS)
    train(tmp_path, callback, bf16=True)
    assert {r.protocol.precision for r in callback.readings} == {"bf16-mixed"}
    assert all(r.ok for r in callback.readings)


class Break(TrainerCallback):
    """The last block gives one and the same line from step 6 on."""

    def on_step_end(self, args: Any, state: Any, control: Any, model: Any = None, **_: Any) -> None:
        if state.global_step == 6:
            line = torch.linspace(-1, 1, 24)
            model.model.encoder.layers[2].register_forward_hook(lambda module, args, out: out[..., :1] * line)


def test_a_collapse_stops_the_trainer_with_a_checkpoint(tmp_path: Path) -> None:
    callback = RankWatchCallback(
        **{**SETTINGS, "every_n_steps": 2, "rows": RowSampling(n_utterances=16)}, on_collapse="stop"
    )
    with pytest.warns(CollapseWarning, match=r"CRITICAL.*encoder\.layers\.2.*checkpoint-3"):
        train(tmp_path, Break(), callback, max_steps=60, save_strategy="steps", save_steps=3, save_total_limit=1)
    stopped = max(r.step for r in callback.readings) + 1  # what came of a reading is told a step later
    assert stopped < 20
    assert (tmp_path / f"checkpoint-{stopped}" / "RankWatch.pt").exists()
    assert not (tmp_path / "checkpoint-3").exists()  # save_total_limit
    kept = tmp_path / "rankwatch/RankWatch.last_healthy.ckpt"
    assert json.loads((kept / "trainer_state.json").read_text())["global_step"] == 3


def test_a_collapse_is_raised_after_checkpoint_and_summary(tmp_path: Path) -> None:
    callback = RankWatchCallback(
        **{**SETTINGS, "every_n_steps": 2, "rows": RowSampling(n_utterances=16)}, on_collapse="raise"
    )
    with pytest.warns(CollapseWarning), pytest.raises(CollapseError, match=r"CRITICAL.*encoder\.layers\.2") as caught:
        train(tmp_path, Break(), callback, max_steps=60, save_strategy="steps", save_steps=3, save_total_limit=1)
    error = caught.value
    assert (tmp_path / f"checkpoint-{error.step}" / "RankWatch.pt").exists()
    assert error.checkpoint == tmp_path / "rankwatch/RankWatch.last_healthy.ckpt"
    end = json.loads((tmp_path / "rankwatch/RankWatch.jsonl").read_text().splitlines()[-1])
    assert (end["record"], end["step"], end["stopped"]) == ("end", error.step, True)


def test_resumed_it_goes_on_where_it_was(tmp_path: Path) -> None:
    first = RankWatchCallback(**SETTINGS)
    train(tmp_path, first, max_steps=8, save_strategy="steps", save_steps=8)
    second = RankWatchCallback(**SETTINGS)
    train(tmp_path, second, resume=True, max_steps=12, save_strategy="no")
    assert sorted({r.step for r in second.readings}) == [12]
    assert {r.protocol.id for r in second.readings} == {r.protocol.id for r in first.readings}


def test_another_runs_checkpoint_of_the_same_step_is_not_taken_for_the_one_that_goes_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The one that is resumed lies elsewhere; what a callback can find is the output folder alone."""
    saving = {"max_steps": 8, "save_strategy": "steps", "save_steps": 8}
    train(tmp_path / "theirs", **saving, learning_rate=1e-2)
    train(tmp_path / "ours", RankWatchCallback(**SETTINGS), **saving)
    second = RankWatchCallback(**SETTINGS)
    elsewhere = str(tmp_path / "theirs" / "checkpoint-8")
    with caplog.at_level("INFO", logger="rankwatch"):
        train(tmp_path / "ours", second, resume=elsewhere, max_steps=12)
    assert "another run's than the one that goes on" in caplog.text
    assert max(r.step for r in second.readings) == 12


class Weaken(TrainerCallback):
    """The weights of the last steps are another model's."""

    def on_step_begin(self, args: Any, state: Any, control: Any, model: Any = None, **_: Any) -> None:
        if state.global_step == 10:
            with torch.no_grad():
                for parameter in model.parameters():
                    parameter.zero_()


@pytest.mark.parametrize("broken", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_without_a_readable_state_the_curves_start_again(tmp_path: Path, broken: bool) -> None:
    train(tmp_path, RankWatchCallback(**SETTINGS), max_steps=8, save_strategy="steps", save_steps=8)
    state = tmp_path / "checkpoint-8" / "RankWatch.pt"
    if broken:
        state.write_bytes(b"cut off")
    else:
        state.unlink()
    callback = RankWatchCallback(**SETTINGS)
    train(tmp_path, callback, resume=True, max_steps=12, save_strategy="no")
    assert max(r.step for r in callback.readings) == 12


def test_the_last_reading_is_of_the_last_weights_and_not_of_the_best(tmp_path: Path) -> None:
    callback = RankWatchCallback(**{**SETTINGS, "every_n_steps": 100})
    every_six = {"eval_strategy": "steps", "eval_steps": 6, "save_strategy": "steps", "save_steps": 6}
    train(tmp_path, Weaken(), callback, load_best_model_at_end=True, metric_for_best_model="runtime", **every_six)
    last = [r for r in callback.readings if r.step == 12 and r.level == "frame"]
    assert last
    assert not any(r.effective_rank > 2 for r in last)


class StopAt(TrainerCallback):
    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        control.should_training_stop = state.global_step == 7


@pytest.mark.parametrize("after", [False, True])
def test_the_last_reading_is_made_whoever_stops(tmp_path: Path, after: bool) -> None:
    callback = RankWatchCallback(**{**SETTINGS, "every_n_steps": 100})
    train(tmp_path, *([callback, StopAt()] if after else [StopAt(), callback]))
    assert sorted({r.step for r in callback.readings}) == [6, 7]


def test_epochs_instead_of_steps(tmp_path: Path) -> None:
    callback = RankWatchCallback(**{**SETTINGS, "every_n_steps": 100})
    train(tmp_path, callback, max_steps=-1, num_train_epochs=1)
    assert sorted({r.step for r in callback.readings}) == [6, 10]


def test_arguments_that_mean_the_batch_are_refused() -> None:
    with pytest.raises(ValueError, match="no callback; give the model an attention_mask"):
        RankWatchCallback(rows=RowSampling(lengths="input_lengths"))
    with pytest.raises(ValueError, match="no callback; pass the audio as AudioFolder"):
        RankWatchCallback(eval_sets=FirstBatches(forward=lambda module, batch: module(*batch)))
    with pytest.raises(TypeError, match=re.escape("RankWatchCallback() has no argument n_utterances (any more)")):
        RankWatchCallback(n_utterances=32)
    with pytest.raises(TypeError, match=re.escape("RankWatchCallback() has no argument 'evry'")):
        RankWatchCallback(evry=3)
