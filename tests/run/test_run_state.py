"""A fresh run is a fresh run, whatever lies in its folder or is loaded on the way; what is reused belongs to it."""

import warnings

import pytest
import torch
from torch.utils.data import DataLoader
from toys import Module, Noise, collate, pl, trainer

from rankwatch import RankWatch, RowSampling
from rankwatch.reporting import read_jsonl

ModelCheckpoint = pl.callbacks.ModelCheckpoint
Tuner = __import__(f"{pl.__name__}.tuner", fromlist=["Tuner"]).Tuner


class Sized(Module):
    """Has what finders look for: `lr`, `batch_size` and a loader of its own, of audio that a seed chooses."""

    validation_step = pl.LightningModule.validation_step  # none

    def __init__(self, seed=0):
        super().__init__(width=16, depth=1)
        self.lr, self.batch_size, self.seed = 1e-3, 8, seed

    def train_dataloader(self):
        return DataLoader(Noise(48, seed=self.seed).items, self.batch_size, collate_fn=collate)

    def configure_optimizers(self):
        return torch.optim.AdamW(self.parameters(), self.lr)


class TwoOptimizers(Sized):
    """The head has one of its own, and both step in each batch."""

    automatic_optimization = False

    def training_step(self, batch, index):
        loss = super().training_step(batch, index)
        for optimizer in self.optimizers():
            optimizer.zero_grad()
        self.manual_backward(loss)
        for optimizer in self.optimizers():
            optimizer.step()

    def configure_optimizers(self):
        return [torch.optim.AdamW(part.parameters(), self.lr) for part in (self.encoder, self.head)]


def watch(n_utterances=24, **arguments):
    settings = {"every_n_steps": 5, "rows": RowSampling(n_utterances=n_utterances), "max_overhead": None}
    return RankWatch(**{"strict": True, **settings, **arguments})


def fit(run, module, **arguments):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.filterwarnings("error", "RankWatch.*start again")
        run.fit(module, **arguments)


def steps(callback):
    return sorted({reading.step for reading in callback.readings})


def sets(readings):
    return {reading.protocol.eval_set for reading in readings}


def finder(kind):
    if kind == "batch size":
        return pl.callbacks.BatchSizeFinder("power", steps_per_trial=1, init_val=2, max_trials=2)
    return pl.callbacks.LearningRateFinder(num_training_steps=8, update_attr=False, early_stop_threshold=None)


@pytest.mark.parametrize(
    ("kind", "ours_first"),
    [
        ("learning rate", True),
        *(pytest.param(*case, marks=pytest.mark.slow) for case in (("learning rate", False), ("batch size", True))),
        pytest.param("batch size", False, marks=pytest.mark.slow),
    ],
)
def test_a_run_with_a_finder_is_a_fresh_run_also_in_a_folder_with_anothers_files(tmp_path, caplog, kind, ours_first):
    """Finders save a checkpoint and load it again; with n_utterances=64 the first batches take a whole epoch."""
    plain = watch(64)
    fit(trainer(tmp_path / "plain", plain, logger=False), Sized(1))
    found = []
    for seed in (0, 1):
        ours = watch(64)
        callbacks = [ours, finder(kind)] if ours_first else [finder(kind), ours]
        with caplog.at_level("INFO", logger="rankwatch"):
            fit(trainer(tmp_path / "tuned", *callbacks, logger=False), Sized(seed))
        found.append(ours)
    assert "could not be restored" not in caplog.text
    assert not sets(found[0].readings) & sets(found[1].readings)
    if kind == "learning rate":  # else there are other batches
        assert sets(found[1].readings) == sets(plain.readings)
        assert steps(found[1]) == steps(plain)
    (file,) = (tmp_path / "tuned").rglob("RankWatch.jsonl")
    assert sets(read_jsonl(file)) == sets(found[1].readings)  # of two runs in one file, the newest


