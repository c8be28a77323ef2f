"""What later readings are compared with: each layer's rows of two earlier ones, small."""

from __future__ import annotations

from collections.abc import Mapping, Set
from dataclasses import dataclass, replace
from typing import Any

import torch

from rankwatch.extraction.rows.row_buffer import Rows
from rankwatch.numerics.similarity.resolvents.balanced_whitening import Whitened
from rankwatch.numerics.similarity.resolvents.stored_representation import StoredRepresentation
from rankwatch.readings.drift.drift_rows import DriftRows
from rankwatch.readings.drift.layer_drift import FIRST, PREVIOUS, LayerDrift
from rankwatch.readings.reading import Key, Reading
from rankwatch.runtime.plain_data import from_plain, to_plain


@dataclass(frozen=True)
class EarlierReading:
    """A layer's rows at an earlier reading.

    Attributes:
        step: Optimiser steps taken.
        protocol: Id of the conditions.
        keys: (g,) int64 utterances, in the order of the rows.
        rows: Whitened and in half precision.
    """

    step: int
    protocol: str
    keys: torch.Tensor
    rows: StoredRepresentation

    def is_outdated(self, now: EarlierReading) -> bool:
        """Whether no later reading can be compared with it.

        With fewer utterances there are fewer columns, too, but only as long as a process is missing.

        Returns:
            True where the protocol is another, where there are other columns for the same utterances, and where
            utterances have come that it hasn't: the set is another one, or a process was missing when it was made.
        """
        same_utterances = torch.equal(self.keys, now.keys)
        other_columns = same_utterances and self.rows.rows.shape[1] != now.rows.rows.shape[1]
        return self.protocol != now.protocol or other_columns or not bool(torch.isin(now.keys, self.keys).all())

    def is_comparable(self, other: EarlierReading) -> bool:
        """Whether both are of the same utterances and frames under the same protocol."""
        return (
            self.protocol == other.protocol
            and torch.equal(self.keys, other.keys)
            and torch.equal(self.rows.sizes, other.rows.sizes)
            and self.rows.rows.shape == other.rows.rows.shape
        )


class DriftMemory:
    """Compares each full reading of a curve with the one before and with the first one after the warm-up.

    Of each curve two readings are remembered, at most (rows) x 49 numbers of two bytes each: 0.2 MB for 2,048 rows.
    They go into the checkpoint, so that a restarted run goes on exactly.
    """

    def __init__(self) -> None:
        self._earlier: dict[Key, dict[str, EarlierReading]] = {}

    def take(self, reading: Reading, rows: Rows, *, seed: int, settled: bool) -> Reading:
        """Compare a full reading with earlier ones, and remember it.

        Args:
            reading: The reading.
            rows: All of its rows.
            seed: Seed of the projection.
            settled: Whether the warm-up is over, so that this may be the first reading after it.

        Returns:
            The reading with its drift. There is none where nothing comparable was remembered: at a run's start, where
            the protocol or the utterances are others than before, and where some row isn't finite.
        """
        chosen = DriftRows.of(rows, seed)
        stored = None if chosen is None else chosen.stored()
        if chosen is None or stored is None:
            return reading
        now = EarlierReading(reading.step, reading.protocol.id, chosen.keys, stored)
        earlier = self._earlier.setdefault(reading.key, {})
        first = earlier.get(FIRST)
        if first is not None and first.is_outdated(now):
            del earlier[FIRST]
        white, found = stored.whitened(), dict[int, LayerDrift]()
        drift = []
        for since in (PREVIOUS, FIRST):
            before = earlier.get(since)
            if before is None or not before.is_comparable(now):
                continue
            if before.step not in found:  # the first reading may be the previous one
                found[before.step] = _drift(before, now, white)
            drift.append(replace(found[before.step], since=since))
        earlier[PREVIOUS] = now
        if settled:
            earlier.setdefault(FIRST, now)
        return replace(reading, drift=tuple(drift))

    def state_dict(self) -> list[Any]:
        """Lists, numbers, strings and tensors; loads with ``weights_only=True``."""
        return [
            [list(key), {since: to_plain(one) for since, one in earlier.items()}]
            for key, earlier in self._earlier.items()
        ]

    def load_state_dict(self, state: list[Any], curves: Set[Key]) -> None:
        """Go on from what `state_dict` gave, for the curves that still exist."""
        self._earlier = {
            (key[0], key[1], key[2]): {since: from_plain(EarlierReading, _on_cpu(one)) for since, one in plain.items()}
            for key, plain in state
            if tuple(key) in curves
        }


def _drift(before: EarlierReading, now: EarlierReading, white: Whitened) -> LayerDrift:
    found = before.rows.similarity_to(now.rows, white)
    low = None if found.high is None else 1.0 - found.high
    high = None if found.low is None else 1.0 - found.low
    return LayerDrift(PREVIOUS, before.step, 1.0 - found.value, low, high, found.status)


def _on_cpu(plain: Any) -> Any:
    """A checkpoint may be loaded onto a GPU."""
    if isinstance(plain, Mapping):
        return {name: _on_cpu(value) for name, value in plain.items()}
    return plain.cpu() if isinstance(plain, torch.Tensor) else plain
