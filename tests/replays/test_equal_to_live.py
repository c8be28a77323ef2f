"""Readings of stored checkpoints are those of the run itself, to the last digit."""

import contextlib
import dataclasses
import os
import warnings
from types import SimpleNamespace

import pytest
import torch
from speech_models import hugging_face
from torch import nn
from toys import Encoder, Module, Noise, collate, loader, pl, trainer

from rankwatch import RankWatch, RowSampling, Watch, replay
from rankwatch.cli import main
from rankwatch.reporting import read_jsonl

ROWS = RowSampling(n_utterances=24, brief_utterances=8, full_every=3)
SETTINGS = {"every_n_steps": 4, "rows": ROWS, "max_overhead": None, "strict": True}
HISTORY = "drift"
"""What a reading says of an earlier one, of which there may be no checkpoint."""


def quietly(_):
    """Say nothing."""


def numbers(path):
    """All that was read, by step and curve; as text, since NaN differs from itself."""
    return {
        (one.step, *one.key): {name: repr(value) for name, value in dataclasses.asdict(one).items()}
        for one in read_jsonl(path)
    }


def differing(live, again, steps):
    """Fields in which readings of the same checkpoints differ; both must have the same curves at these steps."""
    live, again = ({key: value for key, value in one.items() if key[0] in steps} for one in map(numbers, (live, again)))
    assert live
    assert live.keys() == again.keys()
    return {name for key, value in live.items() for name in value if value[name] != again[key][name]}


def again(model, run, folder, **arguments):
    with warnings.catch_warnings():
        warnings.filterwarnings("error", "RankWatch")
        return replay(model, run.checkpoints, like=run.records, out=folder, device="cpu", say=quietly, **arguments)


@pytest.fixture(scope="module")
def lightning_run(tmp_path_factory):
    """24 steps with a reading and a checkpoint at each fourth; the learning rate rises and falls."""
    folder = tmp_path_factory.mktemp("lightning")
    torch.manual_seed(0)
    saved = pl.callbacks.ModelCheckpoint(dirpath=folder / "checkpoints", every_n_train_steps=4, save_top_k=-1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        trainer(folder, RankWatch(**SETTINGS), saved, max_steps=24, logger=pl.loggers.CSVLogger(folder)).fit(
            Scheduled(), loader(64)
        )
    records = next(folder.rglob("RankWatch.jsonl"))
    return SimpleNamespace(checkpoints=folder / "checkpoints", records=records)


class Scheduled(Module):
    def configure_optimizers(self):
        optimizer = torch.optim.AdamW(self.parameters(), 1e-3)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: min(step, 24 - step) / 12)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


def test_lightning(lightning_run, tmp_path):
    found = again("test_equal_to_live:Scheduled", lightning_run, tmp_path)
    assert found.steps == [4, 8, 12, 16, 20, 24]
    assert not found.failed
    # The reading before the first checkpoint, at step 3, is one that only the run itself has made.
    assert differing(lightning_run.records, tmp_path / "RankWatch.jsonl", {4}) == {HISTORY}
    assert not differing(lightning_run.records, tmp_path / "RankWatch.jsonl", set(found.steps[1:]))
    assert {one.brief for one in found.readings} == {True, False}
    assert found.healthy.name == "epoch=2-step=24.ckpt"


def test_what_alarms_know_of_is_the_same(lightning_run, tmp_path):
    """Also without the run's records: the learning rate is in the checkpoints."""
    from rankwatch.checkpoints.checkpoint_steps import learning_rate_in
    from rankwatch.checkpoints.listing import list_checkpoints
    from rankwatch.checkpoints.stored_checkpoint import open_checkpoint
    from rankwatch.replays.run_settings.earlier_run import read_earlier_run

    run = read_earlier_run(lightning_run.records)
    listed = list_checkpoints(lightning_run.checkpoints).checkpoints
    rates = {one.step: learning_rate_in(open_checkpoint(one.path).values) for one in listed}
    assert rates == {step: run.rates[step] for step in rates}
    assert len(set(rates.values())) > 3


