"""The model of a replay, into which one checkpoint's weights are put after the other."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from rankwatch.analysis.models.model_sources import find_model
from rankwatch.checkpoints.checkpoint_steps import learning_rate_in, step_in
from rankwatch.checkpoints.deepspeed_folder import optimizer_states
from rankwatch.checkpoints.lightning_modules import from_hyperparameters, is_lightning_class
from rankwatch.checkpoints.load_weights import LoadedWeights, load_weights
from rankwatch.checkpoints.plain_load import BrokenCheckpointError, plain_load
from rankwatch.checkpoints.stored_checkpoint import on_this_machine, open_checkpoint
from rankwatch.replays.run_settings.trainer_precision import WEIGHT_DTYPES
from rankwatch.runtime.files.run_paths import RunPath
from rankwatch.runtime.import_path import import_function


@dataclass(frozen=True)
class LoadedCheckpoint:
    """What came of one checkpoint.

    Attributes:
        weights: What was loaded, and what didn't fit.
        rate: Learning rate of its optimiser's state, or None.
        step: The step that it says it is from, or None.
    """

    weights: LoadedWeights
    rate: float | None
    step: int | None


class ModelWeights:
    """One model in memory, and one checkpoint's weights at a time.

    Args:
        model: The model.
        part: Which weights, where a checkpoint holds several; see `rankwatch.checkpoints.weights_by_name`.
        prefix: What the checkpoints' names begin with, or None to find it.
    """

    def __init__(self, model: nn.Module, part: str = "", prefix: str | None = None) -> None:
        self.model = model
        self._part = part
        self._prefix = prefix

    def load(self, path: RunPath) -> LoadedCheckpoint:
        """Put a checkpoint's weights into the model.

        Args:
            path: A checkpoint, here or in a store, from which it is copied to this machine for a moment.

        Returns:
            What came of it. A checkpoint that can't be read, or is of another model, raises a ValueError that names it.
        """
        with on_this_machine(path) as here:
            stored = open_checkpoint(here)
            weights = load_weights(
                self.model, stored.weights(self._part), prefix=self._prefix, partly=True, source=path
            )
            rate, step = learning_rate_in(stored.values), step_in(stored)
            if rate is None and here.is_dir():
                rate = _rate_beside(here)
        if self._prefix is None and weights.prefix and not weights.untouched:
            self._prefix = weights.prefix  # of the next ones it needn't be looked for
        return LoadedCheckpoint(weights, rate, step)


def _rate_beside(folder: Path) -> float | None:
    """Of what stores its optimiser in a file apart: Hugging Face's Trainer, and DeepSpeed with ZeRO."""
    apart = folder / "optimizer.pt"
    file = apart if apart.exists() else optimizer_states(folder)
    try:
        return None if file is None else learning_rate_in({"optimizer": _optimizer(plain_load(file)[0])})
    except BrokenCheckpointError:
        return None


def _optimizer(held: Any) -> Any:
    return held.get("optimizer_state_dict", held) if isinstance(held, Mapping) else held


def usable_device(device: str | None) -> str:
    """Where the model is to run.

    Args:
        device: The user's word, or None for the first GPU, or where there is none the CPU.

    Returns:
        The device.

    Raises:
        ValueError: If there is no such device, or it can't be used.
    """
    if device is None:
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:  # the latter where torch was built without it
        reason = str(error).partition("\n")[0]
        raise ValueError(f"device {device!r} can't be used here ({reason}): name another, for example cpu") from error
    return device


def make_model(source: nn.Module | str | Path, checkpoint: RunPath, precision: str, device: str) -> nn.Module:
    """The model that checkpoints are put into.

    Args:
        source: A model or what names one; see `rankwatch.analysis.models.model_sources.find_model`. A class of
            Lightning's that needs arguments is made from the hyperparameters in the first checkpoint.
        checkpoint: The first one.
        precision: The trainer's, which may be one of the weights themselves.
        device: Where it is to run.

    Returns:
        The model there. Where there is none, a ValueError says what was tried.
    """
    root = None
    if not isinstance(source, nn.Module) and ":" in str(source) and "@" not in str(source):
        root = _of_hyperparameters(str(source), checkpoint)
    if root is None:
        root = find_model(source).root
    return root.to(device=device, dtype=WEIGHT_DTYPES.get(precision))


def _of_hyperparameters(text: str, checkpoint: RunPath) -> nn.Module | None:
    """An object of a class of Lightning's that needs arguments; None where the text names something else."""
    try:
        factory: Any = import_function(text)
        inspect.signature(factory).bind()
        return None
    except ValueError:
        return None
    except TypeError:
        if not is_lightning_class(factory):
            return None
    with on_this_machine(checkpoint) as here:
        return from_hyperparameters(factory, text, open_checkpoint(here), checkpoint)