@pytest.mark.slow
def test_what_a_tuner_has_done_before_the_run_leaves_nothing(tmp_path):
    ours, module = watch(), Sized()
    run = trainer(tmp_path, ours, logger=False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        Tuner(run).lr_find(module, num_training=8, update_attr=False, early_stop_threshold=None)
        Tuner(run).scale_batch_size(module, steps_per_trial=1, max_trials=2)
    assert not ours.readings
    fit(run, module)
    plain = watch()
    fit(trainer(tmp_path / "plain", plain, logger=False), module)
    assert steps(ours) == steps(plain)


@pytest.mark.parametrize("ours_first", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_a_restart_with_a_finder_goes_on(tmp_path, ours_first):
    first, second = watch(), watch()
    saving = ModelCheckpoint(tmp_path, "cut", every_n_train_steps=12)
    fit(trainer(tmp_path, first, saving, max_steps=12, logger=False), Sized())
    callbacks = [second, finder("learning rate")] if ours_first else [finder("learning rate"), second]
    checkpoint = tmp_path / "cut.ckpt"
    fit(trainer(tmp_path / "b", *callbacks, max_steps=20, logger=False), Sized(), ckpt_path=checkpoint)
    assert sets(first.readings) == sets(second.readings)
    history = second.state_dict()["monitor"]["evaluation"]["alarms"]["history"]
    assert {tuple(entry["steps"]) for entry in history} == {(3, 5, 10, 15, 20)}


@pytest.mark.parametrize("module", [Sized, pytest.param(TwoOptimizers, marks=pytest.mark.slow)])
def test_a_second_fit_with_one_callback_is_a_run_of_its_own(tmp_path, module):
    ours = watch()
    fit(trainer(tmp_path / "a", ours, logger=False), module(0))
    first, of_first = steps(ours), sets(ours.readings)
    fit(trainer(tmp_path / "b", ours, logger=False), module(1))
    assert steps(ours) == first == [3, 5, 10, 15, 20] if module is Sized else [3, 5, 10]
    assert not sets(ours.readings) & of_first


@pytest.mark.parametrize("module", [TwoOptimizers, pytest.param(Sized, marks=pytest.mark.slow)])
def test_a_trainer_that_goes_on_counts_on(tmp_path, module):
    """Its own counter does; with two optimisers that is twice the steps of the model."""
    ours, model = watch(), module()
    run = trainer(tmp_path, ours, logger=False, max_steps=-1, max_epochs=2)
    fit(run, model)
    assert max(steps(ours)) == 12
    run.fit_loop.max_epochs = 4
    fit(run, model)
    assert steps(ours) == [15, 20, 24]


def test_another_number_of_utterances_on_restart_is_what_is_read_and_recorded(tmp_path, caplog):
    first, second = watch(8), watch(36)
    saving = ModelCheckpoint(tmp_path, "cut", every_n_train_steps=12)
    fit(trainer(tmp_path, first, saving, max_steps=12, logger=False), Sized())
    with caplog.at_level("INFO", logger="rankwatch"), pytest.warns(RuntimeWarning, match="these curves start again"):
        trainer(tmp_path, second, max_steps=20, logger=False).fit(Sized(), ckpt_path=tmp_path / "cut.ckpt")
    assert "could not be restored (n_utterances=8 before, 36 now)" in caplog.text
    last = [r for r in second.readings if (r.step, r.level) == (20, "utterance")]
    assert {(r.n, r.protocol.utterances) for r in last} == {(36, 36)}


def test_the_protocol_says_how_many_utterances_are_read_and_not_how_many_were_asked_for(tmp_path):
    ours = watch(500)
    fit(trainer(tmp_path, ours, logger=False), Sized())
    of_utterances = [r for r in ours.readings if r.level == "utterance"]
    assert {(r.n, r.protocol.utterances) for r in of_utterances} == {(48, 48)}


def test_files_that_another_run_has_written_since_are_not_taken_for_ones_own(tmp_path, caplog):
    """The older run is restarted after a fresh one has used its folder."""
    saving = ModelCheckpoint(tmp_path / "c", "cut", every_n_train_steps=6)
    older, newer, again = watch(), watch(), watch()
    fit(trainer(tmp_path, older, saving, max_steps=12, logger=False), Sized(0))
    fit(trainer(tmp_path, newer, max_steps=12, logger=False), Sized(1))
    with caplog.at_level("INFO", logger="rankwatch"), pytest.warns(RuntimeWarning, match="these curves start again"):
        trainer(tmp_path, again, max_steps=20, logger=False).fit(Sized(2), ckpt_path=tmp_path / "c" / "cut.ckpt")
    assert "is another run's, which has written into the same folder since" in caplog.text
    assert not sets(again.readings) & sets(newer.readings)
