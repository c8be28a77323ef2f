"""What goes wrong around a run: disks, loggers, folders, the user's own functions, a run that breaks off.

In each case the training goes on as if nobody had watched it.
"""

import contextlib
import errno
import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from faulty import STEPS, Module, fit, fit_untouched, hooks, no_thread_left, steps, watch
from toys import Noise, pl

from rankwatch import FirstBatches, RowSampling
from rankwatch.arguments.settings import WATCH
from rankwatch.reporting import read_jsonl

ModelCheckpoint = pl.callbacks.ModelCheckpoint
CSVLogger = pl.loggers.CSVLogger
TensorBoardLogger = pl.loggers.TensorBoardLogger
Logger = pl.loggers.logger.Logger
FULL = OSError(errno.ENOSPC, "No space left on device")


def records(folder):
    return next(Path(folder).rglob("RankWatch.jsonl"))


# -- disks -------------------------------------------------------------------------------------------------


def fill_records(monkeypatch):
    def full(path, mode="r", *rest, real=Path.open, **arguments):
        return real(Path("/dev/full") if path.suffix == ".jsonl" and mode == "a" else path, mode, *rest, **arguments)

    monkeypatch.setattr(Path, "open", full)


def fill_probe_set(monkeypatch):
    def full(thing, target, *rest, real=torch.save, **arguments):
        if not isinstance(target, Path):  # Lightning's own
            return real(thing, target, *rest, **arguments)
        target.write_bytes(b"half of it")
        raise FULL

    monkeypatch.setattr(torch, "save", full)


def fill_checkpoint(monkeypatch):
    def full(source, target, *_, **__):
        Path(target).write_bytes(b"half of it")
        raise FULL

    monkeypatch.setattr(os, "link", full)
    monkeypatch.setattr(shutil, "copy2", full)


def fill_folder(monkeypatch):
    def full(path, *rest, real=Path.mkdir, **arguments):
        if path.name == "rankwatch":
            raise FULL
        real(path, *rest, **arguments)

    monkeypatch.setattr(Path, "mkdir", full)


def keep_checkpoints():
    return [ModelCheckpoint(every_n_train_steps=2, save_top_k=1, monitor="step", mode="max")]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
@pytest.mark.parametrize(
    "fills",
    [
        [fill_records],
        [fill_probe_set],
        [fill_checkpoint],
        [fill_folder],
        [fill_records, fill_probe_set, fill_checkpoint],
    ],
)
def test_a_full_disk_costs_what_could_not_be_written_and_is_told(tmp_path, monkeypatch, fills):
    for fill in fills:
        fill(monkeypatch)
    callback = watch()
    _, _, told = fit_untouched(tmp_path, callback, others=keep_checkpoints())
    assert steps(callback) == STEPS
    assert len(told) == len(set(told)) == (3 if fills == [fill_folder] else len(fills))
    assert all("No space left on device" in text for text in told)
    assert not [*tmp_path.rglob("*.new"), *tmp_path.rglob("*.aside")]  # half a file would fill the disk further
    written = {path.name for path in tmp_path.rglob("RankWatch*") if path.stat().st_size}
    whole = {"RankWatch.jsonl": fill_records, "RankWatch.eval_set.rank0.pt": fill_probe_set}
    whole["RankWatch.last_healthy.ckpt"] = fill_checkpoint
    assert written == {name for name, fill in whole.items() if fill not in fills and fill_folder not in fills}


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
def test_a_disk_that_has_room_again_is_written_to_again(tmp_path, monkeypatch):
    class MakeRoom(pl.Callback):
        def on_train_batch_start(self, trainer, module, batch, index):
            if trainer.global_step == 9:
                monkeypatch.undo()

    fill_records(monkeypatch)
    callback = watch(every_n_steps=2)
    fit(tmp_path, callback, MakeRoom())
    back = read_jsonl(records(tmp_path))  # all protocols are there
    assert {reading.step for reading in back} >= {12}
    assert json.loads(records(tmp_path).read_text().splitlines()[-1])["record"] == "end"


# -- loggers -----------------------------------------------------------------------------------------------


class Failing(Logger):
    """Its server is away: always, at one call, or as soon as its client is asked for in training."""

    name, version = "failing", 0

    def __init__(self, when):
        super().__init__()
        self.when, self.calls, self.took, self.away = when, 0, [], False

    def log_hyperparams(self, *_, **__): ...

    def log_metrics(self, metrics, step=None):
        if any(name.startswith("RankWatch") for name in metrics):
            self.calls += 1
            if self.when == "always" or (self.when == "once" and self.calls == 2) or self.away:
                raise ConnectionError("the server is gone")
            self.took.append(step)

    @property
    def experiment(self):
        if self.away:
            raise ConnectionError("the server is gone")
        return object()


class GoesAway(pl.Callback):
    def on_train_batch_start(self, trainer, module, batch, index):
        trainer.loggers[0].away = trainer.loggers[0].when == "experiment"


@pytest.mark.parametrize(("when", "took"), [("always", []), ("once", [4, 12]), ("experiment", [])])
def test_a_logger_that_raises_misses_its_own_readings_only(tmp_path, when, took):
    callback, failing = watch(), Failing(when)
    _, _, told = fit_untouched(tmp_path, callback, others=[GoesAway()], logger=[failing, CSVLogger(tmp_path / "csv")])
    assert len(told) == 1
    assert "the server is gone" in told[0]
    assert failing.took == took
    assert "RankWatch_frame/L02" in next((tmp_path / "csv").rglob("metrics.csv")).read_text()
    assert {reading.step for reading in read_jsonl(records(tmp_path))} == STEPS


