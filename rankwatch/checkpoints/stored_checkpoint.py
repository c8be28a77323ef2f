"""One checkpoint on disk, whichever library wrote it: its weights by name, and what else it says."""

from __future__ import annotations

import contextlib
import importlib
import json
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor

from rankwatch.checkpoints import sharded_folder
from rankwatch.checkpoints.deepspeed_folder import is_deepspeed, model_states
from rankwatch.checkpoints.plain_load import BrokenCheckpointError, plain_load
from rankwatch.checkpoints.weights_by_name import pick_weights
from rankwatch.runtime.files.file_actions import copy
from rankwatch.runtime.files.run_paths import RunPath

SUFFIXES = (".ckpt", ".pt", ".pth", ".bin", ".safetensors")
"""Endings of files that may be checkpoints."""

_WHOLE = ("model.safetensors", "pytorch_model.bin")
_INDICES = ("model.safetensors.index.json", "pytorch_model.bin.index.json")
_SHARDED = ("", "pytorch_model_fsdp_0")  # of DCP's own, and below one of Hugging Face's Trainer with FSDP
_LIGHTNING_META = "meta.pt"
_TRAINER_STATE = "trainer_state.json"


@dataclass(frozen=True)
class StoredCheckpoint:
    """What is in a checkpoint.

    Attributes:
        path: Where it is, on this machine's disks.
        values: What it holds besides its weights, such as counters and the optimiser's state; of a file of
            ``torch.save``'s the weights as well.
        left_out: Classes of objects in it that aren't plain, and weren't read.
        tensors: Reads the weights, where they are stored apart from `values`.
    """

    path: Path
    values: Mapping[str, Any] = field(default_factory=dict)
    left_out: tuple[str, ...] = ()
    tensors: Callable[[], Mapping[str, Any]] | None = None

    def weights(self, part: str = "") -> dict[str, Tensor]:
        """The model's weights by name, on the CPU; see `rankwatch.checkpoints.weights_by_name.pick_weights`.

        Args:
            part: Which weights, where there are several: ``"_ema"``, ``"teacher"``, ``"current_model_state"``.

        Returns:
            Tensors by name; those of files may be mapped, so that they are read when they are used. Where there are
            none, a BrokenCheckpointError says what there is.
        """
        held = self.values if self.tensors is None else self.tensors()
        return pick_weights(held, part, self.path, self.left_out)


def is_checkpoint(path: RunPath) -> bool:
    """Whether a file has the ending of one, or a folder holds weights as Hugging Face, DCP or DeepSpeed write them."""
    if not path.is_dir():
        return Path(path.name).suffix in SUFFIXES and path.exists()
    whole = any((path / name).exists() for name in (*_WHOLE, *_INDICES))
    return whole or _dcp(path) is not None or is_deepspeed(path)


def _dcp(folder: Any) -> Any:
    inner = [folder / name if name else folder for name in _SHARDED]
    return next((one for one in inner if (one / sharded_folder.METADATA).exists()), None)


@contextlib.contextmanager
def on_this_machine(path: RunPath) -> Iterator[Path]:
    """A checkpoint as a path on this machine's disks: itself, or a copy that is removed afterwards.

    Args:
        path: Wherever it is.

    Yields:
        The path.
    """
    if isinstance(path, Path):
        yield path
        return
    with tempfile.TemporaryDirectory(prefix="rankwatch-") as folder:
        here = Path(folder) / path.name
        copy(path, here)
        yield here


def open_checkpoint(path: Path) -> StoredCheckpoint:
    """Read what a checkpoint says, and find its weights.

    Read are files of ``torch.save``'s (Lightning, fairseq, a plain ``state_dict``), safetensors, folders of Hugging
    Face's with one file of weights or several, and sharded folders of ``torch.distributed.checkpoint``, also as
    Lightning's FSDP strategy and Hugging Face's Trainer write them. Nothing in them is run: see `plain_load`.

    Args:
        path: A file or a folder on this machine's disks.

    Returns:
        The checkpoint; its weights are read when they are asked for.

    Raises:
        BrokenCheckpointError: If it can't be read, with the reason.
    """
    if not path.exists():
        raise BrokenCheckpointError(f"there is no checkpoint {path}")
    if path.is_dir():
        return _open_folder(path)
    if path.suffix == ".safetensors":
        return StoredCheckpoint(path, tensors=lambda: _safetensors(path))
    loaded, left_out = plain_load(path)
    return StoredCheckpoint(path, loaded if isinstance(loaded, Mapping) else {"": loaded}, left_out)


def _open_folder(folder: Path) -> StoredCheckpoint:
    values = _trainer_state(folder)
    if (folder / _LIGHTNING_META).exists() and _dcp(folder) is not None:
        values = plain_load(folder / _LIGHTNING_META)[0]
    whole = next((folder / name for name in _WHOLE if (folder / name).exists()), None)
    if whole is not None:
        return StoredCheckpoint(folder, values, tensors=lambda: _file(whole))
    index = next((folder / name for name in _INDICES if (folder / name).exists()), None)
    if index is not None:
        return StoredCheckpoint(folder, values, tensors=lambda: _several(index))
    inner = _dcp(folder)
    if inner is not None:
        return StoredCheckpoint(folder, values, tensors=lambda: sharded_folder.read_tensors(inner))
    states = model_states(folder)
    if states is not None:
        loaded, left_out = plain_load(states)
        return StoredCheckpoint(folder, loaded if isinstance(loaded, Mapping) else {}, left_out)
    raise BrokenCheckpointError(f"{folder} holds no weights, neither {', '.join(_WHOLE)} nor shards of them")


def _trainer_state(folder: Path) -> Mapping[str, Any]:
    file = folder / _TRAINER_STATE
    if not file.exists():
        return {}
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise BrokenCheckpointError(f"{file} can't be read ({error})") from error
    return found if isinstance(found, Mapping) else {}


def _file(file: Path) -> Mapping[str, Any]:
    return _safetensors(file) if file.suffix == ".safetensors" else plain_load(file)[0]


def _several(index: Path) -> Mapping[str, Any]:
    """The weights of several files, which an index names."""
    try:
        names = sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))
    except (ValueError, KeyError, AttributeError, TypeError) as error:
        raise BrokenCheckpointError(f"{index} can't be read ({type(error).__name__}: {error})") from error
    return {key: value for name in names for key, value in _file(index.parent / name).items()}


def _safetensors(file: Path) -> Mapping[str, Any]:
    try:
        torch_files: Any = importlib.import_module("safetensors.torch")
    except ImportError as error:
        raise BrokenCheckpointError(f"{file} is read by safetensors: pip install safetensors") from error
    try:
        found: Mapping[str, Any] = torch_files.load_file(file)
    except Exception as error:
        raise BrokenCheckpointError(f"{file} can't be read ({type(error).__name__}: {error})") from error
    return found
