"""Folders, dataloaders and the training pass as sources of rows."""

from pathlib import Path

import numpy as np
import pytest
import torch
from toys import Encoder, Noise, collate

from rankwatch import AudioFolder, FirstBatches, Loader, RowSampling
from rankwatch.arguments.settings import WATCH, Settings
from rankwatch.monitor.monitor import Monitor

soundfile = pytest.importorskip("soundfile")


def _folder(path, count=12, seconds=(0.06, 0.2), rate=16_000):
    path.mkdir()
    generator = np.random.default_rng(0)
    for i in range(count):
        samples = generator.uniform(*seconds) * rate
        soundfile.write(path / f"{i:02d}.wav", generator.normal(0, 0.1, int(samples)), rate)
    return path


def _train(monitor, model, steps=3):
    batch = collate(Noise(8).items)
    for step in range(steps):
        monitor.batch_starts(batch, step)
        model(*batch)
        monitor.before_backward()
        monitor.batch_ends(batch)
    monitor.complete_eval_sets()
    return monitor.read(steps).report.readings


def test_a_folder_stands_beside_the_default_set(tmp_path):
    model = Encoder()
    sets = {"first_batches": "first_batches", "music": str(_folder(tmp_path / "music"))}
    monitor = Monitor(Settings(eval_sets=sets, rows=RowSampling(n_utterances=8), strict=True))
    monitor.attach(model)
    readings = _train(monitor, model)
    assert {r.source for r in readings} == {"first_batches", "music"}
    assert {r.n for r in readings if r.source == "music" and r.level == "utterance"} == {8}
    assert len({r.protocol.eval_set for r in readings}) == 2


def test_files_of_a_few_milliseconds_are_counted_and_dropped(tmp_path):
    model = Encoder()
    sets = {"blips": str(_folder(tmp_path / "blips", seconds=(0.0005, 0.004)))}
    monitor = Monitor(Settings(eval_sets=sets, rows=RowSampling(n_utterances=12)))
    monitor.attach(model)
    with pytest.warns(RuntimeWarning, match="too short to have a single frame"):
        readings = _train(monitor, model)
    assert all(r.n < 12 * 4 for r in readings)


@pytest.mark.parametrize("levels", [["frame"], ["utterance"], ["frame", "utterance"]])
def test_a_dataloader_is_run_by_its_own_forward(levels):
    model = Encoder()
    loader = torch.utils.data.DataLoader(Noise(20, seed=3).items, 8, collate_fn=collate)
    other = Loader(loader, forward=lambda module, batch: module(*batch))
    monitor = Monitor(
        Settings(eval_sets={"other": other}, watch=levels, rows=RowSampling(n_utterances=20), strict=True)
    )
    monitor.attach(model)
    readings = _train(monitor, model)
    assert {r.level for r in readings} == set(levels)
    assert {r.n for r in readings if r.level == "utterance"} <= {20}
    assert {r.protocol.input for r in readings} == {"user"}


def _beeps(path, count=16, rate=16_000):
    """Tones of 0.5 s between digital silence of 10 to 90 % of the file."""
    path.mkdir()
    generator = np.random.default_rng(1)
    for i in range(count):
        disable_source = generator.uniform(0.1, 0.9)
        tone = 0.3 * np.sin(2 * np.pi * generator.uniform(200, 4000) * np.arange(rate // 2) / rate)
        before, after = generator.multinomial(int(len(tone) * disable_source / (1 - disable_source)), [0.5, 0.5])
        soundfile.write(path / f"{i:02d}.wav", np.concatenate([np.zeros(before), tone, np.zeros(after)]), rate)
    return path


SHARED = Path(__file__).resolve().parents[2].parent / "shared" / "data"


@pytest.mark.parametrize(
    "name", ["beeps", *[pytest.param(name, marks=pytest.mark.slow) for name in ("ood_music_cc0", "fsdd")]]
)
def test_hard_audio_makes_no_crash_and_no_false_alarm(tmp_path, name):
    """Beeps that are mostly silence; music of some milliseconds; 8 kHz digits of 0.15 to 2 s."""
    if name != "beeps" and not (SHARED / name).is_dir():
        pytest.skip(f"{name} is not part of the project")
    folder = _beeps(tmp_path / "beeps") if name == "beeps" else SHARED / name
    model = Encoder(dropout=0.1)
    # The toy makes a frame of 20 samples; at 2 kHz these are the usual 10 ms.
    sets = {"first_batches": "first_batches", name: AudioFolder(folder, sample_rate=2000)}
    monitor = Monitor(Settings(eval_sets=sets, rows=RowSampling(n_utterances=32)))
    monitor.attach(model)
    _train(monitor, model)
    for step in range(4, 8):
        report = monitor.read(step).report
        assert not report.alarms
    here = [r for r in report.readings if r.source == name]
    assert len(here) == 8
    assert all(np.isfinite(r.effective_rank) and r.metrics["non_finite_fraction"] == 0.0 for r in here)


def test_a_dataloader_without_a_forward_is_refused_by_name():
    with pytest.raises(ValueError, match=r"'other'\] is a list: wrap a dataloader as Loader\(loader, forward=f\)"):
        Settings(eval_sets={"other": [1, 2]})


def test_bad_folders_and_patterns_are_refused_at_the_start(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="no audio in"):
        Monitor(Settings(eval_sets={"a": str(tmp_path / "empty")})).attach(Encoder())
    with pytest.raises(FileNotFoundError, match="nowhere"):
        Monitor(Settings(eval_sets={"a": str(tmp_path / "nowhere")})).attach(Encoder())
    with pytest.raises(ValueError, match=r"encoder\.blocks"):
        Monitor(Settings(layers=["encoder.blocks.*"])).attach(Encoder())
    with pytest.raises(ValueError, match="no function"):
        FirstBatches(forward="rankwatch.nowhere:f")


def test_the_training_pass_is_read_only_near_a_reading_and_keeps_nothing(tmp_path):
    model = Encoder(layer_drop=0.0)
    monitor = Monitor(Settings(watch=WATCH, rows=RowSampling(n_utterances=8), every_n_steps=10, strict=True))
    monitor.attach(model)
    batch = collate(Noise(8).items)
    alive = []
    for step in range(20):
        monitor.batch_starts(batch, step)
        features = model(*batch)
        monitor.before_backward()
        alive.append(monitor.row_collector._train.window.utterances)
        features.sum().backward()
        monitor.batch_ends(batch)
        if monitor.agree_whether_due(step + 1):
            readings = monitor.read(step + 1).report.readings
    assert alive == [8] + [0] * 7 + [8, 8] + [0] * 8 + [8, 8]  # for the readings at steps 1, 10 and 20
    assert not monitor.row_collector._train._layer_hooks.take()
    train = [r for r in readings if r.source == "train"]
    assert {r.protocol.mode for r in train} == {"train"}
    assert {r.n for r in train if r.level == "utterance"} == {8}


def test_rank_of_both_passes_agrees_without_dropout():
    model = Encoder(layer_drop=0.0, dropout=0.0)
    monitor = Monitor(Settings(watch=WATCH, rows=RowSampling(n_utterances=8), strict=True))
    monitor.attach(model)
    readings = {(r.source, r.level, r.layer): r for r in _train(monitor, model, steps=1)}
    for (source, level, layer), reading in readings.items():
        if source == "train":
            twin = readings["first_batches", level, layer]
            assert reading.effective_rank == pytest.approx(twin.effective_rank, rel=1e-5)
