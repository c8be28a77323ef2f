"""Run the user's model in eval mode and leave it exactly as it was found."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

import numpy as np
import torch
from torch import nn

from rankwatch.sampling.paths import WRAPPER_HOMES

_Hook = TypeVar("_Hook", bound=Callable[..., None])


@contextlib.contextmanager
def same_random_state(device: torch.device | None = None, seed: int | None = None) -> Iterator[None]:
    """Restore torch's (CPU and `device`), numpy's and Python's global generators on the way out.

    Args:
        device: Where the model is.
        seed: Seeds them all on the way in, so that what is drawn inside is the same each time.
    """
    devices = [device] if device is not None and device.type not in ("cpu", "meta") else []
    kind = devices[0].type if devices else "cuda"
    python_state, numpy_state = random.getstate(), np.random.get_state()
    try:
        with torch.random.fork_rng(devices=devices, device_type=kind):
            if seed is not None:
                _seed(seed, devices)
            yield
    finally:
        random.setstate(python_state)
        np.random.set_state(numpy_state)


def _seed(seed: int, devices: Sequence[torch.device]) -> None:
    """`torch.manual_seed` would also seed devices whose state isn't restored."""
    random.seed(seed)
    np.random.seed(seed % (1 << 32))
    torch.default_generator.manual_seed(seed)
    for device in devices:
        backend = torch.get_device_module(device)
        with backend.device(device):
            backend.manual_seed(seed)


@contextlib.contextmanager
def undisturbed(root: nn.Module, seed: int | None = None) -> Iterator[None]:
    """Eval mode for a while: modes, buffers, plain attributes and random generators are afterwards as before.

    Plain attributes are numbers, strings, booleans and None: counters and switches, or the number of positions that a
    table in a buffer has. That table and its number come back together.

    Gradients are off by `torch.no_grad` and not by inference mode: tensors that a model caches during the
    pass (positional tables, say) would otherwise be unusable in the next training step.

    Args:
        root: The whole model; every submodule's own mode is restored, frozen parts in eval mode stay so.
        seed: Seeds the random generators inside: masks that a model draws in eval mode are the same each time.
    """
    plain = [(module, _plain_attributes(module)) for module in root.modules()]
    modes = [(module, module.training) for module in root.modules()]
    buffers = [
        (module, name, buffer, buffer.detach().clone())
        for module in root.modules()
        for name, buffer in module._buffers.items()
        if buffer is not None
    ]
    device = next((p.device for p in root.parameters()), None)
    try:
        with same_random_state(device, seed), torch.no_grad():
            root.eval()
            yield
    finally:
        for module, training in modes:
            module.training = training
        for module, before in plain:
            for name, value in before.items():
                if name in vars(module) and vars(module)[name] is not value:
                    vars(module)[name] = value
        with torch.no_grad():
            for module, name, buffer, content in buffers:
                module._buffers[name] = buffer  # some models put a new tensor in its place
                if not torch.equal(buffer, content):
                    buffer.copy_(content)


def _plain_attributes(module: nn.Module) -> dict[str, object]:
    """Those of the user's own modules; wrappers keep books of their own (FSDP, once it has run)."""
    if type(module).__module__.startswith(WRAPPER_HOMES):
        return {}
    kinds = (int, float, str, bool, type(None))
    return {name: value for name, value in vars(module).items() if name != "training" and isinstance(value, kinds)}


@contextlib.contextmanager
def eager() -> Iterator[None]:
    """Compiled code runs eagerly inside, so hooks registered late do fire; its cache is kept.

    Without this a hook registered after the first compiled call silently never fires.
    """
    set_stance = getattr(torch.compiler, "set_stance", None)  # torch 2.6 and newer
    if set_stance is None:
        yield
        return
    with set_stance("force_eager"):
        yield


def never_compiled(hook: _Hook) -> _Hook:
    """A hook that `torch.compile` leaves alone: one graph break instead of a recompilation at every step."""
    disabled: _Hook = torch.compiler.disable(hook)  # type: ignore[no-untyped-call]
    return disabled


def harmless(hook: Callable[..., None], troubles: list[Exception]) -> Callable[..., None]:
    """A hook that never raises within the user's forward pass and that `torch.compile` leaves alone.

    Args:
        hook: What it does.
        troubles: Where an exception goes instead.
    """

    def guarded(*args: object) -> None:
        try:
            hook(*args)
        except Exception as error:
            troubles.append(error)

    return never_compiled(guarded)
