"""What is done to files and folders of a run, alike on this machine's disks and in object stores.

Here files are linked and renamed, so that nothing is ever half there. An object store has neither: there a file is seen
as soon as all of it has arrived, and a copy is made by the store itself, without passing through this machine.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rankwatch.runtime.files.run_paths import RemotePath, RunPath


def modified(path: RunPath) -> int:
    """When a file was last written, in ns; of a folder in an object store, when the newest file in it was.

    Args:
        path: Is there.

    Returns:
        Nanoseconds since 1970; 0 where the store doesn't know.
    """
    if isinstance(path, Path):
        return path.stat().st_mtime_ns
    store, inside = path.store()
    times = []
    for file in store.find(inside):
        try:
            times.append(int(1e9 * store.modified(file).timestamp()))
        except NotImplementedError:
            times.append(0)
    return max(times, default=0)


def same_store(one: RunPath, other: RunPath) -> bool:
    """Whether files can go from the one to the other without passing through this machine."""
    if isinstance(one, RemotePath) and isinstance(other, RemotePath):
        return bool(one.store()[0] == other.store()[0])
    return isinstance(one, Path) and isinstance(other, Path)


def copy(source: RunPath, target: RunPath, *, link: bool = False) -> None:
    """Copy a file, or a folder file by file; what a failed copy has left is removed.

    Args:
        source: Is there.
        target: Is overwritten if it is there, and stays as it is where that fails; the folder it is in is made.
        link: Link files instead, which costs no space, wherever that can be done.
    """
    is_new = not target.exists()
    try:
        if isinstance(source, Path) and isinstance(target, Path):
            _copy_here(source, target, _link if link else shutil.copy2)
        else:
            for file in _files(source):
                _copy_file(source / file if file else source, target / file if file else target)
    except Exception:
        if is_new:
            remove(target)  # half of it, where the disk is full
        raise


def _copy_here(source: Path, target: Path, put: Callable[[str, str], object]) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_dir():
        shutil.copytree(source, target, copy_function=put)
    else:
        put(str(source), str(target))


def _link(source: str, target: str) -> str:
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)
    return target


def _files(path: RunPath) -> list[str]:
    """Names of the files in a folder, below it; of a file itself the empty name."""
    if not path.is_dir():
        return [""]
    if isinstance(path, Path):
        return [file.relative_to(path).as_posix() for file in path.rglob("*") if file.is_file()]
    store, inside = path.store()
    return [file[len(inside) :].lstrip("/") for file in store.find(inside)]


def _copy_file(source: RunPath, target: RunPath) -> None:
    """Within a store, into one, out of one, or from one into another by way of this machine."""
    if isinstance(source, RemotePath) and isinstance(target, RemotePath) and same_store(source, target):
        store, inside = source.store()
        _with_folder(target, lambda there: store.cp_file(inside, there))
    elif isinstance(source, Path) and isinstance(target, RemotePath):
        upload(source, target)
    elif isinstance(source, RemotePath) and isinstance(target, Path):
        target.parent.mkdir(parents=True, exist_ok=True)
        store, inside = source.store()
        store.get_file(inside, str(target))
    else:
        with tempfile.TemporaryDirectory(prefix="rankwatch-") as folder:
            between = Path(folder) / source.name
            _copy_file(source, between)
            _copy_file(between, target)


def _with_folder(target: RemotePath, put: Callable[[str], Any]) -> None:
    """Object stores have no folders, and asking them to make one may need rights to make buckets; other stores do."""
    store, there = target.store()
    try:
        put(there)
    except FileNotFoundError:
        store.makedirs(target.parent.store()[1], exist_ok=True)
        put(there)


def upload(file: Path, target: RemotePath) -> None:
    """Put a file of this machine's into a store, instead of what is there."""
    _with_folder(target, lambda there: target.store()[0].put_file(str(file), there))


def move(source: RunPath, target: RunPath) -> None:
    """Move a file or folder to another name in the same place, instead of what is there.

    Args:
        source: Is there.
        target: In the same folder.
    """
    if target.is_dir():
        remove(target)
    if isinstance(source, Path) and isinstance(target, Path):
        source.replace(target)
    else:
        copy(source, target)
        remove(source)


def remove(path: RunPath) -> None:
    """Remove a file, or a folder with all in it; one that isn't there is no error."""
    if isinstance(path, RemotePath):
        store, inside = path.store()
        with contextlib.suppress(FileNotFoundError):
            store.rm(inside, recursive=path.is_dir())
    elif path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def write(path: RunPath, save: Callable[[Path], Any]) -> None:
    """Write a file anew, so that it is there as a whole or as it was before.

    Args:
        path: The file; a folder that isn't there is made.
        save: Writes what is to be in it into the file on this machine's disks that it is called with.
    """
    if isinstance(path, RemotePath):
        with tempfile.TemporaryDirectory(prefix="rankwatch-") as folder:
            save(Path(folder) / path.name)
            upload(Path(folder) / path.name, path)
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_suffix(".new")
    try:
        save(fresh)
        fresh.replace(path)
    finally:
        fresh.unlink(missing_ok=True)  # half of it, where the disk is full
