"""Checkpoints of every kind: the same weights come out, and nothing in them is run."""

import argparse
import collections
import importlib
import json
import pathlib
import pickle

import pytest
import torch
import torch.distributed.checkpoint as dcp
from torch import nn

from rankwatch.checkpoints.plain_load import BrokenCheckpointError, plain_load
from rankwatch.checkpoints.stored_checkpoint import is_checkpoint, open_checkpoint

safetensors = pytest.importorskip("safetensors.torch")


class Ran:
    """Leaves a trace where it is unpickled."""

    trace = "import pathlib; pathlib.Path({!r}).write_text('ran')"

    def __init__(self, file):
        self.file = str(file)

    def __reduce__(self):
        return exec, (self.trace.format(self.file),)


@pytest.fixture(scope="module")
def weights():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2)).state_dict()


def write_lightning(path, weights):
    torch.save({"state_dict": weights, "global_step": 5, "optimizer_states": []}, path)


def write_fairseq(path, weights):
    """With what fairseq has in its files: the arguments, and counts by meter."""
    about = {"args": argparse.Namespace(arch="wav2vec2"), "extra_state": collections.defaultdict(dict, {"a": {"b": 1}})}
    torch.save({**about, "model": weights, "optimizer_history": [{"num_updates": 5}]}, path)


def write_old_fairseq(path, weights):
    about = {"args": argparse.Namespace(arch="wav2vec2"), "place": pathlib.Path("x")}
    torch.save({**about, "model": weights}, path, _use_new_zipfile_serialization=False)


