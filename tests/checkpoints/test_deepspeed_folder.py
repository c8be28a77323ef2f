"""Folders as DeepSpeed writes them, alone, below Lightning's and Hugging Face's Trainer's."""

import collections
import enum
import json

import pytest
import torch
from torch import nn

from rankwatch.checkpoints.deepspeed_folder import is_deepspeed, model_states
from rankwatch.checkpoints.listing import list_checkpoints
from rankwatch.checkpoints.plain_load import BrokenCheckpointError
from rankwatch.checkpoints.stored_checkpoint import open_checkpoint
from rankwatch.replays.model_weights import ModelWeights


class LossScaler:
    """Stands for DeepSpeed's own, an object that isn't plain."""

    def __init__(self):
        self.cur_scale = 1.0


class ZeroStage(enum.IntEnum):
    """Likewise for its enumeration."""

    GRADIENTS = 2


def model(seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2))


def engine_state(module, step, client_state):
    """What `DeepSpeedEngine._common_checkpoint_state` gathers with ZeRO, and what the caller adds to it."""
    shapes = collections.OrderedDict((name, value.shape) for name, value in module.items())
    return {
        "module": module,
        "buffer_names": ["1.running_mean", "1.running_var", "1.num_batches_tracked"],
        "optimizer": None,
        "param_shapes": [shapes],
        "frozen_param_shapes": collections.OrderedDict(),
        "shared_params": collections.OrderedDict(),
        "frozen_param_fragments": collections.OrderedDict(),
        "lr_scheduler": {"last_batch_iteration": step},
        "data_sampler": None,
        "random_ltd": None,
        "sparse_tensor_module_names": set(),
        "skipped_steps": 0,
        "global_steps": step,
        "global_samples": 8 * step,
        "dp_world_size": 2,
        "mp_world_size": 1,
        "ds_config": {"train_batch_size": 8, "zero_optimization": {"stage": 2}},
        "ds_version": "0.17.5",
        **client_state,
    }


def optimizer_state(rate):
    """What `DeepSpeedZeroOptimizer.state_dict` gives on one of the processes."""
    base = {"state": {0: {"step": torch.tensor(1.0)}}, "param_groups": [{"lr": rate, "params": [0]}]}
    return {
        "optimizer_state_dict": {
            "loss_scaler": LossScaler(),
            "base_optimizer_state": base,
            "single_partition_of_fp32_groups": [torch.zeros(3)],
            "zero_stage": ZeroStage.GRADIENTS,
            "partition_count": [2],
        },
        "ds_config": {},
        "ds_version": "0.17.5",
    }


def save(folder, weights, step, tag=None, rate=1e-3, prefix="bf16_", **client_state):
    """As ``engine.save_checkpoint(folder, tag, client_state)`` does with ZeRO stage 1 or 2 on two processes."""
    tag = tag or f"global_step{step}"
    (folder / tag).mkdir(parents=True)
    torch.save(engine_state(weights, step, client_state), folder / tag / "mp_rank_00_model_states.pt")
    for rank in range(2):
        torch.save(optimizer_state(rate), folder / tag / f"{prefix}zero_pp_rank_{rank}_mp_rank_00_optim_states.pt")
    (folder / "latest").write_text(tag)
    (folder / "zero_to_fp32.py").write_text("raise SystemExit('not run')\n")
    return folder / tag


def save_sharded(folder, weights, step, tag=None):
    """As ZeRO stage 3 does: no weights but buffers in each process's file."""
    tag = tag or f"global_step{step}"
    empty = {name: value if "running" in name else torch.zeros(0) for name, value in weights.items()}
    (folder / tag).mkdir(parents=True)
    for rank in range(2):
        torch.save(engine_state(empty, step, {}), folder / tag / f"zero_pp_rank_{rank}_mp_rank_00_model_states.pt")
        torch.save(optimizer_state(1e-3), folder / tag / f"zero_pp_rank_{rank}_mp_rank_00_optim_states.pt")
    (folder / "latest").write_text(tag)
    (folder / "zero_to_fp32.py").write_text("raise SystemExit('not run')\n")
    return folder / tag


def loaded(path):
    """The weights of a checkpoint in a model that had others, and the learning rate."""
    found = model(1)
    return found.state_dict(), ModelWeights(found).load(path)


