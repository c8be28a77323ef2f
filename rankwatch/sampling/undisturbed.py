"""Run the user's model in eval mode and leave it exactly as it was found."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Callable, Iterator
from typing import TypeVar

import numpy as np
import torch
from torch import nn

_Hook = TypeVar("_Hook", bound=Callable[..., None])


@contextlib.contextmanager
def same_random_state(device: torch.device | None = None) -> Iterator[None]:
    """Restore torch's (CPU and `device`), numpy's and Python's global generators on the way out."""
    devices = [device] if device is not None and device.type not in ("cpu", "meta") else []
    kind = devices[0].type if devices else "cuda"
    python_state, numpy_state = random.getstate(), np.random.get_state()
    try:
        with torch.random.fork_rng(devices=devices, device_type=kind):
            yield
    finally:
        random.setstate(python_state)
        np.random.set_state(numpy_state)


@contextlib.contextmanager
def undisturbed(root: nn.Module) -> Iterator[None]:
    """Eval mode for a while: modes, buffers and random generators are afterwards as before.

    Gradients are off by `torch.no_grad` and not by inference mode: tensors that a model caches during the
    pass (positional tables, say) would otherwise be unusable in the next training step.

    Args:
        root: The whole model; every submodule's own mode is restored, frozen parts in eval mode stay so.
    """
    modes = [(module, module.training) for module in root.modules()]
    buffers = [
        (module, name, buffer, buffer.detach().clone())
        for module in root.modules()
        for name, buffer in module._buffers.items()
        if buffer is not None
    ]
    device = next((p.device for p in root.parameters()), None)
    try:
        with same_random_state(device), torch.no_grad():
            root.eval()
            yield
    finally:
        for module, training in modes:
            module.training = training
        with torch.no_grad():
            for module, name, buffer, before in buffers:
                module._buffers[name] = buffer  # some models put a new tensor in its place
                if not torch.equal(buffer, before):
                    buffer.copy_(before)


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
