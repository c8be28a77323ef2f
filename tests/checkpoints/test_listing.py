"""Which checkpoints there are, in the order of the steps that they were written after."""

import json

import pytest
import torch

from rankwatch.checkpoints.checkpoint_steps import learning_rate_in
from rankwatch.checkpoints.listing import CheckpointListing, list_checkpoints


def save(path, **content):
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save({"model": {"w": torch.zeros(2)}, **content}, path)


def names(listed):
    return [(one.path.name, one.step) for one in listed.checkpoints]


@pytest.mark.parametrize(
    "content",
    [
        {"global_step": 7, "pytorch-lightning_version": "2.6", "optimizer_states": [{}]},
        {"global_step": 14, "pytorch-lightning_version": "2.6", "optimizer_states": [{}, {}]},
        {
            "global_step": 99,
            "callbacks": {"RankWatch[a]": {"steps": [7, 99, 0], "monitor": {}, "curves": ""}},
            "optimizer_states": [0, 0],
        },
        {"watch": {"steps": 7, "monitor": {}, "curves": ""}, "step": 3},
        {"optimizer_history": [{"num_updates": 3}, {"num_updates": 7}]},
        {"extra_state": {"num_updates": 7}},
        {"step": torch.tensor(7)},
        {
            "global_step": torch.zeros(2),
            "callbacks": {"RankWatch[a]": {"steps": [3, 7, None], "monitor": {}, "curves": ""}},
            "optimizer_states": 3,
        },
    ],
)
def test_the_step_is_read_from_what_the_checkpoint_holds(content, tmp_path):
    save(tmp_path / "epoch=3.ckpt", **content)
    listed = list_checkpoints(tmp_path)
    assert names(listed) == [("epoch=3.ckpt", 7)]
    assert not listed.notes


def test_else_from_its_name_which_is_said(tmp_path):
    for name in ("epoch=1-step=1000.ckpt", "epoch=0-step=500.ckpt", "late_20000.pt"):
        save(tmp_path / name)
    (tmp_path / "checkpoint-700").mkdir()
    save(tmp_path / "checkpoint-700" / "pytorch_model.bin")
    save(tmp_path / "checkpoint-700" / "optimizer.pt")
    listed = list_checkpoints(tmp_path)
    assert [step for _, step in names(listed)] == [500, 700, 1000, 20000]
    assert "4 of 4 checkpoints don't say" in listed.notes[0]
    (tmp_path / "checkpoint-700" / "trainer_state.json").write_text(json.dumps({"global_step": 600}))
    assert ("checkpoint-700", 600) in names(list_checkpoints(tmp_path / "checkpoint-700"))


def test_a_loss_in_a_name_is_no_step(tmp_path):
    for name in ("epoch1_loss0.25.pt", "epoch2_loss0.25.pt", "epoch=3-val_loss=1.05.pt", "model.400.pt"):
        save(tmp_path / name)
    assert [step for _, step in names(list_checkpoints(tmp_path))] == [1, 2, 3, 400]


def test_a_run_may_be_called_as_what_lies_beside_checkpoints(tmp_path):
    for name in ("optimizer-lamb-step=5.pt", "metaformer_6.pt", "sampler-weighted-7.ckpt"):
        save(tmp_path / name)
    for name in ("optimizer_step5.pt", "optimizer_state_5.pt", "meta.pt", "rng_state_0.pth", "scheduler_last.pt"):
        save(tmp_path / name, step=9)
    assert [step for _, step in names(list_checkpoints(tmp_path))] == [5, 6, 7]


def test_a_link_that_leads_back_is_not_followed(tmp_path):
    run = tmp_path / "run"
    save(run / "a" / "step=1.pt", step=1)
    for name in ("loop", "again"):
        (run / "a" / name).symlink_to(run, target_is_directory=True)
    (tmp_path / "elsewhere").mkdir()
    (run / "linked").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    save(tmp_path / "elsewhere" / "step=2.pt", step=2)
    (run / "gone.pt").symlink_to(tmp_path / "nowhere.pt")
    listed = list_checkpoints([run, str(run / "a" / "loop" / "a" / "*.pt")])
    assert [one.path for one in listed.checkpoints] == [run / "a" / "step=1.pt", run / "linked" / "step=2.pt"]
    assert not listed.notes


