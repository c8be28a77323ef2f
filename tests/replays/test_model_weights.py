"""How the model of a replay is made, where it runs, and in which precision."""

import pytest
import torch
from test_equal_to_live import quietly
from test_replay import ASKED, audio, batches, make, read, write
from tiny_audio import write_audio
from toys import Module

from rankwatch import AudioFolder, Loader, replay
from rankwatch.replays.run_settings.earlier_run import read_earlier_run
from rankwatch.replays.run_settings.replay_settings import replay_settings
from rankwatch.replays.run_settings.trainer_precision import checked_precision


class Trace:
    """Leaves a trace where it is unpickled."""

    def __init__(self, file):
        self.file = str(file)

    def __reduce__(self):
        return exec, (f"import pathlib; pathlib.Path({self.file!r}).write_text('ran')",)


class Arguments(Module):
    """Of Lightning's, and can't be made without arguments."""

    def __init__(self, width, depth):
        super().__init__(width=width, depth=depth)


ABOUT = {"pytorch-lightning_version": "2.4.0", "hparams_name": "kwargs", "global_step": 10}


@pytest.mark.parametrize("complete", [True, False])
def test_a_class_of_lightnings_is_made_from_hyperparameters_and_nothing_is_run(complete, tmp_path):
    """Also where the first checkpoint is of a version of the model with a layer less."""
    weights = Arguments(width=16, depth=3).state_dict()
    weights = {name: value for name, value in weights.items() if complete or "layers.2" not in name}
    content = {**ABOUT, "state_dict": weights, "hyper_parameters": {"width": 16, "depth": 3, "unused": 1}}
    torch.save({**content, "extra": Trace(tmp_path / "trace")}, tmp_path / "step=10.ckpt")
    loader = Loader(batches(), forward=lambda model, batch: model.encoder(*batch))
    found = replay("test_model_weights:Arguments", tmp_path, loader, out=tmp_path / "out", say=quietly, **ASKED)
    assert found.steps == [10]
    read_layers = {one.layer for one in found.readings}
    assert "encoder.layers.1" in read_layers
    assert ("encoder.layers.2" in read_layers) == complete
    assert not (tmp_path / "trace").exists()
    torch.load(tmp_path / "step=10.ckpt", weights_only=False)  # the trace would be seen
    assert (tmp_path / "trace").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"width": Trace("nowhere"), "depth": 2}, "aren't plain, so they aren't read: width; name a function"),
        ({}, "could not be made from the hyperparameters in .*step=10.ckpt .*name a function without arguments"),
    ],
)
def test_hyperparameters_that_are_not_plain_or_not_there_are_named(arguments, message, tmp_path):
    torch.save({**ABOUT, "state_dict": {}, "hyper_parameters": arguments}, tmp_path / "step=10.ckpt")
    with pytest.raises(ValueError, match=message):
        replay("test_model_weights:Arguments", tmp_path, audio(), out=tmp_path / "out", say=quietly, **ASKED)


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"device": "nonsense"}, "device 'nonsense' can't be used here .*name another, for example cpu"),
        ({"device": "cuda:99"}, "device 'cuda:99' can't be used here"),
        ({"precision": "fp16"}, "precision 'fp16' isn't known: name one of 32-true, .*16-mixed"),
    ],
)
def test_what_cannot_be_had_is_refused_at_once(asked, message, tmp_path):
    folder = write(tmp_path / "run", [10])
    with pytest.raises(ValueError, match=message):
        replay("test_replay:make", folder, audio(), out=tmp_path / "out", say=quietly, **{**ASKED, **asked})


def test_a_precision_of_the_run_that_is_not_known_is_named():
    assert checked_precision(None, None) == ("32-true", [])
    assert checked_precision("bf16-mixed", "16-mixed") == ("bf16-mixed", [])
    precision, notes = checked_precision(None, "fp8")
    assert precision == "fp8"
    assert "'fp8' isn't one that a replay knows: it reads in 32-true" in notes[0]


def test_where_no_checkpoint_can_be_read_nothing_is_said_of_ones_before(tmp_path, caplog):
    lines = []
    with caplog.at_level("INFO", "rankwatch"):
        assert read(write(tmp_path / "run", [10]), tmp_path / "out", lines, prefix="student").failed
    assert "holds no weights of Encoder under 'student'" in lines[-1]
    assert "no checkpoint could be read: lines above say why" in caplog.text


def test_nothing_is_said_of_an_interval_where_there_is_one_checkpoint(tmp_path, caplog):
    with caplog.at_level("INFO", "rankwatch"):
        assert read(write(tmp_path / "run", [10]), tmp_path / "out").steps == [10]
    assert "1 reading up to step 10" in caplog.text
    assert "is more than the run's" not in caplog.text
    assert "run by your forward" in caplog.text


def test_a_call_that_was_found_is_named_and_not_taken_for_the_users(tmp_path, caplog):
    for i in range(8):
        write_audio(tmp_path / "audio" / f"{i}.wav", 0.1, rate=8000, seed=i)
    folder = write(tmp_path / "run", [10])
    with caplog.at_level("INFO", "rankwatch"):
        replay("test_replay:make", folder, AudioFolder(tmp_path / "audio", 8000), out=tmp_path / "out", **ASKED)
    assert "sets are run by a call of Encoder with waveforms and lengths" in caplog.text


def test_a_model_that_is_passed_has_the_last_checkpoints_weights_afterwards(tmp_path):
    folder = write(tmp_path / "run", [10, 20])
    model = make()
    read(folder, tmp_path / "out", model=model)
    stored = torch.load(folder / "step=20.pt")["model"]
    assert all(torch.equal(value, stored[name]) for name, value in model.state_dict().items())


def test_the_users_sets_stay_as_they_are(tmp_path):
    own = AudioFolder(tmp_path)
    settings, _ = replay_settings({"a": own}, None, "test_replay:run_batch", {})
    assert own.forward is None
    assert settings.sets["a"].forward.__name__ == "run_batch"


def test_the_runs_records_are_found_among_other_lists(tmp_path):
    read(write(tmp_path / "run", [10]), tmp_path / "records")
    (tmp_path / "records" / "train_manifest.jsonl").write_text('{"audio_filepath": "a.wav"}\n')
    assert read_earlier_run(tmp_path / "records").records == tmp_path / "records" / "RankWatch.jsonl"
    (tmp_path / "records" / "RankWatch.jsonl").unlink()
    with pytest.raises(ValueError, match="holds no records of rankwatch's"):
        read_earlier_run(tmp_path / "records")


def test_that_the_runs_audio_is_another_now_is_said(tmp_path):
    folder = write(tmp_path / "run", [10, 20])
    clips = [write_audio(tmp_path / "audio" / f"{i}.wav", 0.1, rate=8000, seed=i) for i in range(8)]
    audio_folder = AudioFolder(tmp_path / "audio", sample_rate=8000, forward="test_replay:run_batch")
    replay("test_replay:make", folder, audio_folder, out=tmp_path / "first", say=quietly, **ASKED)
    lines = []
    like = {"like": tmp_path / "first", "say": lines.append, "device": "cpu"}
    replay("test_replay:make", folder, out=tmp_path / "same", **like)
    assert not any("compared" in line for line in lines)
    write_audio(clips[0], 0.1, rate=8000, seed=99)
    replay("test_replay:make", folder, out=tmp_path / "other", **like)
    assert [line for line in lines if "compared" in line] == [
        "evaluation set 'audio_folder' isn't what the run has read (other audio): its numbers and the run's can't be "
        "compared"
    ]
