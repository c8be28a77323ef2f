"""Notices that training is given one batch again and again."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from rankwatch.extraction.inputs.utterance_keys import fingerprint, primary_input

_UTTERANCES = 4
"""Of each batch the first ones are enough."""


class RepeatedBatches:
    """Compares the last batch before each reading with the first one after it, by keys of their samples.

    Keys are made where the batch is, and compared at the next reading: a training step doesn't wait for the device, and
    one in which nothing is read has nothing to do. Where a batch holds no audio (indices alone, an object of the
    user's), nothing is said.
    """

    def __init__(self) -> None:
        self._before: list[Tensor] = []
        self._pair: list[Tensor] = []
        self._after_reading = False
        self._readable = True

    def see(self, batch: Any, *, before_reading: bool) -> None:
        """Before a training batch's forward pass.

        Args:
            batch: As the loader gave it.
            before_reading: Whether a reading follows this optimiser step.
        """
        before = before_reading and not self._before
        if not self._readable or not (before or self._after_reading):
            return
        try:
            key = fingerprint(primary_input(batch)[:_UTTERANCES])
        except (ValueError, RuntimeError, NotImplementedError):
            self._readable = False
            return
        if self._after_reading:
            self._pair.append(key)
            self._after_reading = False
        if before:
            self._before = [key]

    def take(self) -> bool:
        """At a reading, about the one before; begins anew.

        Returns:
            True where the batches before and after the last reading begin with the same utterances.
        """
        pair = self._pair
        self._pair, self._before, self._after_reading = self._before, [], True
        return len(pair) == 2 and torch.equal(*pair)
