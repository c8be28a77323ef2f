"""Copies of nested tensors, each of which is made once."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from rankwatch.extraction.inputs.containers import map_tensors


class Copies:
    """Copies of nested tensors; a tensor that turns up twice is copied once, unless it was written into in between.

    Tensors are always copied, also from CPU to CPU: models and loaders write into their batches. The
    originals are referenced until this object goes, so that none of their identities is given to another tensor.

    Args:
        device: Where to; None copies nothing.
        dtype: What float32 tensors are turned into; None leaves them.
    """

    def __init__(self, device: torch.device | str | None, dtype: torch.dtype | None = None) -> None:
        self._device = device
        self._dtype = dtype
        self._memo: dict[tuple[int, int], tuple[Tensor, Tensor]] = {}

    def __call__(self, thing: Any) -> Any:
        """`thing` with its tensors copied; everything else is kept as it is."""
        return thing if self._device is None else map_tensors(thing, self._copy)

    def _copy(self, tensor: Tensor) -> Tensor:
        key = (id(tensor), 0 if tensor.is_inference() else tensor._version)
        if key not in self._memo:
            dtype = self._dtype if tensor.dtype == torch.float32 else None
            self._memo[key] = (tensor, tensor.detach().to(self._device, dtype or tensor.dtype, copy=True))
        return self._memo[key][1]
