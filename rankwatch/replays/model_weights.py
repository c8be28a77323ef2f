"""The model of a replay, into which one checkpoint's weights are put after the other."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from rankwatch.analysis.models.model_sources import find_model
from rankwatch.checkpoints.checkpoint_steps import learning_rate_in
from rankwatch.checkpoints.load_weights import LoadedWeights, load_weights
from rankwatch.checkpoints.plain_load import BrokenCheckpointError, plain_load
from rankwatch.checkpoints.stored_checkpoint import on_this_machine, open_checkpoint
from rankwatch.runtime.files.run_paths import RunPath
from rankwatch.runtime.import_path import import_function

_DTYPES = {"bf16-true": torch.bfloat16, "16-true": torch.float16, "64-true": torch.float64}
"""Of Lightning's words for the precision those in which the weights themselves are of another type."""


@dataclass(frozen=True)
class LoadedCheckpoint:
    """What came of one checkpoint.

    Attributes:
        weights: What was loaded, and what didn't fit.
        rate: Learning rate of its optimiser's state, or None.
    """

    weights: LoadedWeights
    rate: float | None


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
            rate = learning_rate_in(stored.values)
            if rate is None and here.is_dir() and (here / "optimizer.pt").exists():
                rate = _rate_of(here / "optimizer.pt")
        if self._prefix is None and weights.prefix and not weights.untouched:
            self._prefix = weights.prefix  # of the next ones it needn't be looked for
        return LoadedCheckpoint(weights, rate)


def _rate_of(file: Path) -> float | None:
    """Of Hugging Face's Trainer, which stores its optimiser apart."""
    try:
        return learning_rate_in({"optimizer": plain_load(file)[0]})
    except BrokenCheckpointError:
        return None


def make_model(source: nn.Module | str | Path, checkpoint: RunPath, precision: str, device: str | None) -> nn.Module:
    """The model that checkpoints are put into.

    Args:
        source: A model or what names one; see `rankwatch.analysis.models.model_sources.find_model`. A class of
            Lightning's that needs arguments is made from the hyperparameters in the first checkpoint.
        checkpoint: The first one.
        precision: The trainer's, which may be one of the weights themselves.
        device: Where it is to run; on the first GPU by default, or where there is none on the CPU.

    Returns:
        The model there. Where there is none, a ValueError says what was tried.
    """
    text = source if isinstance(source, nn.Module) else str(source)
    if isinstance(text, str) and ":" in text and "@" not in text and isinstance(checkpoint, Path):
        text = _with_hyperparameters(text, checkpoint)
    root = find_model(text).root
    place = device or ("cuda" if torch.cuda.is_available() else "cpu")
    return root.to(device=place, dtype=_DTYPES.get(precision))


def _with_hyperparameters(text: str, checkpoint: Path) -> str:
    try:
        factory: Any = import_function(text)
        inspect.signature(factory).bind()
    except TypeError:
        return f"{text}@{checkpoint}" if hasattr(factory, "load_from_checkpoint") and checkpoint.is_file() else text
    except ValueError:
        return text
    return text
