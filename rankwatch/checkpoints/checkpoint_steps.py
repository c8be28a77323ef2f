"""From which optimiser step a checkpoint is, and what its learning rate was: by what it says, else by its name."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from typing import Any

from torch import Tensor

from rankwatch.checkpoints.stored_checkpoint import StoredCheckpoint

_COUNTERS = ("global_step", "global_steps", "num_updates", "step", "steps", "iteration", "iter", "n_steps")
"""What counters of optimiser steps are called in checkpoints."""

_HOLDERS = ("extra_state", "train_state", "trainer_state", "state", "meta")
"""Entries below which they may stand."""

_OPTIMIZERS = (
    "optimizer_states",
    "optimizer",
    "optimizers",
    "optimizer_state_dict",
    "optim",
    "opt",
    "last_optimizer_state",
)
_NAMED = re.compile(
    r"(?:(?:step|steps|iter|iteration|updates?)[=_\-]?|(?:checkpoint|ckpt)[=_\-]?(?:\d+_(?=\d))?)(\d+)", re.IGNORECASE
)
"""A number after such a word; of fairseq's ``checkpoint_3_4000`` the second one, since the first is the epoch."""
_NUMBER = re.compile(r"\d+")
_DECIMAL = re.compile(r"\d+\.\d+")


def step_in(stored: StoredCheckpoint) -> int | None:
    """The number of optimiser steps that the checkpoint says it was written after.

    Lightning's ``global_step`` counts the steps of each optimiser: where there are several, a step of the model is one
    of all of them; where rankwatch's callback has watched the run, its own count is taken. Of fairseq's the newest
    ``num_updates``, of Hugging Face's Trainer the ``global_step`` in ``trainer_state.json``, of others a counter called
    ``step``, ``iteration`` or the like.

    Args:
        stored: The checkpoint.

    Returns:
        The step, or None where it doesn't say.
    """
    values = stored.values
    watched = next(_watched_steps(values), None)
    if watched is not None:
        return watched
    history = values.get("optimizer_history")
    if isinstance(history, (list, tuple)) and history and isinstance(history[-1], Mapping):
        updates = _whole(history[-1].get("num_updates"))
        if updates is not None:
            return updates
    holders = [values, *(entry for name in _HOLDERS if isinstance(entry := values.get(name), Mapping))]
    counters = (_whole(held.get(name)) for held in holders for name in _COUNTERS)
    found = next((counter for counter in counters if counter is not None), None)
    optimizers = values.get("optimizer_states")
    if found is not None and "pytorch-lightning_version" in values and isinstance(optimizers, (list, tuple)):
        return found // max(len(optimizers), 1)
    return found


def _watched_steps(values: Mapping[str, Any]) -> Iterator[int]:
    """Steps as rankwatch has counted them, in a state of its own that went into the checkpoint."""
    callbacks = values.get("callbacks")
    for held in (callbacks if isinstance(callbacks, Mapping) else {}, values):
        for state in held.values():
            if isinstance(state, Mapping) and {"steps", "monitor", "curves"} <= state.keys():
                steps = state["steps"]
                if isinstance(steps, (list, tuple)) and len(steps) == 3:
                    model, every, hooked = steps  # see `rankwatch.run.optimizers.OptimizerSteps`
                    states = values.get("optimizer_states")
                    several = isinstance(states, (list, tuple)) and len(states) > 1
                    counts = (model,) if several else (values.get("global_step"), every, hooked)
                    found = max((count for one in counts if (count := _whole(one)) is not None), default=None)
                else:
                    found = _whole(steps)
                if found is not None:
                    yield found


def step_in_name(name: str, folder: str = "") -> int | None:
    """The step that a name gives: the number after ``step``, ``iter``, ``checkpoint`` or the like, else the last one.

    Decimals, such as the loss that many put into names, aren't steps.

    Args:
        name: Of a file or folder, without what it is in.
        folder: What it is in: a number after such a word counts where `name` has none, as in ``step-500/model.pt``.

    Returns:
        The step, or None where there is no number.

    Example:
        >>> [step_in_name(name) for name in ("epoch=3-step=500.ckpt", "checkpoint-1000", "last.ckpt")]
        [500, 1000, None]
        >>> step_in_name("checkpoint_2_400.pt"), step_in_name("epoch3_loss0.25.pt")
        (400, 3)
        >>> step_in_name("model.safetensors", "step-500")
        500
    """
    bare = _DECIMAL.sub(" ", re.sub(r"\.[A-Za-z]\w*$", "", name))
    found = _NAMED.findall(bare) or _NUMBER.findall(bare) or _NAMED.findall(folder)
    return int(found[-1]) if found else None


def learning_rate_in(values: Mapping[str, Any]) -> float | None:
    """The highest learning rate of the parameter groups of the optimiser's state, as in a live run.

    Args:
        values: What the checkpoint holds besides its weights.

    Returns:
        It, or None where the checkpoint holds no optimiser's state.
    """
    rates = [rate for name in _OPTIMIZERS for rate in _rates(values.get(name)) if math.isfinite(rate)]
    return max(rates, default=None)


def _rates(state: Any) -> Iterator[float]:
    """Of one optimiser's state, or of several."""
    if isinstance(state, Mapping) and isinstance(state.get("param_groups"), (list, tuple)):
        for group in state["param_groups"]:
            rate = group.get("lr") if isinstance(group, Mapping) else None
            if isinstance(rate, Tensor) and rate.numel() == 1:
                rate = rate.item()
            if isinstance(rate, (int, float)):
                yield float(rate)
    elif isinstance(state, (list, tuple, Mapping)):
        for one in state.values() if isinstance(state, Mapping) else state:
            if isinstance(one, Mapping) and "param_groups" in one:
                yield from _rates(one)


def _whole(value: Any) -> int | None:
    if isinstance(value, Tensor) and value.numel() == 1:
        value = value.item()
    if isinstance(value, bool) or not isinstance(value, (int, float)) or value != value or value < 0:
        return None
    return int(value) if float(value).is_integer() else None
