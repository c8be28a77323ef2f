"""What a model has besides its parameters, remembered and put back, as far down as plain objects go."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from rankwatch.extraction.model.module_paths import WRAPPER_HOMES

_OF_EVERY_MODULE = frozenset(vars(nn.Module()))
_CONTAINERS = (list, dict, set, deque)
_GENERATORS = (random.Random, np.random.Generator, np.random.RandomState, torch.Generator)
# Trainers, loaders, optimisers, queues and loggers hang on a model as well; they are no part of its forward pass, and
# other threads may be writing into them.
_ELSEWHERE = frozenset(
    {
        *(home.rstrip(".") for home in WRAPPER_HOMES),
        *("asyncio", "builtins", "collections", "concurrent", "functools", "io", "logging", "multiprocessing", "queue"),
        *("omegaconf", "tensorboard", "threading", "types", "wandb", "weakref", "_io", "_queue", "_thread"),
    }
)
_DEPTH = 8  # containers and objects within each other below a module
_ENTRIES = 1000  # a longer list is data
_LARGEST = 1 << 22  # bytes of a tensor in an attribute that is copied; larger ones are data


class ModelSnapshot:
    """The modes, buffers, attributes and random generators of a model's modules, as they are now.

    Attributes are followed through lists, dicts, sets, deques and plain objects. Of torch's own modules, wrappers among
    them, only mode and buffers are remembered: FSDP has state of its own.

    Args:
        root: The whole model.
    """

    def __init__(self, root: nn.Module) -> None:
        self._modes = [(module, module.training) for module in root.modules()]
        self._restores: list[Callable[[], None]] = []
        self._seen: set[int] = set()
        self.generators: list[Any] = []
        for module, _ in self._modes:
            self._keep_module(module)

    def restore(self) -> None:
        """Put everything back; under `torch.no_grad`.

        Modes come first and can't fail; of all else that fails the first is raised when everything has been tried.
        """
        for module, training in self._modes:
            module.training = training
        trouble: Exception | None = None
        for restore in self._restores:
            try:
                restore()
            except Exception as error:
                trouble = trouble or error
        if trouble is not None:
            raise trouble

    def _keep_module(self, module: nn.Module) -> None:
        for _, buffer in module.named_buffers(recurse=False):
            self._keep_tensor(buffer, always=True)
        if isinstance(module, torch.jit.ScriptModule):
            return
        self._keep_registry(module._buffers)
        if all(_is_elsewhere(kind) for kind in type(module).__mro__):
            return
        self._keep_registry(module._modules)
        self._keep_registry(module._parameters)
        self._keep_attributes(module, _OF_EVERY_MODULE, 0)

    def _keep_registry(self, registry: dict[str, Any]) -> None:
        """Some models put a new tensor in a buffer's place, or build a part when it is first needed."""
        before = dict(registry)

        def restore() -> None:
            if list(registry) != list(before) or any(registry[name] is not value for name, value in before.items()):
                registry.clear()
                registry.update(before)

        self._restores.append(restore)

    def _keep_attributes(self, thing: Any, passed_over: frozenset[str], depth: int) -> None:
        before = {name: value for name, value in vars(thing).items() if name not in passed_over}

        def restore() -> None:
            now = vars(thing)
            for name in [name for name in now if name not in passed_over and name not in before]:
                del now[name]
            now.update({name: value for name, value in before.items() if name not in now or now[name] is not value})

        self._restores.append(restore)
        for value in before.values():
            self._keep(value, depth + 1)

    def _keep(self, value: Any, depth: int) -> None:
        if id(value) in self._seen or isinstance(value, (nn.Module, type)) or depth > _DEPTH:
            return
        if isinstance(value, Tensor):
            self._keep_tensor(value)
        elif isinstance(value, _GENERATORS):
            self._keep_generator(value)
        elif isinstance(value, _CONTAINERS):
            self._keep_container(value, depth)
        elif isinstance(value, tuple):
            for entry in value[:_ENTRIES]:
                self._keep(entry, depth + 1)
        elif hasattr(value, "__dict__") and not _is_elsewhere(type(value)):
            self._seen.add(id(value))
            self._keep_attributes(value, frozenset(), depth)

    def _keep_tensor(self, tensor: Tensor, always: bool = False) -> None:
        if id(tensor) in self._seen or isinstance(tensor, nn.Parameter) or not _is_ordinary(tensor):
            return
        self._seen.add(id(tensor))
        if not always and tensor.numel() * tensor.element_size() > _LARGEST:
            return
        content = tensor.detach().clone()

        def restore() -> None:
            if not _has_memory(tensor):
                return
            if tensor.shape != content.shape:
                tensor.resize_(content.shape)
            if not _same(tensor.detach(), content):
                tensor.detach().copy_(content)

        self._restores.append(restore)

    def _keep_generator(self, generator: Any) -> None:
        self._seen.add(id(generator))
        if isinstance(generator, random.SystemRandom):
            return
        self.generators.append(generator)
        self._restores.append(_restore_of(generator))

    def _keep_container(self, container: Any, depth: int) -> None:
        self._seen.add(id(container))
        if len(container) > _ENTRIES:
            return
        items = _items(container)

        def restore() -> None:
            if [id(part) for part in _flat(_items(container))] != [id(part) for part in _flat(items)]:
                container.clear()
                (container.update if isinstance(container, (dict, set)) else container.extend)(items)

        self._restores.append(restore)
        for value in container.values() if isinstance(container, dict) else container:
            self._keep(value, depth + 1)


