"""Folders of checkpoints as they are found: interrupted, growing, broken in part, of two versions of a model."""

import gc
import json
import threading
import warnings
import weakref

import pytest
import torch
from test_equal_to_live import numbers, quietly
from tiny_audio import write_audio
from torch import nn
from toys import Encoder, Module

from rankwatch import AudioFolder, Loader, RowSampling, replay
from rankwatch.checkpoints.listing import Checkpoint
from rankwatch.cli import main
from rankwatch.replays.checkpoint_queue import CheckpointQueue
from rankwatch.replays.replay_state import ReplayState
from rankwatch.reporting import read_jsonl
from rankwatch.reporting.jsonl_records import read_records

ROWS = RowSampling(n_utterances=16, brief_utterances=None)


def make(depth=2, **options):
    torch.manual_seed(0)
    return Encoder(width=16, depth=depth, **options)


def make_three():
    return make(3)


def batches():
    generator = torch.Generator().manual_seed(0)
    return [(torch.randn(8, 900, generator=generator), torch.full((8,), 900)) for _ in range(2)]


def run_batch(model, batch):
    return model(*batch)


ASKED = {"rows": ROWS, "device": "cpu", "watch": ["frame"]}


def audio():
    return Loader(batches(), forward=run_batch)


def write(folder, steps, model=None, **content):
    """Checkpoints of a model that moves a little."""
    folder.mkdir(parents=True, exist_ok=True)
    model = model or make()
    for step in steps:
        with torch.no_grad():
            for weight in model.parameters():
                weight.mul_(1.0 + 1e-5 * step)
        torch.save({"model": model.state_dict(), "step": step, **content}, folder / f"step={step}.pt")
    return folder


def read(folder, out, lines=None, model="test_replay:make", **arguments):
    say = quietly if lines is None else lines.append
    return replay(model, folder, audio(), out=out, say=say, **ASKED, **arguments)


def steps_in(out):
    return sorted({reading.step for reading in read_jsonl(out / "RankWatch.jsonl")})


