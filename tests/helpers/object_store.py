"""An object store in memory, as strict as real ones: no appending, no renaming, listings that may be out of date."""

from typing import ClassVar

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem


class ObjectStore(MemoryFileSystem):
    """``objects://``; `refuses` makes it one that can't be written to for a while."""

    protocol = "objects"
    store: ClassVar = {}
    pseudo_dirs: ClassVar = [""]
    refuses = False
    seen: ClassVar = {}

    @classmethod
    def _strip_protocol(cls, path):
        return super()._strip_protocol(str(path).replace("objects://", "memory://"))

    def _open(self, path, mode="rb", **arguments):
        if "a" in mode or "+" in mode:
            raise NotImplementedError(f"this store can't open a file in mode {mode!r}")
        if "w" in mode and type(self).refuses:
            raise PermissionError("no right to write")
        return super()._open(path, mode, **arguments)

    def exists(self, path, **arguments):
        """As it was when it was asked for first, until the cache is emptied."""
        return type(self).seen.setdefault(path, super().exists(path, **arguments))

    def invalidate_cache(self, path=None):
        type(self).seen.clear()

    def rm(self, path, recursive=False, maxdepth=None):
        """There are no folders, only names that begin alike."""
        path = self._strip_protocol(path)
        names = [name for name in self.store if name == path or (recursive and name.startswith(path + "/"))]
        if not names:
            raise FileNotFoundError(path)
        for name in names:
            del self.store[name]

    def mv(self, *_, **__):
        raise NotImplementedError("this store has no renaming")

    @classmethod
    def text(cls, path):
        return bytes(cls.store[path].getbuffer()).decode()


@pytest.fixture
def objects():
    """The store, registered with fsspec and empty."""
    fsspec.register_implementation("objects", ObjectStore, clobber=True)
    ObjectStore.store.clear()
    ObjectStore.seen.clear()
    ObjectStore.refuses = False
    yield ObjectStore
    ObjectStore.refuses = False
