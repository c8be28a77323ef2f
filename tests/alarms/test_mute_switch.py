"""The file that mutes alarms while it exists."""

from rankwatch.alarms.mute_switch import MuteFile


def test_it_mutes_while_it_exists_whatever_it_holds(tmp_path):
    path = tmp_path / "RankWatch.mute"
    mute = MuteFile(path)
    assert not mute.exists()
    path.write_text("encoder.layers.3\n")
    assert mute.exists()
    path.unlink()
    assert not mute.exists()


def test_without_a_folder_nothing_is_muted():
    assert not MuteFile(None).exists()


def test_a_file_system_that_fails_mutes_nothing(tmp_path, monkeypatch):
    path = tmp_path / "RankWatch.mute"
    path.touch()

    def unreachable(self, **_):
        raise OSError("stale file handle")

    monkeypatch.setattr(type(path), "exists", unreachable)
    assert not MuteFile(path).exists()
