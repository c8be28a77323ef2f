"""Folders of torch's distributed checkpoints (DCP), as FSDP writes them, read by one process into plain tensors."""

from __future__ import annotations

import inspect
import pickle
import re
import warnings
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from rankwatch.checkpoints.plain_load import BrokenCheckpointError

METADATA = ".metadata"
"""The file that makes a folder one of DCP's; it is written last."""

_ALLOWED = {
    ("torch", "Size"),
    ("torch.serialization", "_get_layout"),
    ("torch.distributed.checkpoint.filesystem", "_StorageInfo"),
    ("collections", "OrderedDict"),
    ("pathlib", "Path"),
    ("pathlib", "PosixPath"),
    ("pathlib", "PurePosixPath"),
    ("pathlib._local", "PosixPath"),
}
"""Plain classes outside of DCP's own module that a list of contents is made of."""

_OF_OPTIMISERS = re.compile(r"\.(optim|optimizers?)\.(state|param_groups)\.")
"""Where an optimiser's tensors are, twice as large as the weights, if model and optimiser were saved as one entry."""


class _ListOfContents(pickle.Unpickler):
    """Reads ``.metadata``, a pickle, of which DCP's own plain classes are allowed and nothing else."""

    def find_class(self, module: str, name: str) -> Any:
        """The class, if it is one of those; else BrokenCheckpointError."""
        dtype = module == "torch" and isinstance(getattr(torch, name, None), torch.dtype)
        own = module == "torch.distributed.checkpoint.metadata" and "." not in name
        if own or dtype or (module, name) in _ALLOWED:
            return super().find_class(module, name)
        raise BrokenCheckpointError(f"it would run {module}.{name}, which no checkpoint needs")


def contents(folder: Path) -> Any:
    """The list of what is in the folder, a ``torch.distributed.checkpoint.metadata.Metadata``.

    Args:
        folder: With a file ``.metadata``.

    Returns:
        It, without anything that isn't plain.

    Raises:
        BrokenCheckpointError: If it can't be read, or would run something.
    """
    file = folder / METADATA
    try:
        with file.open("rb") as opened:
            found = _ListOfContents(opened).load()
        found.state_dict_metadata.items()
    except Exception as error:
        raise BrokenCheckpointError(f"{file} can't be read ({type(error).__name__}: {error})") from error
    return found


def read_tensors(folder: Path) -> dict[str, Tensor]:
    """All tensors of the folder but the optimiser's, whole, on the CPU.

    Objects that aren't tensors are pickles, and aren't read.

    Args:
        folder: With a file ``.metadata``.

    Returns:
        Tensors by name, as DCP has them: names of nested dicts are joined by dots.

    Raises:
        BrokenCheckpointError: If a file of it is missing or damaged.
    """
    # Not in every build of torch, and seldom needed.
    from torch.distributed.checkpoint.api import CheckpointException
    from torch.distributed.checkpoint.filesystem import FileSystemReader
    from torch.distributed.checkpoint.state_dict_loader import load

    listed = contents(folder)

    class Reader(FileSystemReader):
        """DCP's own, but for the list of contents, which it would unpickle whatever it holds."""

        def read_metadata(self, *_: Any, **__: Any) -> Any:
            return listed

    tensors = {
        name: torch.empty(about.size, dtype=about.properties.dtype)
        for name, about in listed.state_dict_metadata.items()
        if hasattr(about, "size") and not name.startswith(("optim", "state.")) and not _OF_OPTIMISERS.search(name)
    }
    options: dict[str, Any] = {"storage_reader": Reader(folder)}
    if "no_dist" in inspect.signature(load).parameters:
        options["no_dist"] = True
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="torch.distributed is")
            load(tensors, **options)
    except (Exception, CheckpointException) as error:  # DCP's isn't an Exception
        # DCP's own error holds one of each process.
        inner = next(iter(getattr(error, "failures", {}).values()), (error,))[0]
        raise BrokenCheckpointError(f"{folder} can't be read ({type(inner).__name__}: {inner})") from error
    return tensors
