"""Precisions as trainers call them: which context a forward pass runs in, and of which type the weights are."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import torch

_MIXED = {"bf16-mixed": torch.bfloat16, "16-mixed": torch.float16, "bf16": torch.bfloat16, "16": torch.float16}

WEIGHT_DTYPES = {"bf16-true": torch.bfloat16, "16-true": torch.float16, "64-true": torch.float64}
"""Those in which the weights themselves are of another type than float32."""

_SINGLE = ("32-true", "32")


def checked_precision(asked: str | None, of_run: str | None) -> tuple[str, list[str]]:
    """The precision in which checkpoints are read.

    Args:
        asked: The user's, or None for that of the run.
        of_run: That of the run whose settings are taken over, or None.

    Returns:
        The precision, and in sentences what isn't as it was in the run.

    Raises:
        ValueError: For a word of the user's that stands for no precision, with those that do.
    """
    known = (*_SINGLE, *_MIXED, *WEIGHT_DTYPES)
    if asked is not None and asked not in known:
        raise ValueError(f"precision {asked!r} isn't known: name one of {', '.join(known)}")
    precision = asked or of_run or _SINGLE[0]
    if precision in known:
        return precision, []
    return precision, [f"the run's precision {precision!r} isn't one that a replay knows: it reads in {_SINGLE[0]}"]


def autocast_of(precision: str, device: str) -> Callable[[], contextlib.AbstractContextManager[Any]]:
    """The context in which a trainer of that precision runs a forward pass.

    Args:
        precision: As Lightning and Hugging Face's Trainer call it; any other word stands for no context.
        device: Where the model is.

    Returns:
        A function that gives the context.
    """
    if precision in _MIXED:
        return lambda: torch.autocast(device, _MIXED[precision])
    if precision in WEIGHT_DTYPES:
        return lambda: _default_dtype(WEIGHT_DTYPES[precision])
    return contextlib.nullcontext


@contextlib.contextmanager
def _default_dtype(dtype: torch.dtype) -> Iterator[None]:
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)
