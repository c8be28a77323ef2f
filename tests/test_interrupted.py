"""Stops, interruptions and further fits: nothing of a run is lost, and nothing of it gets into another."""

import threading
import warnings

import pytest
import torch
from toys import Encoder, Manual, Module, loader, pl, trainer

from rankwatch import FirstBatches, RankWatch, RowSampling, Watch
from rankwatch.arguments.settings import WATCH
from rankwatch.readings.reading_from_sample import measure

SETTINGS = {"every_n_steps": 3, "rows": RowSampling(n_utterances=16), "strict": True, "max_overhead": None}


def fit(folder, callback, *others, module=None, **arguments):
    pl.seed_everything(0)
    run = trainer(folder, callback, *others, **{"max_steps": 9, **arguments})
    run.fit(module or Module(), loader())
    return run


def steps(callback):
    return sorted({reading.step for reading in callback.readings})


def ours():
    return [thread for thread in threading.enumerate() if thread.name == "rankwatch"]


def test_ctrl_c_while_an_outcome_is_waited_for_loses_nothing(tmp_path, monkeypatch):
    interruption = threading.Event()

    def slow(*args, **kwargs):
        interruption.wait(60)  # so that the outcome is not there before it is waited for
        return measure(*args, **kwargs)

    def interrupted(job):
        monkeypatch.undo()
        interruption.set()
        raise KeyboardInterrupt

    monkeypatch.setattr("rankwatch.readings.layer_readings.measure", slow)
    monkeypatch.setattr("rankwatch.runtime.background_job.BackgroundJob.result", interrupted)
    model = Encoder()
    watch = Watch(model, tmp_path, **SETTINGS)

    def train():
        with watch:
            for batch in loader():
                with watch.batch(batch):
                    model(*batch)
                watch.step()

    with pytest.raises(KeyboardInterrupt):
        train()
    assert {r.step for r in watch.readings} == {2}
    assert not ours()


def test_a_stop_that_is_not_heeded_does_not_end_the_readings(tmp_path):
    torch.manual_seed(0)  # how soon all of it is confirmed depends on the model
    callback = RankWatch(**{**SETTINGS, "on_collapse": "stop"})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        run = fit(tmp_path, callback, module=Module(collapse="line"), max_steps=40, min_steps=24)
    assert run.global_step == 24
    assert steps(callback) == [2, 3, 5, 7, 9, *range(12, 25, 3)]  # sooner, until all that was breached is confirmed


def test_the_checkpoint_of_a_validation_is_not_the_state_of_the_next_fit(tmp_path):
    save = pl.callbacks.ModelCheckpoint(dirpath=tmp_path / "c", every_n_train_steps=12, save_last=True)
    callback = RankWatch(**SETTINGS)
    fit(tmp_path, callback, save, max_steps=12)
    other = RankWatch(**SETTINGS)
    trainer(tmp_path, other).validate(Module(), loader(8), ckpt_path=str(tmp_path / "c/last.ckpt"), verbose=False)
    fit(tmp_path / "next", other)
    assert steps(other) == [2, 3, 6, 9]


def test_a_second_fit_counts_its_own_steps(tmp_path):
    callback = RankWatch(**SETTINGS)
    for _ in range(2):
        fit(tmp_path, callback, module=Manual(), enable_checkpointing=False)
        assert steps(callback) == [2, 3, 6, 9]


def test_a_state_is_asked_for_before_there_is_anything_to_watch(tmp_path):
    """By the learning rate's finder, for one, which saves a checkpoint before the module is built."""

    class Late(Module):
        def __init__(self):
            super().__init__()
            self.lr = 1e-3

        def setup(self, stage):
            self.built = True

    callback = RankWatch(**SETTINGS)
    run = trainer(tmp_path, callback, max_steps=6)
    pl.tuner.Tuner(run).lr_find(module := Late(), loader(), num_training=3, update_attr=False)
    run.fit(module, loader())
    assert steps(callback)[-1] == 6


def test_at_a_failing_end_all_is_closed(tmp_path, monkeypatch):
    def explode(*_, **__):
        raise FloatingPointError("made up")

    model = Encoder()
    watch = Watch(model, tmp_path, **SETTINGS, watch=WATCH)
    for batch in loader(32):
        with watch.batch(batch):
            model(*batch)
        watch.step()
    monkeypatch.setattr("rankwatch.monitor.evaluator.Evaluator.evaluate", explode)
    with pytest.raises(FloatingPointError):
        watch.close()
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())
    assert not ours()


def test_warnings_that_are_errors_end_no_run(tmp_path, caplog):
    def broken(module, batch):
        raise OSError("no such thing")

    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        run = fit(tmp_path, RankWatch(**{**SETTINGS, "strict": False, "eval_sets": FirstBatches(forward=broken)}))
    assert run.global_step == 9
    assert "no such thing" in caplog.text


def test_the_probe_set_is_on_disk_before_its_first_outcome_is_told(tmp_path):
    model = Encoder()
    with Watch(model, tmp_path, **{**SETTINGS, "every_n_steps": 100}) as watch:
        for batch in loader(32):
            with watch.batch(batch):
                model(*batch)
            watch.step()
        assert not watch.readings
        assert torch.load(tmp_path / "RankWatch.eval_set.rank0.pt", weights_only=True)["name"] == "first_batches"
