"""What the tests of faults share: a run with and without the callback, and what it told."""

import contextlib
import functools
import threading
import time
import warnings

import torch
import toys
from toys import Noise, collate, pl, trainer

from rankwatch import RankWatch, RowSampling


class Module(toys.Module):
    """The toy with two blocks instead of three: there are many runs here."""

    def __init__(self, **encoder):
        super().__init__(**{"depth": 2, **encoder})


STEPS = {4, 8, 12}
"""Where `watch` reads in 12 steps: 32 utterances are there after four batches."""


def watch(**arguments):
    return RankWatch(**{"every_n_steps": 4, "rows": RowSampling(n_utterances=32), **arguments})


def batches(change=None, at=(), count=12, size=8):
    """`count` batches that stay as they are, those `at` changed."""
    items = Noise(count * size).items
    made = [collate(items[i * size : (i + 1) * size]) for i in range(count)]
    for index in at:
        made[index] = change(made[index])
    return torch.utils.data.DataLoader(made, batch_size=None)


def fit(folder, *callbacks, make=Module, data=None, **arguments):
    """One run of 12 steps.

    Returns:
        The module, its trainer, and what was told in warnings of ours.
    """
    pl.seed_everything(0)
    module = make()
    run = trainer(folder, *callbacks, **{"max_steps": 12, "logger": False, **arguments})
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        run.fit(module, batches() if data is None else data)
    told = [
        str(warning.message) for warning in caught if str(warning.message).startswith(("RankWatch: ", "evaluation set"))
    ]
    return module, run, [text for text in told if "no logger" not in text]


def fit_untouched(folder, callback, *, others=(), make=Module, data=None, **arguments):
    """The same, and a run with nothing but the model that has to give the same losses and weights, bit for bit.

    Args:
        folder: Where files go.
        callback: Ours.
        others: Further callbacks, which do nothing to the training.
        make: Makes the model.
        data: The loader; it gives the same batches each time.
        arguments: See `fit`.
    """
    module, run, told = fit(folder, callback, *others, make=make, data=data, **arguments)
    plain = _plain(make) if data is None else fit(folder / "plain", make=make, data=data)[0]
    assert run.global_step == 12
    assert torch.tensor(module.losses).equal(torch.tensor(plain.losses))
    for ours, theirs in zip(module.state_dict().values(), plain.state_dict().values(), strict=True):
        assert torch.equal(ours, theirs)
    assert hooks(module) == hooks(plain)
    return module, run, told


@functools.cache
def _plain(make):
    return fit(None, make=make, enable_checkpointing=False)[0]


def steps(callback, source="first_batches"):
    return {reading.step for reading in callback.readings if reading.source == source}


def hooks(module):
    """How many hooks of either kind hang on the module's parts."""
    return sum(len(part._forward_hooks) + len(part._forward_pre_hooks) for part in module.modules())


@contextlib.contextmanager
def no_thread_left():
    """Threads that were begun inside are gone some time later."""
    before = set(threading.enumerate())
    yield
    until = time.monotonic() + 60
    while set(threading.enumerate()) - before and time.monotonic() < until:
        time.sleep(0.05)
    assert not set(threading.enumerate()) - before
