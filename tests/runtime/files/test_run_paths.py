"""A run's folder may be anywhere that fsspec reaches: its paths behave like a local folder's."""

from pathlib import Path

import pytest
from object_store import objects  # noqa: F401

from rankwatch.alarms.mute_switch import MuteFile
from rankwatch.runtime.files.file_actions import copy, modified, move, remove, same_store, write
from rankwatch.runtime.files.run_paths import RemotePath, run_path


def test_a_local_path_stays_a_path(tmp_path):
    assert run_path(str(tmp_path)) == run_path(tmp_path) == run_path(f"file://{tmp_path}") == tmp_path
    assert isinstance(run_path("s3://bucket/run"), RemotePath)
    assert str(run_path("gs://bucket/run/") / "rankwatch") == "gs://bucket/run/rankwatch"


def test_a_url_that_has_lost_a_slash_is_one_and_a_folder_with_a_colon_is_a_folder():
    """As a `pathlib.Path`, and as the folder that Lightning makes of ``file:///data/run``."""
    assert run_path(Path("s3://bucket/run")) == RemotePath("s3://bucket/run")
    assert run_path("file:/data/run") == Path("/data/run")
    for folder in ("C:/data/run", "12:30/run", "runs/s3:/run"):
        assert run_path(folder) == run_path(Path(folder)) == Path(folder)


@pytest.fixture(params=["local", "objects://bucket", "memory://bucket"])
def folder(request, tmp_path, objects):  # noqa: F811
    return run_path(str(tmp_path) if request.param == "local" else f"{request.param}/{tmp_path.name}")


def put(path, text):
    write(path, lambda file: file.write_text(text))
    return path


def text(path):
    with path.open("rb") as file:
        return file.read().decode()


def test_files_are_written_copied_moved_and_removed_alike(folder):
    one = put(folder / "run" / "one.ckpt", "1")
    assert one.exists()
    assert text(one) == "1"
    assert modified(one) > 1.7e18
    copy(one, folder / "other" / "two.ckpt", link=True)
    put(one, "new")
    assert text(folder / "other" / "two.ckpt") == "1"
    move(folder / "other" / "two.ckpt", one)
    assert text(one) == "1"
    assert not (folder / "other" / "two.ckpt").exists()
    remove(one)
    remove(one)
    assert not one.exists()


def test_folders_are_copied_and_moved_file_by_file(folder):
    for name, content in {"a": "1", "b": "2"}.items():
        put(folder / "sharded.ckpt" / "inner" / name, content)
    assert (folder / "sharded.ckpt").is_dir()
    put(folder / "kept.ckpt" / "old", "of before")
    copy(folder / "sharded.ckpt", folder / "kept.aside")
    move(folder / "kept.aside", folder / "kept.ckpt")
    assert text(folder / "kept.ckpt" / "inner" / "b") == "2"
    assert not (folder / "kept.ckpt" / "old").exists()
    assert not (folder / "kept.aside").exists()
    remove(folder / "kept.ckpt")
    assert not (folder / "kept.ckpt" / "inner" / "a").exists()


def test_between_stores_a_copy_passes_through_this_machine(tmp_path, objects):  # noqa: F811
    here, there, elsewhere = tmp_path / "one.ckpt", run_path("objects://bucket/one.ckpt"), run_path("memory://b/one")
    here.write_text("1")
    assert not same_store(here, there)
    assert not same_store(there, elsewhere)
    assert same_store(there, there.parent)
    copy(here, there)
    copy(there, elsewhere)
    copy(elsewhere, tmp_path / "new" / "back.ckpt")
    assert (tmp_path / "new" / "back.ckpt").read_text() == "1"


def test_a_copy_that_fails_leaves_nothing(tmp_path, objects):  # noqa: F811
    source = put(run_path("objects://bucket/one.ckpt"), "1")
    objects.refuses = True
    (tmp_path / "two.ckpt").write_text("2")
    with pytest.raises(PermissionError):
        copy(tmp_path / "two.ckpt", source.parent / "two.ckpt")
    assert not (source.parent / "two.ckpt").exists()


def test_a_mute_file_that_came_meanwhile_is_seen(objects):  # noqa: F811
    """Stores remember what was in a folder when they were asked before."""
    path = run_path("objects://bucket/RankWatch.mute")
    mute = MuteFile(path)
    assert not mute.exists()
    put(path, "")
    assert mute.exists()
    assert not MuteFile(run_path("nothing-like-it://bucket/RankWatch.mute")).exists()


def test_a_name_with_another_ending():
    assert (
        str(RemotePath("s3://b/RankWatch.last_healthy.ckpt").with_suffix(".aside"))
        == "s3://b/RankWatch.last_healthy.aside"
    )
    assert str(Path("b/RankWatch.last_healthy.ckpt").with_suffix(".aside")) == "b/RankWatch.last_healthy.aside"
