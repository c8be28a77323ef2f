"""Which frames lay under the mask of a self-supervised training call, where the call shows it."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from rankwatch.sampling.candidates import named_arguments
from rankwatch.sampling.downsampling import TRIM
from rankwatch.sampling.nested import walk

_MASK = re.compile(r"mask", re.IGNORECASE)
_OTHER_MASKS = re.compile(r"att|pad|len|loss|channel|feat|spec|causal|key|src|tgt", re.IGNORECASE)
_TIME = re.compile(r"time", re.IGNORECASE)


def time_masks(
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
    batch: Any,
    *,
    batch_size: int,
    forward: Callable[..., Any] | inspect.Signature | None = None,
) -> list[Tensor]:
    """Masks over frames that a call was given: boolean or 0/1, (B, T), 1 = replaced by the mask's embedding.

    Known by their names (``mask_time_indices``, ``mask_indices``, ``mask``) as far as these don't speak of attention,
    padding, channels or a loss; one whose name doesn't say "time" also has to be of a form that lengths can't have: in
    some row it changes more than once.

    Args:
        args: Positional arguments of the backbone's call.
        kwargs: Its keyword arguments.
        batch: The loader's batch.
        batch_size: B.
        forward: The backbone's forward pass, which names positional arguments.

    Returns:
        Boolean masks, those of the call first.

    Example:
        >>> mask = torch.tensor([[0, 1, 1, 0], [1, 0, 0, 1]])
        >>> [found.tolist() for found in time_masks((), {"mask": mask}, None, batch_size=2)]
        [[[False, True, True, False], [True, False, False, True]]]
    """
    found: dict[int, Tensor] = {}
    for thing in (named_arguments(args, kwargs, forward), batch):
        for path, leaf in walk(thing):
            name = path.rpartition(".")[2]
            if isinstance(leaf, Tensor) and leaf.shape[:1] == (batch_size,) and leaf.ndim == 2 and _named(name):
                mask = _boolean(leaf)
                if mask is not None and (_TIME.search(name) or _changes_twice(mask)):
                    found.setdefault(id(leaf), mask)
    return list(found.values())


def mask_of(masks: Sequence[Tensor], frames: int) -> Tensor | None:
    """The mask over a layer's frames: the first as long as it, or at most `TRIM` longer (then cut off behind)."""
    for mask in sorted(masks, key=lambda mask: mask.shape[1]):
        if frames <= mask.shape[1] <= frames + TRIM:
            return mask[:, :frames]
    return None


def _named(name: str) -> bool:
    return _MASK.search(name) is not None and _OTHER_MASKS.search(name) is None


def _boolean(leaf: Tensor) -> Tensor | None:
    if leaf.dtype != torch.bool and bool(((leaf != 0) & (leaf != 1)).any()):
        return None
    return leaf.detach().bool().cpu()


def _changes_twice(mask: Tensor) -> bool:
    return bool(((mask[:, 1:] ^ mask[:, :-1]).sum(dim=1) > 1).any())
