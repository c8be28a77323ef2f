"""Notices that training is given one batch again and again."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from rankwatch.extraction.inputs.utterance_keys import fingerprint, primary_input

_SUCCESSIVE = 3
"""Batches that are compared, after each reading."""

_UTTERANCES = 4
"""Of each batch the first ones are enough."""


class RepeatedBatches:
    """Compares the first batches after each reading with each other, by keys of their samples.

    Keys are made where the batch is, and compared when they are taken: a training step doesn't wait for the device.
    Where a batch holds no audio (indices alone, an object of the user's), nothing is said.
    """

    def __init__(self) -> None:
        self._keys: list[Tensor] = []
        self._readable = True

    def see(self, batch: Any) -> None:
        """Before a training batch's forward pass; one pass over the samples of few batches, else nothing.

        Args:
            batch: As the loader gave it.
        """
        if not self._readable or len(self._keys) >= _SUCCESSIVE:
            return
        try:
            self._keys.append(fingerprint(primary_input(batch)[:_UTTERANCES]))
        except (ValueError, RuntimeError, NotImplementedError):
            self._readable = False

    def take(self) -> bool:
        """At a reading: whether the batches since the last one were alike; begins anew.

        Returns:
            True where as many as are compared begin with the same utterances.
        """
        keys, self._keys = self._keys, []
        return len(keys) == _SUCCESSIVE and all(torch.equal(keys[0], other) for other in keys[1:])