# -- folders that vanish -----------------------------------------------------------------------------------


class Remove(pl.Callback):
    def __init__(self, part="."):
        self.part = part

    def on_train_batch_start(self, trainer, module, batch, index):
        if trainer.global_step == 6:
            shutil.rmtree(Path(trainer.log_dir or trainer.default_root_dir) / self.part, ignore_errors=True)


def test_a_folder_of_ours_that_is_removed_begins_anew(tmp_path):
    callback = watch()
    fit_untouched(tmp_path, callback, others=[*keep_checkpoints(), Remove("rankwatch")])
    assert steps(callback) == STEPS
    file = records(tmp_path)
    assert {reading.step for reading in read_jsonl(file)} >= {12}
    assert json.loads(file.read_text().splitlines()[0])["record"] == "run"
    assert (file.parent / "RankWatch.last_healthy.ckpt").exists()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")  # TensorBoard's own thread
def test_a_removed_tensorboard_folder_ends_a_run_no_earlier_than_without_us(tmp_path):
    """TensorBoard's writer can't do without its folder; Lightning, which writes there too, raises."""

    def end(name, *callbacks):
        logger = TensorBoardLogger(tmp_path / name)
        with no_thread_left(), pytest.raises(FileNotFoundError) as raised:
            fit(tmp_path / name, Remove(), *callbacks, logger=logger, max_steps=12, enable_checkpointing=False)
        return str(raised.value).rpartition("/")[0].replace(name, "")

    assert end("watched", watch()) == end("plain")


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_removed_tensorboard_folder_does_not_stop_readings(tmp_path):
    class Silent(Module):
        def log(self, *_, **__):
            """Nothing: only we write to TensorBoard."""

    callback = watch()
    with contextlib.suppress(FileNotFoundError):  # Lightning closes the broken writer, after training
        fit(tmp_path, Remove(), callback, make=Silent, logger=TensorBoardLogger(tmp_path), enable_checkpointing=False)
    assert steps(callback) == STEPS
    assert json.loads(records(tmp_path).read_text().splitlines()[-1])["step"] == 12


# -- the user's own functions and files --------------------------------------------------------------------


def failing_after(calls, function):
    left = [calls]

    def fails(*arguments):
        left[0] -= 1
        if left[0] < 0:
            raise KeyError("not today")
        return function(*arguments)

    return fails


@pytest.mark.parametrize(("calls", "expected"), [(0, set()), (6, {4})])  # a reading takes 5: the first batch goes twice
@pytest.mark.parametrize("what", ["forward", "lengths"])
def test_a_function_of_the_users_that_raises_costs_readings_only(tmp_path, what, calls, expected):
    if what == "forward":
        forward = failing_after(calls, lambda module, batch: module.encoder(*batch))
        callback = watch(eval_sets=FirstBatches(forward=forward))
    else:
        lengths = failing_after(calls, lambda batch: batch[1])
        callback = watch(rows=RowSampling(n_utterances=32, lengths=lengths))
    _, _, told = fit_untouched(tmp_path, callback)
    assert steps(callback) == expected
    assert len(told) == 1
    assert "not today" in told[0]


def test_broken_audio_files_are_left_out_of_a_folder(tmp_path):
    folder = tmp_path / "audio"
    folder.mkdir()
    soundfile = pytest.importorskip("soundfile")
    for index, samples in enumerate(Noise(40, shortest=2000, longest=4000).items):
        soundfile.write(folder / f"{index:02}.wav", 0.1 * samples.numpy(), 16000)
    (folder / "03.wav").write_bytes(b"RIFF and then nothing of audio")
    (folder / "04.wav").write_bytes(b"")
    (folder / "05.wav").write_bytes((folder / "05.wav").read_bytes()[:44])  # only the header
    (folder / "06.wav").unlink()
    (folder / "06.wav").symlink_to(folder / "nowhere.wav")
    soundfile.write(folder / "07.wav", np.full(3000, np.nan, np.float32), 16000, subtype="FLOAT")
    callback = watch(rows=RowSampling(n_utterances=40), eval_sets={"files": str(folder)})
    _, _, told = fit_untouched(tmp_path, callback)
    assert any("3 files could not be read" in text for text in told)
    assert steps(callback, "files") >= STEPS
    seen = [reading for reading in callback.readings if reading.level == "utterance"]
    assert {reading.n for reading in seen} == {35}  # without 03, 04, 05, 06 and 07
    assert any("07.wav" in text for text in told)
    assert callback.alarms == []  # 07 is broken audio, no broken model


# -- a run that breaks off ---------------------------------------------------------------------------------


@pytest.mark.parametrize("at", [1, 6])  # while batches are held back, and later
@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_a_run_that_breaks_off_leaves_no_hook_and_no_thread(tmp_path, error, at):
    class Stumbling(Module):
        def __init__(self):
            super().__init__()
            self.encoder.register_forward_hook(lambda *_: None)  # the user's own stays

        def training_step(self, batch, index):
            if self.global_step == at:
                raise error("made up")
            return super().training_step(batch, index)

    callback, module = watch(watch=WATCH), Stumbling()
    before = hooks(module)
    # Lightning turns an interrupt into an exit, or, in earlier versions, only stops.
    with no_thread_left(), contextlib.suppress(error, SystemExit):
        fit(tmp_path, callback, make=lambda: module)
    assert len(module.losses) == at
    assert hooks(module) == before == 1
    if at == 6:
        assert 4 in steps(callback)
        end = json.loads(records(tmp_path).read_text().splitlines()[-1])
        assert (end["record"], end["step"]) == ("end", 6)
        assert error.__name__ in end["notes"][0]
