"""Files of ``torch.save``'s, of which only tensors and plain values are read, whatever else is in them."""

from __future__ import annotations

import contextlib
import pickle
import re
import time
import zipfile
from pathlib import Path
from typing import Any

import torch

_YOUNG = 60.0
"""Seconds since it was written in which a file isn't mapped: if it were shortened then, the process would be killed."""

_GLOBAL = re.compile(r"GLOBAL (\S+) was not an allowed global")
_BLOCKED = re.compile(r"unsupported GLOBAL (\S+) whose module")
_REASON = re.compile(r"WeightsUnpickler error: (.*)")
_MOST_TRIES = 64
"""Of files from before torch 1.6, which say only one foreign class at a time."""


class BrokenCheckpointError(ValueError):
    """A checkpoint that can't be read: cut off, half written, or something else."""


class _LeftOut:
    """Stands where an object stood that isn't plain; nothing of the object's own class is imported or run."""

    def __new__(cls, *_: Any, **__: Any) -> _LeftOut:
        return super().__new__(cls)

    def __init__(self, *_: Any, **__: Any) -> None:
        """Take whatever the class itself takes."""

    def __setstate__(self, _: Any) -> None:
        """Forget it."""


def is_left_out(value: object) -> bool:
    """Whether it stands where an object of a class stood that wasn't read."""
    return isinstance(value, _LeftOut)


def _plain_dict(*_: Any) -> dict[Any, Any]:
    """Stands for classes whose items are set one by one, which torch allows of plain dicts alone."""
    return {}


def _plain_list(*_: Any) -> list[Any]:
    """Likewise for those to which items are appended."""
    return []


_STAND_INS: dict[str, Any] = {"collections.defaultdict": _plain_dict, "collections.deque": _plain_list}


def plain_load(file: Path) -> tuple[Any, tuple[str, ...]]:
    """Read a file of ``torch.save``'s on the CPU, with ``weights_only=True``.

    Objects that aren't plain, such as fairseq's ``argparse.Namespace`` and omegaconf's configurations, are left out: a
    placeholder without content takes their place, and no code of theirs is imported or run (torch 2.6 and later; before
    that they are an error). Files of torch 1.6 and later are mapped into memory, so that only those weights are read
    that are used.

    Args:
        file: On this machine's disks.

    Returns:
        What it holds, and the names of the classes and functions that were left out.

    Raises:
        BrokenCheckpointError: If it can't be read, with the reason; where something in it stands against it, with the
            classes that would have to be allowed.
    """
    foreign: list[str] = []
    for _ in range(_MOST_TRIES):
        try:
            return _load(file, foreign), tuple(foreign)
        except pickle.UnpicklingError as error:
            new = [name for name in _foreign(file, error) if name not in foreign]
            if not new or not hasattr(torch.serialization, "safe_globals"):
                raise BrokenCheckpointError(_refusal(file, [*foreign, *new], error)) from error
            foreign += new
        except Exception as error:  # torch raises many kinds for files that are cut off or something else
            reason = f"{type(error).__name__}: {_first_line(error)}"
            raise BrokenCheckpointError(f"{file} is cut off, or no checkpoint ({reason})") from error
    raise BrokenCheckpointError(_refusal(file, foreign, ValueError("too many classes")))


def _load(file: Path, foreign: list[str]) -> Any:
    old = time.time() - file.stat().st_mtime > _YOUNG
    mapped = old and zipfile.is_zipfile(file)  # files of before torch 1.6 can't be mapped
    stand_ins: list[Any] = [(_STAND_INS.get(name, _LeftOut), name) for name in foreign]
    with torch.serialization.safe_globals(stand_ins) if foreign else contextlib.nullcontext():
        return torch.load(file, map_location="cpu", weights_only=True, mmap=mapped)


def _foreign(file: Path, error: Exception) -> list[str]:
    """Names of classes and functions in the file that torch doesn't read; of old files the first one."""
    named = getattr(torch.serialization, "get_unsafe_globals_in_checkpoint", None)
    if named is not None:
        with contextlib.suppress(Exception):
            return sorted(named(file))
    return [name if "." in name else f"builtins.{name}" for name in _GLOBAL.findall(str(error))]


def _refusal(file: Path, foreign: list[str], error: Exception) -> str:
    found = _REASON.search(str(error))
    reason = found[1].strip() if found else ""
    blocked = _BLOCKED.search(str(error))
    if blocked:
        return f"{file} would run {blocked[1]} when it is read: it is no checkpoint, and nothing of it was run"
    if not foreign:
        return f"{file} is cut off, or no checkpoint{f' ({reason})' if reason else ''}"
    few = ", ".join(foreign[:8]) + (f" and {len(foreign) - 8} more" if len(foreign) > 8 else "")
    newer = "" if hasattr(torch.serialization, "safe_globals") else " (torch 2.6 and later leaves them out)"
    return (
        f"{file} holds objects that aren't plain ({few}), and can't be read without them{newer}. If you trust the "
        "file, allow these classes, in the module that makes the model: torch.serialization.add_safe_globals([...]); "
        "or write the weights alone, where the classes can be imported: "
        "torch.save(torch.load(FILE, weights_only=False)['model'], 'weights.pt')"
    )


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0].partition(". This is an internal")[0]
