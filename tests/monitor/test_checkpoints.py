"""The last healthy checkpoint outlives the original."""

from rankwatch.monitor.checkpoints import LastHealthy


def _save(path, text):
    path.write_text(text)
    return path


def test_the_newest_is_kept_after_its_deletion(tmp_path):
    healthy = LastHealthy(tmp_path / "rankwatch" / "last_healthy.ckpt")
    assert healthy.path is None
    assert "No checkpoint" in healthy.describe()
    one = _save(tmp_path / "one.ckpt", "1")
    healthy.note([str(one), "", str(tmp_path / "gone.ckpt")], step=10)
    one.unlink()
    assert healthy.path.read_text() == "1"
    two = _save(tmp_path / "two.ckpt", "2")
    healthy.note([two], step=20)
    two.unlink()
    assert healthy.path.read_text() == "2"
    assert "healthy at step 20; saved as two.ckpt" in healthy.describe()
    assert [p.name for p in (tmp_path / "rankwatch").iterdir()] == ["last_healthy.ckpt"]


def test_no_new_checkpoint_keeps_the_old_one(tmp_path):
    healthy = LastHealthy(tmp_path / "rankwatch" / "last_healthy.ckpt")
    healthy.note([_save(tmp_path / "one.ckpt", "1")], step=10)
    healthy.note([tmp_path / "one.ckpt"], step=20)
    healthy.note([], step=30)
    assert healthy.path.read_text() == "1"


def test_a_link_takes_no_space_and_a_copy_stands_in_where_links_fail(tmp_path, monkeypatch):
    original = _save(tmp_path / "one.ckpt", "1")
    healthy = LastHealthy(tmp_path / "rankwatch" / "last_healthy.ckpt")
    healthy.note([original], step=1)
    assert healthy.path.stat().st_ino == original.stat().st_ino

    def refuse(*_):
        raise OSError("cross-device link")

    monkeypatch.setattr("os.link", refuse)
    _save(tmp_path / "two.ckpt", "2")
    healthy.note([tmp_path / "two.ckpt"], step=2)
    assert healthy.path.read_text() == "2"


def test_a_sharded_checkpoint_is_a_folder(tmp_path):
    healthy = LastHealthy(tmp_path / "rankwatch" / "last_healthy.ckpt")
    for step in (1, 2):
        folder = tmp_path / f"step{step}.ckpt"
        folder.mkdir()
        _save(folder / "shard0", str(step))
        healthy.note([folder], step=step)
        assert (healthy.path / "shard0").read_text() == str(step)


def test_a_file_that_is_rewritten_in_place_is_copied(tmp_path):
    last = _save(tmp_path / "last.ckpt", "healthy")
    healthy = LastHealthy(tmp_path / "rankwatch" / "last_healthy.ckpt")
    healthy.note([], step=1, rewritten=[last])
    last.write_text("collapsed")  # the same inode
    assert healthy.path.read_text() == "healthy"


def test_it_is_known_after_a_restart(tmp_path):
    healthy = LastHealthy(tmp_path / "a" / "last_healthy.ckpt")
    healthy.note([_save(tmp_path / "one.ckpt", "1")], step=7)
    resumed = LastHealthy(tmp_path / "b" / "last_healthy.ckpt")
    resumed.load_state_dict(healthy.state_dict())
    assert resumed.describe() == healthy.describe()