def test_a_callback_that_was_added_late_goes_on_from_the_replay(lightning_run, tmp_path):
    """Readings of the early checkpoints and of the run itself are under one protocol, and one page shows both."""
    early = tmp_path / "early"
    early.mkdir()
    for step in (4, 8):
        os.link(next(lightning_run.checkpoints.glob(f"*step={step}.ckpt")), early / f"step={step}.ckpt")
    lightning_run.checkpoints, whole = early, lightning_run.checkpoints
    try:
        again("test_equal_to_live:Scheduled", lightning_run, tmp_path / "replay")
    finally:
        lightning_run.checkpoints = whole
    ids = [
        {one.protocol.id for one in read_jsonl(path)}
        for path in (tmp_path / "replay" / "RankWatch.jsonl", lightning_run.records)
    ]
    assert ids[0] == ids[1]
    page = tmp_path / "page.html"
    assert main(["report", str(tmp_path / "replay"), str(lightning_run.records), "--out", str(page)]) == 0
    assert page.stat().st_size > 10_000


class LoopModel(nn.Module):
    def __init__(self):
        super().__init__()
        self.encoder, self.head = Encoder(), nn.Linear(32, 4)

    def forward(self, waveforms, lengths):
        return self.head(self.encoder(waveforms, lengths))


@pytest.mark.parametrize("precision", ["32-true", pytest.param("bf16-mixed", marks=pytest.mark.slow)])
def test_a_loop_of_ones_own(precision, tmp_path):
    torch.manual_seed(0)
    model = LoopModel()
    optimizer = torch.optim.AdamW(model.parameters(), 1e-3)

    def autocast():
        return torch.autocast("cpu", torch.bfloat16) if precision == "bf16-mixed" else contextlib.nullcontext()

    items = Noise(64).items
    with Watch(
        model, tmp_path / "run", optimizer=optimizer, precision=precision, autocast=autocast, **SETTINGS
    ) as watch:
        for step in range(1, 13):
            batch = collate([items[(8 * step + i) % 64] for i in range(8)])
            with watch.batch(batch):
                with autocast():
                    loss = model(*batch).float().square().mean()
                loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            watch.step()
            if step % 4 == 0:
                torch.save({"model": model.state_dict(), "watch": watch.state_dict()}, tmp_path / f"{step}.pt")
    run = SimpleNamespace(checkpoints=str(tmp_path / "*.pt"), records=tmp_path / "run")
    found = again("test_equal_to_live:LoopModel", run, tmp_path / "replay")
    assert found.steps == [4, 8, 12]
    assert differing(tmp_path / "run" / "RankWatch.jsonl", tmp_path / "replay" / "RankWatch.jsonl", {4, 8, 12}) <= {
        HISTORY
    }
    assert not differing(tmp_path / "run" / "RankWatch.jsonl", tmp_path / "replay" / "RankWatch.jsonl", {8, 12})


class Pretraining(nn.Module):
    """A loss around Hugging Face's base model."""

    def __init__(self):
        super().__init__()
        self.model = hugging_face("Wav2Vec2Config", "Wav2Vec2Model", layerdrop=0.1).train()

    def forward(self, input_values, attention_mask):
        return {"loss": self.model(input_values, attention_mask=attention_mask).last_hidden_state.square().mean()}


def masked(items):
    waveforms, lengths = collate(items)
    return {"input_values": waveforms, "attention_mask": (torch.arange(waveforms.shape[1]) < lengths[:, None]).long()}


@pytest.mark.slow
def test_hugging_faces_trainer(tmp_path):
    transformers = pytest.importorskip("transformers")
    pytest.importorskip("accelerate")
    from rankwatch.huggingface import RankWatchCallback

    torch.manual_seed(0)
    asked = transformers.TrainingArguments(
        str(tmp_path / "run"), max_steps=12, per_device_train_batch_size=4, use_cpu=True, report_to=[], seed=0,
        save_steps=4, disable_tqdm=True, learning_rate=1e-3, warmup_steps=6,
    )  # fmt: skip
    items = Noise(40, shortest=600, longest=1600).items
    callback = RankWatchCallback(**SETTINGS)
    transformers.Trainer(Pretraining(), asked, data_collator=masked, train_dataset=items, callbacks=[callback]).train()
    records = tmp_path / "run" / "rankwatch" / "RankWatch.jsonl"
    run = SimpleNamespace(checkpoints=tmp_path / "run", records=records)
    found = again("test_equal_to_live:Pretraining", run, tmp_path / "replay")
    assert found.steps == [4, 8, 12]
    assert differing(records, tmp_path / "replay" / "RankWatch.jsonl", {8, 12}) <= {HISTORY}
    assert not differing(records, tmp_path / "replay" / "RankWatch.jsonl", {12})
