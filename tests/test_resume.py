"""Restarts don't show: the schedule, the evaluation set, what is being worked on, alarms and their episodes go on."""

import warnings

import pytest
import torch
from toys import Module, Noise, collate, pl, trainer

from rankwatch import RankWatch, RowSampling
from rankwatch.arguments.settings import WATCH
from rankwatch.runtime.diagnostics import CollapseWarning
from rankwatch.runtime.plain_data import to_plain

# Older ones put a loader's own state back elsewhere, or not at all.
pytestmark = pytest.mark.skipif(
    tuple(map(int, pl.__version__.split(".")[:2])) < (2, 6), reason="its loaders are resumed as by Lightning 2.6"
)
ModelCheckpoint = pl.callbacks.ModelCheckpoint
LENGTH = 8  # batches in an epoch


class Stateful:
    """A loader that knows where it was, in the middle of an epoch too; another order in each."""

    def __init__(self):
        self.epoch, self.at = 0, 0
        self.items = Noise(64).items

    def __len__(self):
        return LENGTH

    def __iter__(self):
        order = torch.randperm(64, generator=torch.Generator().manual_seed(self.epoch)).tolist()
        while self.at < LENGTH:
            self.at += 1
            yield collate([self.items[i] for i in order[8 * (self.at - 1) : 8 * self.at]])
        self.epoch, self.at = self.epoch + 1, 0

    def state_dict(self):
        return {"epoch": self.epoch, "at": self.at}

    def load_state_dict(self, state):
        self.epoch, self.at = state["epoch"], state["at"]


class SeedEachStep(pl.Callback):
    """Makes dropout and layer drop the same whenever a step is taken: Lightning doesn't restore generators."""

    def on_train_batch_start(self, trainer, module, batch, index):
        torch.manual_seed(trainer.global_step)


class Break(pl.Callback):
    """From step 40 on the blocks give a line."""

    def on_train_batch_start(self, trainer, module, batch, index):
        for layer in module.encoder.layers:
            layer.collapse.kind = "line" if trainer.global_step >= 40 else "none"


def watch(**arguments):
    settings = {"every_n_steps": 20, "rows": RowSampling(n_utterances=24), "strict": True, "max_overhead": None}
    return RankWatch(**{**settings, **arguments})


def fit(folder, steps, *callbacks, resume=None, save_at=None, **arguments):
    pl.seed_everything(0)
    every = {"every_n_train_steps": save_at, "save_top_k": -1, "dirpath": folder / "c"}
    saving = [ModelCheckpoint(**every)] if save_at else []
    run = trainer(folder, SeedEachStep(), *callbacks, *saving, max_steps=steps, **arguments)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        run.fit(Module(), Stateful(), ckpt_path=resume)
    told = [str(w.message) for w in caught if str(w.message).startswith("RankWatch")]
    return run, told


def cut_at(step, folder, *callbacks):
    """A run that was interrupted after `step` steps; its checkpoint."""
    fit(folder, step, *callbacks, save_at=step)
    return next((folder / "c").glob(f"*step={step}.ckpt"))


def numbers(callback):
    return {(r.step, r.source, r.level, r.layer): repr(to_plain(r)) for r in callback.readings}  # NaN is NaN


def alarms(callback):
    return [to_plain(alarm) for alarm in callback.alarms]


def slow(*steps):
    return [pytest.param(step, marks=pytest.mark.slow) for step in steps]


@pytest.fixture(scope="module")
def healthy(tmp_path_factory):
    callback = watch()
    run, _ = fit(tmp_path_factory.mktemp("whole"), 60, callback)
    return callback, run.lightning_module.state_dict()


@pytest.mark.parametrize("step", slow(2, 19, 20, 21, 22, 35))
def test_resumed_equals_uninterrupted_wherever_the_cut_is(tmp_path, healthy, step):
    """Before the evaluation set is there, just before a reading, while it is worked on, after it."""
    whole, weights = healthy
    checkpoint = cut_at(step, tmp_path / "a", first := watch())
    run, _ = fit(tmp_path / "b", 60, second := watch(), resume=checkpoint)
    assert all(torch.equal(weights[name], value) for name, value in run.lightning_module.state_dict().items())
    if step == 2:  # two of three batches were held back, and at its end the first run has made do with them
        assert {(r.step, r.n) for r in second.readings if r.level == "utterance"} == {(s, 16) for s in (3, 20, 40, 60)}
        return
    # What was being worked on is known to both: the first run was given it at its end.
    seen, wanted = {**numbers(first), **numbers(second)}, numbers(whole)
    assert {key for key in wanted if key[0] > step} <= set(numbers(second))
    assert all(seen[key] == reading for key, reading in wanted.items())


def test_what_is_being_worked_on_is_handed_over_at_the_same_step(tmp_path):
    checkpoint = cut_at(21, tmp_path / "a", watch())
    content = torch.load(checkpoint, weights_only=True)["callbacks"]["RankWatch[RankWatch]"]["monitor"]
    assert (content["pending"]["step"], content["pending"]["due"]) == (20, 22)
    told = []

    class See(pl.Callback):
        def on_train_batch_end(self, trainer, module, outputs, batch, index):
            told.append((trainer.global_step, max((r.step for r in second.readings), default=None)))

    fit(tmp_path / "b", 24, second := watch(), See(), resume=checkpoint)
    assert told == [(22, 20), (23, 20), (24, 20)]


