"""Matrices in files of a temporary folder, each of which is in memory only while it is used."""

from __future__ import annotations

import shutil
import tempfile
import weakref
from collections.abc import Hashable, Iterator, MutableMapping
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


class RowsOnDisk(MutableMapping[Hashable, Tensor]):
    """Matrices by name that grow at their end, and are read whole.

    They lie in a folder of the system's temporary ones (``TMPDIR`` names another), which is removed with this object,
    or when Python ends. What is read is what was appended, bit by bit, and the caller's own copy.

    Example:
        >>> rows = RowsOnDisk()
        >>> rows.append("L00", torch.ones(2, 3))
        >>> rows.append("L00", torch.zeros(1, 3))
        >>> rows["L00"].shape
        torch.Size([3, 3])
    """

    def __init__(self) -> None:
        folder = tempfile.mkdtemp(prefix="rankwatch-")
        weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
        self._folder = Path(folder)
        self._count = 0
        self._files: dict[Hashable, Path] = {}
        self._kinds: dict[Hashable, tuple[int, np.dtype[np.generic]]] = {}

    def append(self, name: Hashable, rows: Tensor) -> None:
        """Put rows behind those of this name that are there.

        Args:
            name: Of the matrix; a new one begins a new matrix.
            rows: (n, d) on the CPU, of as many columns and the dtype of those before them.

        Raises:
            ValueError: If they have another number of columns, or another dtype.
            OSError: If there is no place for them; the message says where, and how to choose another place.
        """
        values: NDArray[np.generic] = rows.detach().contiguous().numpy()
        kind = (int(rows.shape[1]), values.dtype)
        if self._kinds.setdefault(name, kind) != kind:
            raise ValueError(f"{name!r} has rows of {self._kinds[name]}, and these are of {kind}")
        file = self._files.setdefault(name, self._folder / f"{self._count}.rows")
        self._count += 1
        try:
            with file.open("ab") as stream:
                values.tofile(stream)
        except OSError as error:
            raise OSError(
                f"rows could not be written to {self._folder} ({error.strerror or error}); TMPDIR=FOLDER names another "
                "place for them"
            ) from error

    def __getitem__(self, name: Hashable) -> Tensor:
        columns, dtype = self._kinds[name]
        return torch.from_numpy(np.fromfile(self._files[name], dtype).reshape(-1, columns))

    def __setitem__(self, name: Hashable, rows: Tensor) -> None:
        self.pop(name, None)
        self.append(name, rows)

    def __delitem__(self, name: Hashable) -> None:
        del self._kinds[name]
        self._files.pop(name).unlink()

    def __iter__(self) -> Iterator[Hashable]:
        return iter(self._files)

    def __len__(self) -> int:
        return len(self._files)
