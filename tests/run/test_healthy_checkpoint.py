"""The last healthy checkpoint outlives the original."""

import datetime
import os
from pathlib import Path

import pytest
from object_store import objects  # noqa: F401

from rankwatch.run.healthy_checkpoint import HealthyCheckpoint
from rankwatch.runtime.files.file_actions import write
from rankwatch.runtime.files.run_paths import run_path


def _save(path, text):
    path.write_text(text)
    return path


def note(healthy, paths, step, rewritten=()):
    healthy.set_aside(paths, step, rewritten)
    healthy.settle(True)


def test_the_newest_is_kept_after_its_deletion(tmp_path):
    healthy = HealthyCheckpoint(tmp_path / "rankwatch" / "last_healthy.ckpt")
    assert healthy.path is None
    assert "No checkpoint" in healthy.describe()
    one = _save(tmp_path / "one.ckpt", "1")
    note(healthy, [str(one), "", str(tmp_path / "gone.ckpt")], step=10)
    one.unlink()
    assert healthy.path.read_text() == "1"
    two = _save(tmp_path / "two.ckpt", "2")
    note(healthy, [two], step=20)
    two.unlink()
    assert healthy.path.read_text() == "2"
    assert (
        "a copy of two.ckpt, the newest one when the last reading without an alarm was made, at step 20)"
        in healthy.describe()
    )
    assert [p.name for p in (tmp_path / "rankwatch").iterdir()] == ["last_healthy.ckpt"]


def test_no_new_checkpoint_keeps_the_old_one(tmp_path):
    healthy = HealthyCheckpoint(tmp_path / "rankwatch" / "last_healthy.ckpt")
    note(healthy, [_save(tmp_path / "one.ckpt", "1")], step=10)
    note(healthy, [tmp_path / "one.ckpt"], step=20)
    note(healthy, [], step=30)
    assert healthy.path.read_text() == "1"


def test_a_link_takes_no_space_and_a_copy_stands_in_where_links_fail(tmp_path, monkeypatch):
    original = _save(tmp_path / "one.ckpt", "1")
    healthy = HealthyCheckpoint(tmp_path / "rankwatch" / "last_healthy.ckpt")
    note(healthy, [original], step=1)
    assert healthy.path.stat().st_ino == original.stat().st_ino

    def refuse(*_):
        raise OSError("cross-device link")

    monkeypatch.setattr("os.link", refuse)
    _save(tmp_path / "two.ckpt", "2")
    note(healthy, [tmp_path / "two.ckpt"], step=2)
    assert healthy.path.read_text() == "2"


def test_a_sharded_checkpoint_is_a_folder(tmp_path):
    healthy = HealthyCheckpoint(tmp_path / "rankwatch" / "last_healthy.ckpt")
    for step in (1, 2):
        folder = tmp_path / f"step{step}.ckpt"
        folder.mkdir()
        _save(folder / "shard0", str(step))
        note(healthy, [folder], step=step)
        assert (healthy.path / "shard0").read_text() == str(step)


def test_a_file_that_is_rewritten_in_place_is_copied(tmp_path):
    last = _save(tmp_path / "last.ckpt", "healthy")
    healthy = HealthyCheckpoint(tmp_path / "rankwatch" / "last_healthy.ckpt")
    note(healthy, [], step=1, rewritten=[last])
    last.write_text("collapsed")  # the same inode
    assert healthy.path.read_text() == "healthy"


def test_it_is_known_after_a_restart(tmp_path):
    healthy = HealthyCheckpoint(tmp_path / "a" / "last_healthy.ckpt")
    note(healthy, [_save(tmp_path / "one.ckpt", "1")], step=7)
    resumed = HealthyCheckpoint(tmp_path / "b" / "last_healthy.ckpt")
    resumed.load_state_dict(healthy.state_dict())
    assert resumed.describe() == healthy.describe()


def save_in_store(objects, name, text):  # noqa: F811
    """An hour ago, as a checkpoint that was written long before the reading."""
    path = run_path(f"objects://bucket/{name}")
    write(path, lambda file: file.write_text(text))
    objects.store[f"/bucket/{name}"].modified -= datetime.timedelta(hours=1)
    return path


def test_a_copy_in_a_store_is_younger_than_its_original_and_known_after_a_restart(objects):  # noqa: F811
    healthy = HealthyCheckpoint(run_path("objects://bucket/rankwatch/last_healthy.ckpt"))
    note(healthy, [str(save_in_store(objects, "one.ckpt", "1"))], step=7)
    healthy.set_aside([str(save_in_store(objects, "two.ckpt", "2"))], step=8)
    resumed = HealthyCheckpoint(run_path("objects://bucket/other/last_healthy.ckpt"))
    resumed.load_state_dict(healthy.state_dict())
    assert resumed.describe() == healthy.describe()
    resumed.settle(True)
    assert (
        "a copy of two.ckpt, the newest one when the last reading without an alarm was made, at step 8)"
        in resumed.describe()
    )
    assert objects.text("/bucket/rankwatch/last_healthy.ckpt") == "2"


