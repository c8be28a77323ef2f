"""What the tests of faults share: a run with and without the callback, and what it told."""

import contextlib
import threading
import time
import warnings

import lightning.pytorch as pl
import torch
from toys import Module, Noise, collate, trainer

from rankwatch import RankWatch

STEPS = {4, 8, 12}
"""Where `watch` reads in 12 steps: 32 utterances are there after four batches."""


def watch(**arguments):
    return RankWatch(**{"every_n_steps": 4, "n_utterances": 32, **arguments})


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
    pl.seed_everything(0, verbose=False)
    module = make()
    run = trainer(folder, *callbacks, **{"max_steps": 12, "logger": False, **arguments})
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        run.fit(module, batches() if data is None else data)
    told = [str(warning.message) for warning in caught if str(warning.message).startswith(("RankWatch: ", "probe set"))]
    return module, run, [text for text in told if "no logger" not in text]


def fit_untouched(folder, callback, *, others=list, **arguments):
    """The same, and a run without the callback that has to give the same losses and weights, bit for bit.

    Args:
        folder: Where both write.
        callback: Ours.
        others: Makes further callbacks, for each run anew.
        arguments: See `fit`.
    """
    module, run, told = fit(folder / "watched", callback, *others(), **arguments)
    plain, _, _ = fit(folder / "plain", *others(), **arguments)
    assert run.global_step == 12
    assert torch.tensor(module.losses).equal(torch.tensor(plain.losses))
    for ours, theirs in zip(module.state_dict().values(), plain.state_dict().values(), strict=True):
        assert torch.equal(ours, theirs)
    assert hooks(module) == hooks(plain)
    return module, run, told


def steps(callback, source="held_back"):
    return {reading.step for reading in callback.readings if reading.source == source}


def hooks(module):
    """How many hooks of either kind hang on the module's parts."""
    return sum(len(part._forward_hooks) + len(part._forward_pre_hooks) for part in module.modules())


@contextlib.contextmanager
def no_thread_left():
    """Threads that were begun inside are gone within a few seconds."""
    before = set(threading.enumerate())
    yield
    until = time.monotonic() + 5
    while set(threading.enumerate()) - before and time.monotonic() < until:
        time.sleep(0.05)
    assert not set(threading.enumerate()) - before