def test_it_goes_on_where_it_was_interrupted_with_the_same_numbers(tmp_path):
    folder = write(tmp_path / "run", [10, 20, 30, 40])
    whole = read(folder, tmp_path / "whole")
    lines = []

    def interrupt(line):
        lines.append(line)
        if line.startswith("step       20"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        replay("test_replay:make", folder, audio(), out=tmp_path / "cut", say=interrupt, **ASKED)
    assert steps_in(tmp_path / "cut") == [10, 20]
    opened = []
    later = read(folder, tmp_path / "cut", opened)
    assert [int(line.split()[1]) for line in opened if line.startswith("step ")] == [30, 40]
    assert later.steps == whole.steps == [10, 20, 30, 40]
    assert numbers(tmp_path / "cut" / "RankWatch.jsonl") == numbers(tmp_path / "whole" / "RankWatch.jsonl")
    assert read(folder, tmp_path / "cut").readings == []  # nothing is read twice


def test_interrupted_before_its_state_is_saved_it_counts_what_is_in_the_records(tmp_path, monkeypatch, caplog):
    folder = write(tmp_path / "run", [10, 20, 30])
    real = ReplayState.save

    def save(state):
        if state.last_step == 20:
            raise KeyboardInterrupt
        real(state)

    with monkeypatch.context() as patched, caplog.at_level("INFO", "rankwatch"):
        patched.setattr(ReplayState, "save", save)
        with pytest.raises(KeyboardInterrupt):
            read(folder, tmp_path / "cut")
    assert steps_in(tmp_path / "cut") == [10, 20]
    assert "2 readings up to step 20" in caplog.text
    lines = []
    assert read(folder, tmp_path / "cut", lines).steps == [10, 20, 30]
    read(folder, tmp_path / "whole")
    assert numbers(tmp_path / "cut" / "RankWatch.jsonl") == numbers(tmp_path / "whole" / "RankWatch.jsonl")


def test_another_replay_or_a_run_in_the_folder_is_left_alone(tmp_path):
    folder = write(tmp_path / "run", [10, 20])
    read(folder, tmp_path / "out")
    with pytest.raises(
        ValueError, match=r"holds a replay with other settings .weights was '' and is 'teacher'.*another folder"
    ):
        read(folder, tmp_path / "out", weights="teacher")
    (tmp_path / "live").mkdir()
    (tmp_path / "live" / "RankWatch.jsonl").write_text("{}\n")
    with pytest.raises(ValueError, match="holds the records of a run"):
        read(folder, tmp_path / "live")
    with pytest.raises(ValueError, match="jsonl is a file: name a folder"):
        read(folder, tmp_path / "live" / "RankWatch.jsonl")


def test_one_broken_file_of_many_is_named_and_the_rest_is_read(tmp_path, capsys, caplog, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = write(tmp_path / "run", [10, 20, 30])
    (folder / "step=20.pt").write_bytes((folder / "step=20.pt").read_bytes()[:1000])
    torch.save({"step": 25, "model": nn.Linear(2, 2).state_dict()}, folder / "other.pt")
    write_audio(tmp_path / "audio" / "0.wav", rate=8000)
    for i in range(8):
        write_audio(tmp_path / "audio" / f"{i}.wav", 0.1, rate=8000, seed=i)
    arguments = ["--checkpoints", f"{folder}/*.pt", "--audio", "audio", "--sample-rate", "8000", "--device", "cpu"]
    further = ["--forward", "test_replay:run_batch", "--utterances", "8"]
    monkeypatch.setattr(warnings, "showwarning", warnings.showwarning)  # which the command replaces
    with caplog.at_level("INFO", "rankwatch"), warnings.catch_warnings():
        status = main(["replay", "test_replay:make", *arguments, *further])
    said = capsys.readouterr().out
    assert status == 1
    assert "step=20.pt is cut off, or no checkpoint" in said
    assert "other.pt holds no weights of Encoder (it has bias, weight)" in said
    assert steps_in(tmp_path / "replay") == [10, 30]
    assert "step       30   health 1.00   lowest layers.1: " in said
    assert f"Last healthy checkpoint: {folder}/step=30.pt" in " ".join(caplog.text.split())  # lines end where they may


def test_labelled_clips_need_no_speakers(tmp_path, capsys, monkeypatch):
    folder = write(tmp_path / "run", [10])
    clips = [write_audio(tmp_path / "audio" / f"{i}.wav", 0.1, rate=8000, seed=i) for i in range(8)]
    table = tmp_path / "clips.csv"
    table.write_text("".join(["path,label\n", *(f"{clip},{'ab'[i % 2]}\n" for i, clip in enumerate(clips))]))
    arguments = ["--checkpoints", str(folder), "--labels", str(table), "--sample-rate", "8000", "--device", "cpu"]
    further = ["--forward", "test_replay:run_batch", "--out", str(tmp_path / "out")]
    monkeypatch.setattr(warnings, "showwarning", warnings.showwarning)  # which the command replaces
    with warnings.catch_warnings():
        assert main(["replay", "test_replay:make", *arguments, *further]) == 2
        assert "no column 'speaker'" in capsys.readouterr().err
        assert main(["replay", "test_replay:make", *arguments, *further, "--speaker", ""]) == 0
    assert {reading.source for reading in read_jsonl(tmp_path / "out" / "RankWatch.jsonl")} == {"labelled"}


def test_what_is_asked_for_and_is_not_there(tmp_path, capsys):
    with pytest.raises(FileNotFoundError, match="there is no checkpoint at"):
        read(tmp_path / "nothing", tmp_path / "out")
    folder = str(write(tmp_path / "run", [10]))
    with pytest.raises(ValueError, match=r"no audio to read.*--like RUN.jsonl"):
        replay("test_replay:make", folder, out=tmp_path / "out")
    with pytest.raises(ValueError, match=r"first batches are those of a run: name it"):
        replay("test_replay:make", folder, "first_batches", out=tmp_path / "out", device="cpu")
    with pytest.raises(TypeError, match=r"no argument 'max_overhead': there is no training"):
        read(folder, tmp_path / "out", max_overhead=0.1)
    assert main(["replay", "test_replay:nothing", "--checkpoints", folder, "--audio", str(tmp_path)]) == 2
    assert "rankwatch replay: " in capsys.readouterr().err


def test_why_there_is_nothing_to_read_is_said(tmp_path):
    folder = write(tmp_path / "run", [10, 20])
    with pytest.raises(FileNotFoundError, match=r"no checkpoint up to step 5: the first is .*step=10.pt, from step 10"):
        read(folder, tmp_path / "out", until_step=5)
    for step in (10, 20):
        (folder / f"step={step}.pt").write_bytes(b"half")
    with pytest.raises(FileNotFoundError, match=r"can be read: .*step=10.pt is cut off.*; .*step=20.pt is cut off"):
        read(folder, tmp_path / "out")


def test_a_state_that_cannot_be_read_is_said_with_what_to_do(tmp_path):
    folder = write(tmp_path / "run", [10])
    read(folder, tmp_path / "out")
    state = tmp_path / "out" / "RankWatch.replay.pt"
    for content in (state.read_bytes()[:200], b""):
        state.write_bytes(content)
        with pytest.raises(ValueError, match=r"replay.pt, from which .* can't be read \(.*name another folder"):
            read(folder, tmp_path / "out")


def test_one_that_is_written_over_between_two_looks_is_not_taken_for_what_it_was(tmp_path):
    folder = tmp_path / "run"
    write(folder, [10, 20])
    newer = (write(tmp_path / "elsewhere", [30], make(2, collapse="constant")) / "step=30.pt").read_bytes()
    (folder / "step=20.pt").rename(folder / "last.pt")

    def overwrite(line):
        if line.startswith("step       10"):
            (folder / "last.pt").write_bytes(newer)

    arguments = {"follow": True, "idle_seconds": 0.0, **ASKED}
    queue, real = CheckpointQueue, CheckpointQueue._next
    listed = {}

    def next_of_before(self):  # as if the file were written over after the look
        found = listed.pop("last", None) or real(self)
        if found is not None and found.step == 10:
            listed["last"] = Checkpoint(folder / "last.pt", 20)
        return found

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(queue, "_next", next_of_before)
        found = replay("test_replay:make", folder, audio(), out=tmp_path / "out", say=overwrite, **arguments)
    assert found.steps == [10]
    assert "last.pt was of step 20 and is of step 30 now" in found.failed[str(folder / "last.pt")]
    later = read(folder, tmp_path / "out")
    assert later.steps == [10, 30]


def test_what_does_not_fit_is_said_once_whatever_files_are_called(tmp_path):
    folder = write(tmp_path / "run", [10, 20], make(2))
    for step in (10, 20):
        (folder / f"step={step}.pt").rename(folder / f"of step {step}.pt")
    lines = []
    read(folder, tmp_path / "out", lines, model="test_replay:make_three")
    assert len([line for line in lines if "lacks" in line]) == 1


def test_new_checkpoints_are_read_as_a_run_writes_them(tmp_path, monkeypatch):
    from rankwatch.replays import checkpoint_queue

    monkeypatch.setattr(checkpoint_queue.CheckpointQueue.__init__, "__kwdefaults__", {
        **checkpoint_queue.CheckpointQueue.__init__.__kwdefaults__, "poll": 0.05
    })  # fmt: skip
    folder = write(tmp_path / "run", [10])
    whole = write(tmp_path / "elsewhere", [20, 30])
    lines = []

    def train(line):
        """Write the next ones after each line about one: the second in two halves."""
        lines.append(line)
        if line.startswith("step       10"):
            half = (whole / "step=20.pt").read_bytes()
            (folder / "step=20.pt").write_bytes(half[: len(half) // 2])
            threading.Timer(0.4, lambda: (folder / "step=20.pt").write_bytes(half)).start()
        if line.startswith("step       20"):
            (whole / "step=30.pt").replace(folder / "step=30.pt")

    found = replay(
        "test_replay:make", folder, audio(), out=tmp_path / "out",
        say=train,
        **ASKED, follow=True,
        until_step=30, idle_seconds=60,
    )  # fmt: skip
    assert found.steps == [10, 20, 30]
    assert not found.failed
    assert not any("left out" in line for line in lines)


def test_nothing_more_is_waited_for_after_so_long(tmp_path):
    found = read(write(tmp_path / "run", [10]), tmp_path / "out", follow=True, idle_seconds=0.2)
    assert found.steps == [10]
    lines = []
    assert read(tmp_path / "nothing", tmp_path / "none", lines, follow=True, idle_seconds=0.0).steps == []
    assert lines == [f"no checkpoint has come at {tmp_path / 'nothing'}"]


def test_a_checkpoint_that_comes_too_late_is_named(tmp_path):
    folder = write(tmp_path / "run", [20])
    read(folder, tmp_path / "out")
    write(folder, [10, 30])
    lines = []
    assert read(folder, tmp_path / "out", lines).steps == [20, 30]
    assert any("step=10.pt is from step 10, and step 20 was read already" in line for line in lines)


def test_of_an_older_version_of_the_model_those_layers_are_read_that_are_there(tmp_path):
    folder = write(tmp_path / "run", [10, 20], make(2))
    write(folder, [30], make_three())
    lines = []
    found = read(folder, tmp_path / "out", lines, model="test_replay:make_three")
    layers = {step: {one.layer for one in found.readings if one.step == step} for step in found.steps}
    assert layers[10] == layers[20] == {"feature_extractor", "layers.0", "layers.1"}
    assert layers[30] == layers[10] | {"layers.2"}
    said = [line for line in lines if "lacks" in line]
    assert len(said) == 1
    assert "step=10.pt lacks 13 weights of the model (layers.2." in said[0]
    assert said[0].endswith("not read, since they depend on these: layers.2")
    notes = {row["layer"]: row["note"] for row in next(read_records(tmp_path / "out" / "RankWatch.jsonl"))["layers"]}
    assert notes["layers.2"] == "left out: it depends on weights that the checkpoint lacks"
    assert "did not fire" not in "".join(notes.values())
    assert not found.failed
    assert not found.alarms


def test_where_every_layer_depends_on_what_is_missing_it_says_that_it_cannot(tmp_path):
    folder = write(tmp_path / "run", [10, 20])
    stored = torch.load(folder / "step=10.pt")
    stored["model"] = {name: value for name, value in stored["model"].items() if "feature_extractor.0" not in name}
    torch.save(stored, folder / "step=10.pt")
    found = read(folder, tmp_path / "out")
    assert found.steps == [20]
    assert "every watched layer depends on weights that it lacks" in next(iter(found.failed.values()))


def test_the_teacher_is_read_by_its_name(tmp_path):
    folder = tmp_path / "run"
    write(folder, [10], make())
    stored = torch.load(folder / "step=10.pt")
    both = {f"student.{name}": 0 * value for name, value in stored["model"].items()}
    stored["model"] = both | {f"teacher.{name}": value for name, value in stored["model"].items()}
    write(tmp_path / "alone", [10], make())
    torch.save(stored, folder / "step=10.pt")
    assert "more than once" in next(iter(read(folder, tmp_path / "unsaid").failed.values()))
    read(folder, tmp_path / "teacher", weights="teacher")
    read(tmp_path / "alone", tmp_path / "same")
    assert numbers(tmp_path / "teacher" / "RankWatch.jsonl") == numbers(tmp_path / "same" / "RankWatch.jsonl")


def test_a_collapse_is_found_and_the_checkpoint_before_it(tmp_path):
    folder = write(tmp_path / "run", range(10, 90, 10))
    collapsed = make()
    for block in collapsed.layers:
        nn.init.zeros_(block.inner.norm2.weight)
    write(folder, range(90, 150, 10), collapsed)
    lines = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        found = read(folder, tmp_path / "out", lines)
    assert {alarm.severity for alarm in found.alarms} >= {"critical"}
    assert found.healthy == folder / "step=80.pt"
    assert any(f"Last healthy checkpoint: {folder / 'step=80.pt'} (step 80)" in str(one.message) for one in caught)
    records = list(read_records(tmp_path / "out" / "RankWatch.jsonl"))
    assert records[0]["replayed"] is True
    assert records[-1]["checkpoint"] == str(folder / "step=80.pt")
    assert list((tmp_path / "out").glob("events.*"))
    assert not list((tmp_path / "out").glob("*.ckpt"))  # nothing is copied


def test_a_model_is_in_memory_once_however_many_checkpoints_there_are(tmp_path, monkeypatch):
    from rankwatch.replays import model_weights

    folder = write(tmp_path / "run", range(10, 40, 10))
    alive, most = [], []
    real = model_weights.open_checkpoint

    def opened(path):
        gc.collect()
        most.append(sum(one() is not None for one in alive))
        stored = real(path)
        alive.append(weakref.ref(stored.values["model"]["layers.0.inner.linear1.weight"]))
        return stored

    monkeypatch.setattr(model_weights, "open_checkpoint", opened)
    read(folder, tmp_path / "out")
    assert most == [0, 0, 0]


def test_settings_are_in_the_records_and_come_back(tmp_path):
    from rankwatch.arguments.plain_settings import arguments_from, plain_settings, set_from
    from rankwatch.arguments.settings import Settings

    write_audio(tmp_path / "audio" / "0.wav")
    sets = {"a": "first_batches", "b": AudioFolder(tmp_path / "audio", 8000, 3.0, forward=run_batch)}
    rows = RowSampling(n_utterances=40, frames_per_utterance=2, seed=3, layouts={"x*": "(B, T, C)"}, projection=None)
    settings = Settings(eval_sets=sets, rows=rows, layers=["layers.*"], watch=["frame"], sensitivity="high", name="A")
    plain = json.loads(json.dumps(plain_settings(settings)))
    again = Settings(**arguments_from(plain), eval_sets={k: set_from(v) for k, v in plain["eval_sets"].items()})
    assert plain_settings(again) == plain
    assert again.rows == rows
    assert again.sets["b"].forward is run_batch
    assert set_from(plain_settings(Settings(eval_sets=audio()))["eval_sets"]["loader"]) is None
    own = Settings(eval_sets=AudioFolder(tmp_path, forward=lambda model, batch: None))
    with pytest.raises(ValueError, match="pass it as forward"):
        set_from(plain_settings(own)["eval_sets"]["audio_folder"])
    assert isinstance(Module(), nn.Module)
