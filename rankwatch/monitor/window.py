"""A window: the rows that one reading gathers, per level and layer, on this process."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from rankwatch.numerics import Sample
from rankwatch.sampling.draw import Drawn

Samples = dict[tuple[str, str, str], Sample]
"""(source, level, layer) -> the rows gathered."""


class Window:
    """Collects `Drawn` rows and makes samples of them.

    Args:
        source: Name of the probe set, or ``"train"``.
        levels: Wanted levels.
        projection: Width of a layer -> columns to project its rows to, or None.
        seed: Seed of the projection.
    """

    def __init__(
        self, source: str, levels: tuple[str, ...], projection: Callable[[int], int | None], seed: int = 0
    ) -> None:
        self.source = source
        self._levels = levels
        self._projection = projection
        self._seed = seed
        self._rows: dict[tuple[str, str], list[tuple[Tensor, Tensor, Tensor]]] = defaultdict(list)
        self.utterances = 0
        self.dropped = 0

    def add(self, drawn: Mapping[str, Drawn], used: int) -> None:
        """Take in the rows of one forward pass over `used` utterances."""
        self.utterances += used
        self.dropped += max((rows.dropped for rows in drawn.values()), default=0)
        for layer, rows in drawn.items():
            if "frame" in self._levels:
                self._rows["frame", layer].append((rows.frame_rows, rows.frame_keys, rows.frame_rounding))
            if "utterance" in self._levels:
                parts = (rows.utterance_rows, rows.utterance_keys, rows.utterance_rounding)
                self._rows["utterance", layer].append(parts)

    def samples(self) -> Samples:
        """One sample per level and layer; a layer without a single row has one with n = 0."""
        samples = {}
        for (level, layer), parts in self._rows.items():
            rows, groups, rounding = (torch.cat(some) for some in zip(*parts, strict=True))
            samples[self.source, level, layer] = Sample.from_rows(
                rows,
                groups=groups,
                projection=self._projection(rows.shape[1]),
                seed=self._seed,
                rounding=rounding,
            )
        return samples
