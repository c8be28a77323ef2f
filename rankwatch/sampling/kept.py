"""What a module has besides its parameters, remembered and put back."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from rankwatch.sampling.paths import WRAPPER_HOMES

_OF_EVERY_MODULE = frozenset(vars(nn.Module()))
_CONTAINERS = (list, dict, set, deque)


class Kept:
    """One module's mode, buffers and attributes, as they are now.

    Attributes are put back by reference, the contents of tensors, lists, dicts, sets and deques among them as well;
    what was added is taken away. Of torch's own modules, wrappers among them, only mode and buffers: FSDP keeps books
    of its own.

    Args:
        module: Itself, not what it contains.
    """

    def __init__(self, module: nn.Module) -> None:
        self._module = module
        self._training = module.training
        self._buffers = dict(module._buffers)
        self._attributes = _attributes(module)
        tensors = [*self._buffers.values(), *self._attributes.values()]
        self._tensors = [(tensor, tensor.detach().clone()) for tensor in tensors if _has_content(tensor)]
        self._contents = [
            (value, list(value.items()) if isinstance(value, dict) else list(value))
            for value in self._attributes.values()
            if isinstance(value, _CONTAINERS)
        ]

    def restore(self) -> None:
        """Put everything back; under `torch.no_grad`."""
        module = self._module
        module.training = self._training
        module._buffers.clear()
        module._buffers.update(self._buffers)  # some models put a new tensor in a buffer's place
        now = _attributes(module)
        for name in now.keys() - self._attributes.keys():
            del vars(module)[name]
        for name, value in self._attributes.items():
            if name not in now or now[name] is not value:
                vars(module)[name] = value
        for tensor, content in self._tensors:
            if not torch.equal(tensor, content):
                tensor.copy_(content)
        for container, items in self._contents:
            _refill(container, items)


def _attributes(module: nn.Module) -> dict[str, Any]:
    if type(module).__module__.startswith(WRAPPER_HOMES):
        return {}
    return {name: value for name, value in vars(module).items() if name not in _OF_EVERY_MODULE}


def _has_content(value: Any) -> bool:
    return isinstance(value, Tensor) and not isinstance(value, nn.Parameter) and not value.is_meta


def _refill(container: Any, items: list[Any]) -> None:
    """Write into a container only where it has changed: identity by identity, so that nothing is compared by value."""
    now = list(container.items()) if isinstance(container, dict) else list(container)
    if isinstance(container, dict):
        same = [(id(k), id(v)) for k, v in now] == [(id(k), id(v)) for k, v in items]
    else:
        same = [id(entry) for entry in now] == [id(entry) for entry in items]
    if same:
        return
    container.clear()
    if isinstance(container, (dict, set)):
        container.update(items)
    else:
        container.extend(items)


class OwnGenerators:
    """Random generators that modules hold themselves: Python's, numpy's and torch's.

    Args:
        root: The whole model.
    """

    def __init__(self, root: nn.Module) -> None:
        held = {id(value): value for module in root.modules() for value in vars(module).values()}
        kinds = (random.Random, np.random.Generator, np.random.RandomState, torch.Generator)
        own = [
            value for value in held.values() if isinstance(value, kinds) and not isinstance(value, random.SystemRandom)
        ]
        self._generators = own
        self._states = [_state(generator) for generator in own]

    def seed(self, seed: int) -> None:
        """Seed them all alike."""
        for generator in self._generators:
            if isinstance(generator, np.random.Generator):
                kind: Callable[[int], Any] = type(generator.bit_generator)
                generator.bit_generator.state = kind(seed).state
            elif isinstance(generator, torch.Generator):
                generator.manual_seed(seed)
            else:
                generator.seed(seed % (1 << 32))

    def restore(self) -> None:
        """Back to where they were."""
        for generator, state in zip(self._generators, self._states, strict=True):
            if isinstance(generator, np.random.Generator):
                generator.bit_generator.state = state
            elif isinstance(generator, random.Random):
                generator.setstate(state)
            else:
                generator.set_state(state)


def _state(generator: Any) -> Any:
    if isinstance(generator, np.random.Generator):
        return generator.bit_generator.state
    return generator.getstate() if isinstance(generator, random.Random) else generator.get_state()