def write_shards(path, weights):
    path.mkdir()
    where = {}
    for i, (name, value) in enumerate(weights.items()):
        safetensors.save_file({name: value}, path / f"model-{i}.safetensors")
        where[name] = f"model-{i}.safetensors"
    (path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": where}))


def write_hugging_face(path, weights):
    path.mkdir()
    safetensors.save_file(weights, path / "model.safetensors")
    (path / "trainer_state.json").write_text(json.dumps({"global_step": 5}))


def write_old_hugging_face(path, weights):
    path.mkdir()
    torch.save(weights, path / "pytorch_model.bin")


def write_sharded(path, weights):
    state = {"model": weights, "optim": {"state": {"0.weight": {"exp_avg": torch.ones(2)}}}, "step": 5}
    dcp.save(state, checkpoint_id=path, no_dist=True)


def write_sharded_as_one(path, weights):
    """Model and optimiser in one object that knows its state, as in torch's guide to DCP."""
    optim = {"state": {"0.weight": {"exp_avg": torch.ones(2)}}, "param_groups": {"0.weight": {"lr": torch.ones(())}}}
    dcp.save({"app": {"model": weights, "optim": optim}}, checkpoint_id=path, no_dist=True)


def write_lightning_sharded(path, weights):
    write_sharded(path, weights)
    torch.save({"global_step": 5, "pytorch-lightning_version": "2.6"}, path / "meta.pt")


def write_sharded_hugging_face(path, weights):
    dcp.save({"model": weights}, checkpoint_id=path / "pytorch_model_fsdp_0", no_dist=True)


KINDS = {
    "plain.pt": torch.save,
    "lightning.ckpt": write_lightning,
    "fairseq.pt": write_fairseq,
    "old_fairseq.pt": write_old_fairseq,
    "one.safetensors": safetensors.save_file,
    "shards": write_shards,
    "hugging_face": write_hugging_face,
    "old_hugging_face": write_old_hugging_face,
    "sharded": write_sharded,
    "lightning_sharded.ckpt": write_lightning_sharded,
    "sharded_hugging_face": write_sharded_hugging_face,
}


def write(name, path, weights):
    function = KINDS[name]
    function(weights, path) if function in (torch.save, safetensors.save_file) else function(path, weights)
    return path


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.filterwarnings("ignore:torch.distributed is")
def test_the_same_weights_come_out_of_every_kind(name, tmp_path, weights):
    path = write(name, tmp_path / name, weights)
    assert is_checkpoint(path)
    found = open_checkpoint(path).weights()
    assert {key.removeprefix("model."): value.tolist() for key, value in found.items()} == {
        key: value.tolist() for key, value in weights.items()
    }


@pytest.mark.filterwarnings("ignore:torch.distributed is")
def test_of_a_folder_with_model_and_optimiser_as_one_entry_the_weights_alone_are_read(tmp_path, weights):
    write_sharded_as_one(tmp_path / "sharded", weights)
    found = open_checkpoint(tmp_path / "sharded").weights()
    assert {key.removeprefix("app.model."): value.tolist() for key, value in found.items()} == {
        key: value.tolist() for key, value in weights.items()
    }


@pytest.mark.parametrize("share", [0.0, 0.3, 0.9])
@pytest.mark.parametrize("name", ["plain.pt", "old_fairseq.pt", "one.safetensors"])
def test_a_file_that_is_cut_off_is_named(name, share, tmp_path, weights):
    path = write(name, tmp_path / name, weights)
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    with pytest.raises(BrokenCheckpointError, match=name):
        open_checkpoint(path).weights()


@pytest.mark.filterwarnings("ignore:torch.distributed is")
def test_a_folder_with_a_missing_shard_is_named(tmp_path, weights):
    path = write("shards", tmp_path / "shards", weights)
    (path / "model-2.safetensors").unlink()
    with pytest.raises(BrokenCheckpointError, match=r"model-2\.safetensors"):
        open_checkpoint(path).weights()
    path = write("sharded", tmp_path / "sharded", weights)
    (path / "__0_0.distcp").unlink()
    with pytest.raises(BrokenCheckpointError, match="sharded"):
        open_checkpoint(path).weights()


@pytest.mark.parametrize("zipped", [True, False])
def test_what_is_not_plain_is_left_out_and_nothing_of_it_runs(zipped, tmp_path, weights):
    file = tmp_path / "x.pt"
    content = {"extra": Ran(tmp_path / "trace"), "args": argparse.Namespace(a=1), "model": weights}
    torch.save(content, file, _use_new_zipfile_serialization=zipped)
    found = open_checkpoint(file)
    assert found.weights().keys() == weights.keys()
    assert set(found.left_out) == {"builtins.exec", "argparse.Namespace"}
    assert not (tmp_path / "trace").exists()
    pickle.loads(pickle.dumps(Ran(tmp_path / "trace")))  # the trace would be seen
    assert (tmp_path / "trace").exists()


@pytest.mark.filterwarnings("ignore:torch.distributed is")
def test_the_list_of_a_sharded_folder_runs_nothing(tmp_path, weights):
    path = write("sharded", tmp_path / "sharded", weights)
    (path / ".metadata").write_bytes(pickle.dumps(Ran(tmp_path / "trace")))
    with pytest.raises(BrokenCheckpointError, match=r"builtins\.exec"):
        open_checkpoint(path).weights()
    assert not (tmp_path / "trace").exists()


def test_a_whole_model_is_refused_and_the_advice_works(tmp_path, monkeypatch):
    (tmp_path / "own_model.py").write_text("from torch import nn\nclass Own(nn.Linear):\n    pass\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    torch.save(importlib.import_module("own_model").Own(3, 4), "whole.pt")
    with pytest.raises(BrokenCheckpointError, match=r"a whole object.*own_model\.Own") as caught:
        open_checkpoint(tmp_path / "whole.pt").weights()
    exec(str(caught.value).rpartition("imported: ")[2].replace("FILE", "'whole.pt'"))
    assert open_checkpoint(tmp_path / "weights.pt").weights().keys() == {"weight", "bias"}


class Unsettable(dict):
    """Its items are set one by one, which torch allows of plain dicts alone."""


def test_what_stands_against_reading_is_named_with_what_to_do(tmp_path, weights):
    file = tmp_path / "x.pt"
    torch.save({"extra": Unsettable(a=1), "model": weights}, file)
    with pytest.raises(BrokenCheckpointError, match=r"Unsettable.*add_safe_globals.*write the weights alone") as caught:
        open_checkpoint(file)
    advice = str(caught.value).rpartition("imported: ")[2]
    exec(advice.replace("FILE", repr(str(file))).replace("'weights.pt'", repr(str(tmp_path / "weights.pt"))))
    assert open_checkpoint(tmp_path / "weights.pt").weights().keys() == weights.keys()


def test_classes_that_the_user_allows_are_read(tmp_path, weights):
    file = tmp_path / "x.pt"
    torch.save({"args": argparse.Namespace(a=1), "model": weights}, file)
    with torch.serialization.safe_globals([argparse.Namespace]):
        loaded, left_out = plain_load(file)
    assert loaded["args"].a == 1
    assert left_out == ()


def test_weights_of_a_teacher_are_named(tmp_path, weights):
    file = tmp_path / "x.ckpt"
    other = {name: value + 1 for name, value in weights.items()}
    both = {
        f"{who}.{name}": value for who, of in (("student", weights), ("teacher", other)) for name, value in of.items()
    }
    torch.save({"state_dict": both, "current_model_state": other, "model": {"_ema": other, **weights}}, file)
    stored = open_checkpoint(file)
    assert stored.weights().keys() == both.keys()
    for part in ("teacher", "current_model_state", "model._ema"):
        assert torch.equal(stored.weights(part)["0.weight"], other["0.weight"])
    with pytest.raises(BrokenCheckpointError, match=r"no weights under 'ema'.*'current_model_state' \(4 tensors\)"):
        stored.weights("ema")


def test_what_holds_no_weights_says_what_it_holds(tmp_path):
    file = tmp_path / "x.pt"
    torch.save({"encoder": {"w": torch.zeros(2)}, "epoch": 3}, file)
    with pytest.raises(BrokenCheckpointError, match=r"'encoder' \(1 tensors\); say which"):
        open_checkpoint(file).weights()
    assert open_checkpoint(file).weights("encoder").keys() == {"w"}


def test_a_dict_of_something_else_is_refused_and_ends_nothing(tmp_path):
    torch.save({0: "yes", 1: "no"}, tmp_path / "labels.pt")
    with pytest.raises(BrokenCheckpointError, match="holds no weights by name"):
        open_checkpoint(tmp_path / "labels.pt").weights()
