"""Which objects that hang on a model are no part of it, and which values never change."""

from __future__ import annotations

import concurrent.futures
import datetime
import decimal
import fractions
import functools
import multiprocessing.process
import pathlib
import re
import sys
import threading
import types
import uuid
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
import torch
from torch import nn
from torch.nn.modules.lazy import LazyModuleMixin

from rankwatch.extraction.model.module_paths import WRAPPER_HOMES, is_sharded_unit

UNCHANGING: frozenset[type] = frozenset(
    {
        *(int, float, complex, bool, str, bytes, type(None), type(...), type(NotImplemented), range, slice),
        *(property, re.Pattern, np.dtype, np.ufunc, uuid.UUID, decimal.Decimal, fractions.Fraction),
        *(pathlib.PosixPath, pathlib.WindowsPath, pathlib.PurePosixPath, datetime.datetime, datetime.timedelta),
        *(types.ModuleType, types.BuiltinFunctionType, types.MethodDescriptorType, types.WrapperDescriptorType),
        *(types.MemberDescriptorType, types.GetSetDescriptorType, types.CodeType),
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
    *("socketserver", "subprocess", "selectors", "sqlite3", "ssl", "weakref", "triton", "numba", "cupy"),
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
    return _is_one_of(home, homes)


def _is_one_of(home: str, homes: tuple[str, ...]) -> bool:
    return any(home == one or home.startswith(one + ".") for one in homes)


@functools.lru_cache(maxsize=4096)
def is_of_a_library(home: str) -> bool:
    """Whether a Python module is one whose global variables are no part of a model: torch's, the standard library's.

    Args:
        home: Its name.

    Returns:
        True for these and for what trainers, loaders and loggers come from.
    """
    top, _, rest = home.partition(".")
    machinery = top == "transformers" and not rest.startswith("models.")
    return machinery or top in sys.stdlib_module_names or _is_one_of(home, (*_THEMSELVES, *_WITH_SUBCLASSES, "numpy"))


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
    """Whether a module's class is a library's own, from the bottom to the top, and none of torch's layers.

    DDP, FSDP, a compiled module, a pipeline's stage and their like have state of their own, which isn't the model's. A
    layer that `fully_shard` was called for is still a layer; a lazy one changes its class within its first pass.

    Returns:
        True for wrappers and for lazy layers.
    """
    libraries = all(_lives_in(one, (*_THEMSELVES, "builtins")) for one in kind.__mro__)
    is_layer = kind is nn.Module or any(map(_is_a_layer, kind.__mro__))
    return libraries and (not is_layer or issubclass(kind, LazyModuleMixin))


def _is_a_layer(kind: type) -> bool:
    """Whether a class is one of torch's layers or containers, quantized ones and parametrizations among them."""
    plain = issubclass(kind, nn.Module) and kind is not nn.Module
    return plain and _lives_in(kind, ("torch.nn", "torch.ao")) and not _lives_in(kind, ("torch.nn.parallel",))


@per_class
def classes_of_its_own(kind: type) -> tuple[type, ...]:
    """The classes that an object's class was derived from, itself and metaclasses among them, that may hold state.

    Returns:
        Those that are not torch's, a trainer's or the standard library's.
    """
    made_by_python = 1 << 9  # classes of C code can't be written into
    return tuple(
        one
        for one in [*kind.__mro__, *type.mro(type(kind))]
        if one.__flags__ & made_by_python and not is_of_a_library(str(one.__module__))
    )


class _NamesOfLibraries:
    def __contains__(self, name: object) -> bool:
        return str(name).startswith(("_", "main_grad", "grad_"))


NAMES_OF_LIBRARIES = _NamesOfLibraries()
"""Names of a tensor's attributes that aren't the model's: FSDP's and torch's, and those for gradients."""


def has_attributes_of_its_own(tensor: torch.Tensor) -> bool:
    """Whether what stands on a tensor may be the model's; DeepSpeed and kinds of tensors keep their state there."""
    return type(tensor) in (torch.Tensor, nn.Parameter) and not any(name[:3] == "ds_" for name in vars(tensor))


def works_in_threads(attributes: dict[str, Any]) -> bool:
    """Whether an object has a thread or a process of its own, which may write into it at any time.

    Args:
        attributes: What the object holds.

    Returns:
        True if one of them is a thread, an executor or a process.
    """
    return any(isinstance(value, _WORKERS) for value in attributes.values())


_OF_RECURRENT_LAYERS = frozenset({"_flat_weights", "_flat_weight_refs"})  # their parameters once more


def names_of_shards(root: nn.Module) -> dict[nn.Module, frozenset[str]]:
    """The parameters that FSDP exchanges as it likes, and may have exchanged since: gathered ones against shards.

    What was gathered before a pass has lost its memory after it, so to put it back would be a crash in the next step.

    Args:
        root: The whole model; of FSDP1 the units may also be around it.

    Returns:
        Names of parameters, and of attributes that stand for them, of each module that is sharded.
    """
    modules = list(root.modules())
    within = {part for unit in modules if is_sharded_unit(unit) for part in unit.modules()}
    return {
        module: frozenset({*module._parameters, *_views_of_parameters(module), *_OF_RECURRENT_LAYERS})
        for module in modules
        if module in within or "_is_fsdp_managed_module" in vars(module)
    }


def _views_of_parameters(module: nn.Module) -> list[str]:
    return [
        name
        for name, value in vars(module).items()
        if isinstance(value, torch.Tensor) and isinstance(value._base, nn.Parameter)
    ]
