"""Modules of Lightning's, made from the arguments that a checkpoint holds as plain values."""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from rankwatch.checkpoints.plain_load import is_left_out
from rankwatch.checkpoints.stored_checkpoint import StoredCheckpoint

_ARGUMENTS = "hyper_parameters"
_ABOUT = (_ARGUMENTS, "pytorch-lightning_version", "epoch", "global_step")
"""What Lightning needs of a checkpoint to make a module without its weights, with all that begins with hparams."""


def is_lightning_class(factory: object) -> bool:
    """Whether it is a class that reads its own checkpoints, as Lightning's modules do."""
    return hasattr(factory, "load_from_checkpoint")


def from_hyperparameters(factory: Any, name: str, stored: StoredCheckpoint, checkpoint: object) -> nn.Module:
    """An object of a class of Lightning's, without the checkpoint's weights.

    Lightning makes it, from a copy of the checkpoint without weights and with plain values alone: the checkpoint itself
    it would read with its own settings, which before its version 2.6 run whatever is in the file.

    Args:
        factory: The class.
        name: Its import path, for messages.
        stored: The checkpoint, as `open_checkpoint` reads it.
        checkpoint: Its name, for messages.

    Returns:
        The object, on the CPU.

    Raises:
        ValueError: If the checkpoint doesn't hold the arguments as plain values, or they aren't those of the class.
    """
    advice = "name a function without arguments that makes it in place of the class"
    about = {key: value for key, value in stored.values.items() if key in _ABOUT or key.startswith("hparams")}
    foreign = list(_left_out(about.get(_ARGUMENTS)))
    if foreign:
        raise ValueError(
            f"{name} needs arguments, and of those in {checkpoint} these aren't plain, so they aren't read: "
            f"{', '.join(one or 'the whole of them' for one in foreign)}; {advice}, or, if you trust the file, "
            f"allow the classes in its module: torch.serialization.add_safe_globals([...]); it "
            f"holds {', '.join(stored.left_out)}"
        )
    about = {key: value for key, value in about.items() if not list(_left_out(value))}
    try:
        with tempfile.TemporaryDirectory(prefix="rankwatch-") as folder, warnings.catch_warnings():
            for expected in ("Found keys that are in the model", ".*contains no parameters"):
                warnings.filterwarnings("ignore", expected)
            file = Path(folder) / "hyperparameters.ckpt"
            torch.save({**about, "state_dict": {}}, file)
            model: nn.Module = factory.load_from_checkpoint(file, map_location="cpu", strict=False)
    except Exception as error:  # of the user's class
        raise ValueError(
            f"{name} could not be made from the hyperparameters in {checkpoint} "
            f"({type(error).__name__}: {error}); {advice}"
        ) from error
    return model


def _left_out(value: object, name: str = "") -> Iterator[str]:
    """Names of those values in nested arguments that weren't read, ``""`` for all of them."""
    if is_left_out(value):
        yield name
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _left_out(inner, f"{name}.{key}" if name else str(key))
    elif isinstance(value, (list, tuple)):
        for k, inner in enumerate(value):
            yield from _left_out(inner, f"{name}[{k}]")