def test_two_of_one_step_are_read_once_and_named(tmp_path):
    save(tmp_path / "last.ckpt", global_step=500)
    save(tmp_path / "x-step=500.ckpt", global_step=500)
    listed = list_checkpoints(str(tmp_path / "*.ckpt"))
    assert names(listed) == [("x-step=500.ckpt", 500)]
    assert "step 500" in listed.notes[0]
    assert "last.ckpt" in listed.notes[0]


def test_files_that_are_none_are_left_out_and_broken_ones_named(tmp_path):
    save(tmp_path / "a" / "b" / "step=1.pt")
    for name in ("RankWatch.eval_set.rank0.pt", "RankWatch.replay.pt", "training_args.bin", ".hidden.pt", "readme.txt"):
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / "step=2.pt").write_bytes(b"half")
    save(tmp_path / "last.pt")
    listed = list_checkpoints(tmp_path)
    assert names(listed) == [("step=1.pt", 1)]
    broken = {path.rpartition("/")[2]: reason for path, reason in listed.broken.items()}
    assert broken.keys() == {"step=2.pt", "last.pt"}
    assert "neither by its contents nor by its name" in broken["last.pt"]
    for place in ("*.pt", "**/*"):  # a glob means checkpoints as well
        listed = list_checkpoints(str(tmp_path / place))
        assert {path.rpartition("/")[2] for path in listed.broken} == {"step=2.pt", "last.pt"}
    assert list_checkpoints(tmp_path / "training_args.bin").broken  # whoever names a file means it


def test_of_fairseqs_names_the_updates_count_and_not_the_epoch(tmp_path):
    for name in ("checkpoint_3_4000.pt", "checkpoint_12_20000.pt", "checkpoint_4_5000.pt"):
        save(tmp_path / name)
    assert [step for _, step in names(list_checkpoints(tmp_path))] == [4000, 5000, 20000]


def test_a_folder_that_was_half_written_is_looked_at_again(tmp_path):
    save(tmp_path / "checkpoint-5" / "pytorch_model.bin")
    state = tmp_path / "checkpoint-5" / "trainer_state.json"
    state.write_text('{"global')
    found = CheckpointListing(tmp_path)
    assert "trainer_state.json can't be read" in next(iter(found.update().broken.values()))
    state.write_text('{"global_step": 7}')  # the folder itself doesn't change by that
    assert names(found.update()) == [("checkpoint-5", 7)]


def test_only_new_and_changed_files_are_opened_again(tmp_path, monkeypatch):
    from rankwatch.checkpoints import listing

    opened = []
    real = listing.open_checkpoint
    monkeypatch.setattr(listing, "open_checkpoint", lambda path: opened.append(path.name) or real(path))
    save(tmp_path / "step=1.pt")
    (tmp_path / "step=2.pt").write_bytes(b"half")
    found = CheckpointListing(tmp_path)
    found.update()
    save(tmp_path / "step=2.pt")
    save(tmp_path / "step=3.pt")
    assert [step for _, step in names(found.update())] == [1, 2, 3]
    found.update()
    assert opened == ["step=1.pt", "step=2.pt", "step=2.pt", "step=3.pt"]


def test_checkpoints_in_a_store_are_listed_by_their_names(tmp_path):
    fsspec = pytest.importorskip("fsspec")
    store = fsspec.filesystem("memory")
    for name, content in (("step=20.ckpt", {}), ("step=3.ckpt", {}), ("last.ckpt", {"global_step": 25})):
        save(tmp_path / name, **content)
        store.put_file(str(tmp_path / name), f"/checkpoints-of-a-run/{name}")
    for place in ("memory://checkpoints-of-a-run", "memory://checkpoints-of-a-run/*.ckpt"):
        assert [step for _, step in names(list_checkpoints(place))] == [3, 20, 25]


def test_the_learning_rate_is_the_highest_of_all_groups():
    adam = torch.optim.Adam([{"params": [torch.zeros(1)], "lr": 0.1}, {"params": [torch.zeros(1)], "lr": 0.3}])
    state = adam.state_dict()
    for held in ({"optimizer_states": [state]}, {"optimizer": state}, {"optimizers": {"a": state}}):
        assert learning_rate_in(held) == 0.3
    assert learning_rate_in({"model": {}}) is None
