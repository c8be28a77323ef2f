"""Object stores can't append: files grow here and are uploaded whole, and nothing that is there is lost."""

import gc
import shutil
import tempfile
from pathlib import Path

import pytest
from object_store import objects  # noqa: F401
from toys import Encoder

from rankwatch import Watch
from rankwatch.runtime.files.run_paths import RemotePath
from rankwatch.runtime.files.uploaded_folder import UploadedFolder

REMOTE = RemotePath("objects://bucket/run")


def append(folder, text, name="RankWatch.jsonl"):
    with (folder.local / name).open("a") as file:
        file.write(text)


def test_what_is_uploaded_is_bounded_by_what_there_is(objects, monkeypatch):  # noqa: F811
    """Every line anew would be a quadratic number of bytes: 2 MB here."""
    sent, real = [], objects.put_file

    def put_file(self, file, to):
        sent.append(Path(file).stat().st_size)
        real(self, file, to)

    monkeypatch.setattr(objects, "put_file", put_file)
    folder = UploadedFolder(REMOTE)
    for _ in range(200):
        append(folder, "x" * 99 + "\n")
        folder.upload(everything=False)
    assert sum(sent) < 11.5 * 20_000
    assert len(objects.text("/bucket/run/RankWatch.jsonl")) > 20_000 / 1.1
    folder.close()
    assert len(objects.text("/bucket/run/RankWatch.jsonl")) == 20_000
    assert not folder.local.exists()


def test_a_restart_goes_on_in_the_same_file(objects):  # noqa: F811
    first = UploadedFolder(REMOTE)
    append(first, "one\ntw")  # cut off by a kill
    first.close()
    second = UploadedFolder(REMOTE)
    append(second, "three\n")
    append(second, "binary", "events.2")
    second.upload(everything=True)
    append(second, "four\n")
    second.close()
    assert objects.text("/bucket/run/RankWatch.jsonl") == "one\ntw\nthree\nfour\n"
    assert objects.text("/bucket/run/events.2") == "binary"


def test_as_long_as_the_store_refuses_all_is_in_the_local_folder(objects):  # noqa: F811
    before = UploadedFolder(REMOTE)
    append(before, "one\n")
    before.close()
    folder = UploadedFolder(REMOTE)
    append(folder, "two\n")
    objects.refuses = True
    for _ in range(2):
        with pytest.raises(OSError, match=str(folder.local)):
            folder.upload(everything=False)
    with pytest.raises(OSError, match="no right to write"):
        folder.close()
    assert (folder.local / "RankWatch.jsonl").read_text() == "one\ntwo\n"
    objects.refuses = False
    folder.close()
    assert objects.text("/bucket/run/RankWatch.jsonl") == "one\ntwo\n"


def test_a_store_that_cannot_be_read_is_not_overwritten(objects, monkeypatch):  # noqa: F811
    before = UploadedFolder(REMOTE)
    append(before, "one\n")
    before.close()
    folder = UploadedFolder(REMOTE)
    append(folder, "two\n")
    with monkeypatch.context() as patch:
        patch.setattr(objects, "cat_file", lambda *_: (_ for _ in ()).throw(PermissionError("no right to read")))
        with pytest.raises(OSError, match="no right to read"):
            folder.upload(everything=True)
    assert objects.text("/bucket/run/RankWatch.jsonl") == "one\n"
    folder.close()
    assert objects.text("/bucket/run/RankWatch.jsonl") == "one\ntwo\n"


def test_a_local_folder_that_is_taken_away_begins_anew_after_what_was_uploaded(objects):  # noqa: F811
    folder = UploadedFolder(REMOTE)
    append(folder, "a long first line\n")
    folder.upload(everything=True)
    (folder.local / "RankWatch.jsonl").unlink()
    append(folder, "two\n")
    folder.close()
    assert objects.text("/bucket/run/RankWatch.jsonl") == "a long first line\ntwo\n"


def test_a_run_that_ends_while_it_is_set_up_leaves_no_folder(objects, tmp_path, monkeypatch):  # noqa: F811
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with pytest.raises(ValueError, match="nothing_like_it"):
        Watch(Encoder(layer_drop=0.0, depth=1), "objects://bucket/run", layers=["nothing_like_it"])
    gc.collect()
    assert list(tmp_path.iterdir()) == []


def test_records_that_nobody_has_uploaded_stay(objects):  # noqa: F811
    local = []
    for name in ("events.out", "a.jsonl"):
        uploads = UploadedFolder(RemotePath("objects://bucket/run"))
        (uploads.local / name).write_text("1\n")
        local.append(uploads.local)
        del uploads
        gc.collect()
    assert [folder.exists() for folder in local] == [False, True]
    shutil.rmtree(local[1])
