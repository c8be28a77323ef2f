"""Modules whose parameters get their shapes from the first batch: ``nn.LazyLinear`` and its like."""

from __future__ import annotations

import itertools

from torch import Tensor, nn
from torch.nn.parameter import is_lazy


def is_unbuilt(root: nn.Module) -> bool:
    """Whether some parameter or buffer of a model has no shape yet.

    Args:
        root: The model.

    Returns:
        False where the first batch has been through all of it.

    Example:
        >>> import torch
        >>> lazy = nn.Sequential(nn.LazyLinear(8), nn.ReLU())
        >>> before = is_unbuilt(lazy)
        >>> _ = lazy(torch.zeros(2, 4))
        >>> before, is_unbuilt(lazy)
        (True, False)
    """
    return any(is_lazy(tensor) for tensor in itertools.chain(root.parameters(), root.buffers()))


def shape(tensor: Tensor) -> tuple[int, ...]:
    """A tensor's shape; empty where it has none yet."""
    return () if is_lazy(tensor) else tuple(tensor.shape)
