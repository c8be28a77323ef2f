"""Run the user's model in eval mode and leave it exactly as it was found."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import nn
from torch.nn.parameter import is_lazy

from rankwatch.extraction.execution.held_back_logs import held_back_logs
from rankwatch.extraction.state.known_changes import KnownChanges
from rankwatch.extraction.state.positions import seed_generator
from rankwatch.extraction.state.snapshot import ModelSnapshot


@contextlib.contextmanager
def preserved_random_state(device: torch.device | None = None, seed: int | None = None) -> Iterator[None]:
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
def preserved_model(root: nn.Module, seed: int | None = None, changes: KnownChanges | None = None) -> Iterator[None]:
    """Eval mode for a while: modes, buffers, attributes and random generators are afterwards as before.

    Attributes are whatever the user's own modules hold besides their parameters: counters and switches, tables and what
    is remembered of their size, caches in lists and dicts, random generators of their own. What belongs together comes
    back together; what can't is in `changes` afterwards. Loggers hear nothing of what is run inside. Gradients are off
    by `torch.no_grad` and not by inference mode: tensors that a model caches during the pass would otherwise be
    unusable in the next training step.

    Args:
        root: The whole model; every submodule's own mode is restored, frozen parts in eval mode stay so.
        seed: Seeds the random generators inside: masks that a model draws in eval mode are the same each time.
        changes: What is known of the model from passes before; is added to.
    """
    snapshot = ModelSnapshot(root, changes)
    device = next((p.device for p in root.parameters()), None)
    try:
        with preserved_random_state(device, seed), torch.no_grad(), held_back_logs():
            snapshot.lend_iterators()
            root.eval()
            for generator in snapshot.generators if seed is not None else []:
                seed_generator(generator, seed or 0)
            yield
    finally:
        with torch.no_grad():
            snapshot.restore()


class ChangedParameters(ValueError):  # noqa: N818 - said to the user by this name
    """A forward pass in eval mode wrote into parameters; they have been put back."""


@contextlib.contextmanager
def unchanged_parameters(root: nn.Module) -> Iterator[None]:
    """Put parameters back that a forward pass has written into (a teacher moved along, say).

    Costs a copy of the parameters in the host's memory, so it is for a first pass, to see whether that happens.

    Raises:
        ChangedParameters: On the way out, where some were changed; names them.
    """
    before = {
        name: (p, p.detach().to("cpu", copy=True))
        for name, p in root.named_parameters()
        if not (p.is_meta or is_lazy(p))
    }
    try:
        yield
    finally:
        changed = [name for name, (p, content) in before.items() if not torch.equal(p.detach().cpu(), content)]
        with torch.no_grad():
            for name in changed:
                parameter, content = before[name]
                parameter.data.copy_(content)
    finite = [name for name in changed if bool(before[name][1].isfinite().all())]
    if finite:
        raise ChangedParameters(
            f"a forward pass in eval mode changes parameters ({', '.join(finite[:3])}, {len(finite)} in all), so this "
            "model can't be run on an evaluation set; pass a forward that changes none together with the set, for "
            'example AudioFolder("folder", forward=f) with f(module, batch)'
        )