def same(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def test_each_tag_is_a_checkpoint_of_its_step(tmp_path):
    weights = {step: model(step).state_dict() for step in (100, 200)}
    for step, state in weights.items():
        save(tmp_path / "run", state, step, rate=step * 1e-5)
    assert not is_deepspeed(tmp_path / "run")
    listed = list_checkpoints(tmp_path / "run")
    assert [(one.path.name, one.step, one.step_from) for one in listed.checkpoints] == [
        ("global_step100", 100, "contents"),
        ("global_step200", 200, "contents"),
    ]
    assert not listed.broken
    for one in listed.checkpoints:
        state, came = loaded(one.path)
        assert same(state, weights[one.step])
        assert came.rate == pytest.approx(one.step * 1e-5)
    assert same(open_checkpoint(tmp_path / "run").weights(), weights[200])  # asked for the folder itself: the newest


def test_a_folder_of_lightning_is_one_checkpoint_with_lightnings_step(tmp_path):
    weights = model(3).state_dict()
    wrapped = {f"_forward_module.{name}": value for name, value in weights.items()}  # before Lightning 2.1
    about = {"global_step": 30, "pytorch-lightning_version": "2.5.0", "epoch": 1, "lr_schedulers": []}
    for step, state in ((30, weights), (60, wrapped)):
        folder = tmp_path / f"epoch=1-step={step}.ckpt"
        save(folder, state, step, tag="checkpoint", prefix="", **{**about, "global_step": step})
    listed = list_checkpoints(f"{tmp_path}/*.ckpt")
    assert [(one.path.name, one.step) for one in listed.checkpoints] == [
        ("epoch=1-step=30.ckpt", 30),
        ("epoch=1-step=60.ckpt", 60),
    ]
    for one in listed.checkpoints:
        state, came = loaded(one.path)
        assert same(state, weights)
        assert came.rate == pytest.approx(1e-3)


def test_of_the_trainer_the_whole_model_is_read_where_it_is_there(tmp_path):
    folder = tmp_path / "checkpoint-50"
    save(folder, model(1).state_dict(), 50)
    (folder / "trainer_state.json").write_text(json.dumps({"global_step": 50}))
    assert [(one.path.name, one.step) for one in list_checkpoints(tmp_path).checkpoints] == [("global_step50", 50)]
    torch.save(model(2).state_dict(), folder / "pytorch_model.bin")
    assert [(one.path.name, one.step) for one in list_checkpoints(tmp_path).checkpoints] == [("checkpoint-50", 50)]
    assert same(loaded(folder)[0], model(2).state_dict())


@pytest.mark.parametrize("old_script", [False, True])
def test_shards_name_the_script_and_what_it_writes_is_read(old_script, tmp_path):
    weights = model(4).state_dict()
    tag = save_sharded(tmp_path / "run", weights, 300)
    lightning = save_sharded(tmp_path / "epoch=0-step=40.ckpt", weights, 40, tag="checkpoint")
    listed = list_checkpoints(tmp_path)
    assert not listed.checkpoints
    assert set(listed.broken) == {str(tag), str(lightning.parent)}
    for folder, name in ((tag, "run/global_step300.bin"), (lightning, "epoch=0-step=40.bin")):
        joined, above = tmp_path / name, folder.parent
        with pytest.raises(BrokenCheckpointError, match="in shards") as error:
            open_checkpoint(folder)
        command = f"python {above / 'zero_to_fp32.py'} {above} {joined} --tag {folder.name}"
        assert command in str(error.value)
        if not old_script:  # the script writes a folder; older ones wrote a file
            joined.mkdir()
        torch.save(weights, joined if old_script else joined / "pytorch_model.bin")
        (found,) = list_checkpoints(joined).checkpoints
        assert found.step == (300 if folder is tag else 40)
        assert same(loaded(joined)[0], weights)


def test_a_model_that_is_split_or_missing_is_named(tmp_path):
    tag = save(tmp_path / "split", model().state_dict(), 10)
    (tag / "mp_rank_01_model_states.pt").write_bytes((tag / "mp_rank_00_model_states.pt").read_bytes())
    with pytest.raises(BrokenCheckpointError, match=r"split by tensor or pipeline parallelism"):
        open_checkpoint(tag)
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "zero_to_fp32.py").touch()
    with pytest.raises(BrokenCheckpointError, match=r"zero_to_fp32.py, and none of its checkpoints"):
        open_checkpoint(tmp_path / "empty")
    assert model_states(tmp_path) is None