def _is_elsewhere(kind: type) -> bool:
    return kind.__module__.partition(".")[0] in _ELSEWHERE


def _is_ordinary(tensor: Tensor) -> bool:
    """Whether its contents can be compared and copied; of all others only the reference is remembered."""
    if is_lazy(tensor):  # it has no content yet
        return False
    odd = tensor.is_meta or tensor.is_nested or tensor.is_inference() or tensor.is_quantized
    return not odd and tensor.layout == torch.strided and _has_memory(tensor)


def _has_memory(tensor: Tensor) -> bool:
    """FSDP leaves attributes behind whose memory it takes away between calls; to read them is a crash, no exception."""
    if tensor.numel() == 0 or type(tensor) is not Tensor:  # of a subclass (DTensor) the memory is its own affair
        return True
    steps = zip(tensor.shape, tensor.stride(), strict=True)
    last = tensor.storage_offset() + sum((size - 1) * stride for size, stride in steps)
    return tensor.untyped_storage().nbytes() >= (last + 1) * tensor.element_size()


def _same(one: Tensor, other: Tensor) -> bool:
    """Equal, where NaN is NaN."""
    if torch.equal(one, other):
        return True
    return one.is_floating_point() and bool(((one == other) | (one.isnan() & other.isnan())).all())


def _items(container: Any) -> list[Any]:
    return list(container.items()) if isinstance(container, dict) else list(container)


def _flat(items: list[Any]) -> Iterator[Any]:
    """Keys and values apart: pairs are made anew each time."""
    for item in items:
        yield from item if isinstance(item, tuple) and len(item) == 2 else (item,)


def _restore_of(generator: Any) -> Callable[[], None]:
    if isinstance(generator, np.random.Generator):
        bits, state = generator.bit_generator, generator.bit_generator.state
        return lambda: setattr(bits, "state", state)
    if isinstance(generator, random.Random):
        python_state = generator.getstate()
        return lambda: generator.setstate(python_state)
    other_state = generator.get_state()
    return lambda: generator.set_state(other_state)


def seed_generator(generator: Any, seed: int) -> None:
    """Seed a generator of Python's, numpy's or torch's."""
    if isinstance(generator, np.random.Generator):
        kind: Callable[[int], Any] = type(generator.bit_generator)
        generator.bit_generator.state = kind(seed).state
    elif isinstance(generator, torch.Generator):
        generator.manual_seed(seed)
    else:
        generator.seed(seed % (1 << 32))