def finding(message):
    """Without the checkpoint, which is another one in each run."""
    return message.split(" Likely causes")[0]


@pytest.fixture(scope="module")
def collapsing(tmp_path_factory):
    callback = watch(every_n_steps=10)
    _, told = fit(tmp_path_factory.mktemp("whole"), 110, Break(), callback)
    return callback, [one for one in told if "CRITICAL" in one]


@pytest.mark.parametrize("step", slow(51, 53, 95))
def test_an_episode_goes_on_where_it_was(tmp_path, collapsing, step):
    """After the first breaching readings, and after it was told: then it isn't told again."""
    whole, messages = collapsing
    assert len(messages) == 1
    assert {(a["step"], a["since"]) for a in alarms(whole) if a["severity"] == "critical"} == {(54, 50)}
    checkpoint = cut_at(step, tmp_path / "a", Break(), watch(every_n_steps=10))
    _, told = fit(tmp_path / "b", 110, Break(), second := watch(every_n_steps=10), resume=checkpoint)
    later = [one for one in told if "CRITICAL" in one]
    assert [a for a in alarms(whole) if a["step"] > step] == alarms(second)
    assert [finding(one) for one in later] == [finding(one) for one in messages if step < 54]


def test_other_layers_are_told_and_the_curves_of_the_rest_go_on(tmp_path):
    checkpoint = cut_at(40, tmp_path / "a", watch())
    fewer = watch(layers=["encoder.layers.1", "encoder.layers.2"])
    with pytest.warns(RuntimeWarning, match=r"without encoder\.feature_extractor, encoder\.layers\.0"):
        trainer(tmp_path / "b", SeedEachStep(), fewer, max_steps=60).fit(Module(), Stateful(), ckpt_path=checkpoint)
    assert {r.step for r in fewer.readings} == {40, 60}  # what was being worked on is still told in full
    assert {r.layer for r in fewer.readings if r.step == 60} == {"encoder.layers.1", "encoder.layers.2"}
    state = fewer.state_dict()["monitor"]["evaluation"]["alarms"]["history"]
    assert {entry["key"][2] for entry in state} == {"encoder.layers.1", "encoder.layers.2"}
    assert all(entry["steps"] == [3, 20, 40, 60] for entry in state)


def test_another_number_of_processes_makes_the_probe_set_anew_and_says_so(tmp_path, caplog):
    checkpoint = cut_at(40, tmp_path / "a", watch())
    content = torch.load(checkpoint, weights_only=True)
    content["callbacks"]["RankWatch[RankWatch]"]["processes"] = 8
    torch.save(content, tmp_path / "eight.ckpt")
    with caplog.at_level("INFO", logger="rankwatch"):
        _, told = fit(tmp_path / "b", 60, second := watch(), resume=tmp_path / "eight.ckpt")
    assert "could not be restored (8 processes before, 1 now)" in caplog.text
    assert {r.step for r in second.readings} == {40, 60}
    assert any("curves start again" in one for one in told)


def test_a_probe_set_that_is_lost_is_made_anew(tmp_path, caplog):
    checkpoint = cut_at(40, tmp_path / "a", watch())
    for lost in tmp_path.rglob("*.eval_set.*"):
        lost.unlink()
    with caplog.at_level("INFO", logger="rankwatch"):
        fit(tmp_path / "b", 60, second := watch(), resume=checkpoint)
    assert "is copied anew" in caplog.text
    assert {r.step for r in second.readings} == {40, 60}


def test_a_checkpoint_from_before_the_callback_was_there(tmp_path):
    checkpoint = cut_at(21, tmp_path / "a")
    fit(tmp_path / "b", 60, second := watch(), resume=checkpoint)
    assert {r.step for r in second.readings} == {24, 40, 60}


def test_a_window_of_the_training_pass_that_was_cut_counts_what_came_since(tmp_path):
    """Its rows are no part of a checkpoint: they would be most of it."""
    checkpoint = cut_at(39, tmp_path / "a", watch(watch=WATCH))
    assert checkpoint.stat().st_size < 3e6
    fit(tmp_path / "b", 60, second := watch(watch=WATCH), resume=checkpoint)
    counts = {r.step: r.n for r in second.readings if (r.source, r.level, r.layer[-1]) == ("train", "utterance", "r")}
    assert counts == {40: 8, 60: 24}


def test_the_checkpoint_set_aside_is_kept_when_the_reading_was_healthy(tmp_path):
    """Saved at 20, where rows were drawn; cut at 21; that they were healthy is known at 22."""
    keep = ModelCheckpoint(every_n_train_steps=19, save_top_k=-1, dirpath=tmp_path / "kept")
    checkpoint = cut_at(21, tmp_path / "a", keep, watch())
    _, told = fit(tmp_path / "b", 110, Break(), watch(every_n_steps=10), resume=checkpoint)
    assert any("Last healthy checkpoint" in one for one in told)
    assert issubclass(CollapseWarning, RuntimeWarning)
