"""Which objects that hang on a model are no part of it, and which values never change."""

from __future__ import annotations

import concurrent.futures
import datetime
import decimal
import enum
import fractions
import functools
import multiprocessing.process
import pathlib
import re
import threading
import types
import uuid
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
import torch

from rankwatch.extraction.model.module_paths import WRAPPER_HOMES

UNCHANGING: frozenset[type] = frozenset(
    {
        *(int, float, complex, bool, str, bytes, type(None), type(...), type(NotImplemented), range, slice),
        *(type, property, re.Pattern, np.dtype, np.ufunc, uuid.UUID, decimal.Decimal, fractions.Fraction),
        *(pathlib.PosixPath, pathlib.WindowsPath, pathlib.PurePosixPath, datetime.datetime, datetime.timedelta),
        *(types.ModuleType, types.BuiltinFunctionType, types.MethodDescriptorType, types.WrapperDescriptorType),
        *(types.MemberDescriptorType, types.GetSetDescriptorType, types.CodeType, types.MappingProxyType),
        *(torch.dtype, torch.device, torch.Size, torch.layout, torch.memory_format, torch.finfo, torch.iinfo),
    }
)
"""Kinds of values that nothing can be written into; what a module of Python's holds is out of reach."""

# A class of one of these, or one that was derived from it, is no part of a forward pass, and other threads may be
# writing into it: trainers, callbacks, loaders, optimisers, queues, locks, loggers, progress bars, and our own.
_WITH_SUBCLASSES = (
    *(
        "rankwatch",
        "lightning",
        "pytorch_lightning",
        "lightning_fabric",
        "deepspeed",
        "accelerate",
        "transformers.trainer",
    ),
    *("transformers.integrations", "ray", "hydra", "torch.optim", "torch.utils.data", "torch.utils.tensorboard"),
    *("torch.distributed", "torch.multiprocessing", "torch.profiler", "torch.autograd.profiler", "torch.futures"),
    *("asyncio", "concurrent", "multiprocessing", "queue", "_queue", "_thread", "threading", "logging", "socket"),
    *("socketserver", "subprocess", "selectors", "sqlite3", "ssl", "weakref"),
    *("tensorboard", "tensorboardX", "wandb", "mlflow", "comet_ml", "neptune", "clearml", "aim", "tqdm", "datasets"),
)
_THEMSELVES = (*(home.rstrip(".") for home in WRAPPER_HOMES), "abc", "contextlib", "functools", "importlib", "typing")
_WORKERS = (threading.Thread, concurrent.futures.Executor, multiprocessing.process.BaseProcess)


_Answer = TypeVar("_Answer")


def per_class(function: Callable[[type], _Answer]) -> Callable[[type], _Answer]:
    """Remember what a function of a class has answered: most of a model's objects are of few classes."""
    return functools.lru_cache(maxsize=4096)(function)


def _lives_in(kind: type, homes: tuple[str, ...]) -> bool:
    home = kind.__module__ if isinstance(kind.__module__, str) else ""
    return any(home == one or home.startswith(one + ".") for one in homes)


@per_class
def is_elsewhere(kind: type) -> bool:
    """Whether objects of a class are somebody else's, judged by the class and by all that it was derived from.

    Args:
        kind: The class of an object that is no module.

    Returns:
        True for trainers, loaders, loggers, threads and their like, and for torch's own objects.
    """
    return _lives_in(kind, _THEMSELVES) or any(_lives_in(one, _WITH_SUBCLASSES) for one in kind.__mro__)


@per_class
def is_only_a_wrapper(kind: type) -> bool:
    """Whether a module's class is a library's own, from the bottom to the top: torch's layers, wrappers, FSDP."""
    return all(_lives_in(one, (*_THEMSELVES, "builtins")) for one in kind.__mro__)


@per_class
def classes_of_its_own(kind: type) -> tuple[type, ...]:
    """The classes that an object's class was derived from, itself among them, whose attributes may be the model's."""
    made_by_python = 1 << 9  # classes of C code can't be written into
    return tuple(
        one
        for one in kind.__mro__
        if one.__flags__ & made_by_python
        and not _lives_in(one, (*_THEMSELVES, *_WITH_SUBCLASSES, "collections", "types", "argparse", "numpy"))
        and not issubclass(one, enum.Enum)
    )


def works_in_threads(attributes: dict[str, Any]) -> bool:
    """Whether an object has a thread or a process of its own, which may write into it at any time.

    Args:
        attributes: What the object holds.

    Returns:
        True if one of them is a thread, an executor or a process.
    """
    return any(isinstance(value, _WORKERS) for value in attributes.values())
