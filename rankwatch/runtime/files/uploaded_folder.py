"""A folder of files that grow, on this machine, and its copy in an object store, which can't append to a file."""

from __future__ import annotations

import shutil
import tempfile
import weakref
from pathlib import Path

from rankwatch.runtime.files.file_actions import upload
from rankwatch.runtime.files.run_paths import RemotePath

_GROWTH = 1.1
"""A file is uploaded anew when it has grown to so many times its size: in all at most 11 times what it ends with."""

_APPENDED = ".jsonl"
"""Ending of files that go on where an earlier run has left off; all others are new."""


class UploadedFolder:
    """Files are written here, and uploaded whole from time to time.

    What is in the store already, from before a restart, is put before what is written here when a file is uploaded for
    the first time; as long as it can't be read, nothing of it is overwritten.

    Args:
        remote: Where the files go.

    Attributes:
        local: Where they are written: a folder on this machine that is removed by `close`, or, where no record has been
            written by then (the run has ended while it was set up), with this object.
        remote: Likewise.
        refused: Whether the store did not take a file when it was last asked to.
    """

    def __init__(self, remote: RemotePath) -> None:
        self.remote = remote
        self.local = Path(tempfile.mkdtemp(prefix="rankwatch-"))
        weakref.finalize(self, _remove_without_records, self.local)
        self.refused = False
        self._uploaded: dict[str, int] = {}  # bytes of each file that are in the store
        self._joined: set[str] = set()  # files that hold what was in the store before

    def upload(self, *, everything: bool) -> None:
        """Upload the files that have grown.

        Args:
            everything: Also those that have hardly grown since they were uploaded.

        Raises:
            OSError: If the store can't be reached or refuses; says where the files are until then.
        """
        for file in sorted(self.local.iterdir()) if self.local.exists() else []:
            size, before = file.stat().st_size, self._uploaded.get(file.name, 0)
            if size == before or (before < size < _GROWTH * before and not everything):
                continue
            target = self.remote / file.name
            try:
                if file.suffix == _APPENDED and (file.name not in self._joined or size < before):
                    _put_before(file, _content(target))
                    self._joined.add(file.name)
                    self._uploaded[file.name] = 0
                upload(file, target)
                self.refused = False
            except Exception as error:
                self.refused = True
                raise OSError(
                    f"{target} could not be written ({type(error).__name__}: {error}); until it can, it is in {file}"
                ) from error
            self._uploaded[file.name] = file.stat().st_size

    def close(self) -> None:
        """Upload all, and remove the local folder; it stays where that fails.

        Like `upload` it raises OSError then.
        """
        self.upload(everything=True)
        shutil.rmtree(self.local, ignore_errors=True)


def _remove_without_records(folder: Path) -> None:
    if folder.exists() and not any(folder.glob(f"*{_APPENDED}")):
        shutil.rmtree(folder, ignore_errors=True)


def _content(path: RemotePath) -> bytes:
    """What is in the store; nothing where there is no such file, while other failures are errors."""
    store, inside = path.store()
    store.invalidate_cache()
    try:
        return bytes(store.cat_file(inside))
    except FileNotFoundError:
        return b""


def _put_before(file: Path, older: bytes) -> None:
    if older:
        joined = file.with_suffix(".joined")
        joined.write_bytes(older + b"\n" * (not older.endswith(b"\n")) + file.read_bytes())
        joined.replace(file)