def test_a_store_that_refuses_the_new_one_has_the_old_one(objects, monkeypatch):  # noqa: F811
    healthy = HealthyCheckpoint(run_path("objects://bucket/rankwatch/last_healthy.ckpt"))
    note(healthy, [str(save_in_store(objects, "one.ckpt", "1"))], step=7)
    healthy.set_aside([str(save_in_store(objects, "two.ckpt", "2"))], step=8)

    def refuse(*_, **__):
        raise PermissionError("slow down")

    monkeypatch.setattr(objects, "cp_file", refuse)
    with pytest.raises(PermissionError):
        healthy.settle(True)
    assert (
        "a copy of one.ckpt, the newest one when the last reading without an alarm was made, at step 7)"
        in healthy.describe()
    )
    assert objects.text("/bucket/rankwatch/last_healthy.ckpt") == "1"


def test_one_that_another_run_has_put_in_its_place_is_not_taken_for_it(tmp_path):
    healthy = HealthyCheckpoint(tmp_path / "a" / "last_healthy.ckpt")
    note(healthy, [_save(tmp_path / "one.ckpt", "1")], step=7)
    healthy.path.unlink()
    os.utime(_save(tmp_path / "a" / "last_healthy.ckpt", "theirs"), (1, 1))
    resumed = HealthyCheckpoint(tmp_path / "b" / "last_healthy.ckpt")
    resumed.load_state_dict(healthy.state_dict())
    assert (resumed.path, resumed.describe()) == (None, "No checkpoint was saved while the run was healthy.")


def test_what_was_set_aside_waits_for_the_verdict(tmp_path):
    healthy = HealthyCheckpoint(tmp_path / "rankwatch" / "last_healthy.ckpt")
    note(healthy, [_save(tmp_path / "one.ckpt", "1")], step=10)
    two = _save(tmp_path / "two.ckpt", "2")
    healthy.set_aside([two], step=20)
    two.unlink()  # the trainer cleans up before it is known
    assert healthy.path.read_text() == "1"
    resumed = HealthyCheckpoint(tmp_path / "elsewhere" / "last_healthy.ckpt")
    resumed.load_state_dict(healthy.state_dict())  # a restart in between
    resumed.settle(True)
    assert resumed.path.read_text() == "2"
    assert (
        "a copy of two.ckpt, the newest one when the last reading without an alarm was made, at step 20)"
        in resumed.describe()
    )


def test_what_was_set_aside_goes_where_the_reading_was_not_healthy(tmp_path):
    healthy = HealthyCheckpoint(tmp_path / "rankwatch" / "last_healthy.ckpt")
    note(healthy, [_save(tmp_path / "one.ckpt", "1")], step=10)
    healthy.set_aside([_save(tmp_path / "two.ckpt", "2")], step=20)
    healthy.settle(False)
    assert healthy.path.read_text() == "1"
    assert healthy.step == 10
    assert [p.name for p in (tmp_path / "rankwatch").iterdir()] == ["last_healthy.ckpt"]


def test_a_full_disk_leaves_the_old_one_and_no_half_of_the_new_one(tmp_path, monkeypatch):
    healthy = HealthyCheckpoint(tmp_path / "rankwatch" / "last_healthy.ckpt")
    note(healthy, [_save(tmp_path / "one.ckpt", "1")], step=10)

    def half(source, target):
        _save(Path(target), "h")
        raise OSError("No space left on device")

    monkeypatch.setattr("os.link", half)
    monkeypatch.setattr("shutil.copy2", half)
    _save(tmp_path / "two.ckpt", "2")
    with pytest.raises(OSError, match="No space"):
        healthy.set_aside([tmp_path / "two.ckpt"], step=20)
    healthy.settle(True)
    assert healthy.path.read_text() == "1"
    assert [p.name for p in (tmp_path / "rankwatch").iterdir()] == ["last_healthy.ckpt"]


def test_one_that_was_taken_away_is_not_promised_and_is_kept_again(tmp_path):
    healthy = HealthyCheckpoint(tmp_path / "rankwatch" / "last_healthy.ckpt")
    note(healthy, [_save(tmp_path / "one.ckpt", "1")], step=10)
    healthy.path.unlink()
    assert healthy.path is None
    assert "no longer exists" in healthy.describe()
    note(healthy, [tmp_path / "one.ckpt"], step=20)
    assert healthy.path.read_text() == "1"
