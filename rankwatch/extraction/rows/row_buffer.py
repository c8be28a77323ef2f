"""A window: the rows that one reading gathers, per level and layer, on this process."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from rankwatch.extraction.rows.row_labels import Labels, unlabelled
from rankwatch.extraction.rows.row_sampling import SampledRows, whole_sample

Key = tuple[str, str, str]
"""(source, level, layer)."""


class Rows(NamedTuple):
    """Rows of one layer and level, on the CPU.

    Attributes:
        rows: (n, d) float32.
        groups: (n,) int64, the utterance key of each.
        rounding: (n,) float64, variance of each row's rounding, summed over its columns.
        samples: (n,) uint8, the samples that each belongs to: `FULL`, `BRIEF` or both (see `row_sampling`).
        labels: (n, 2) int64, label and speaker of each or -1; (n, 0) where the source has no labels at this level.
    """

    rows: Tensor
    groups: Tensor
    rounding: Tensor
    samples: Tensor
    labels: Tensor

    def of(self, sample: int) -> Rows:
        """The rows of one of the samples."""
        wanted = (self.samples & sample) != 0
        return self if bool(wanted.all()) else Rows(*(part[wanted] for part in self))

    @classmethod
    def joined(cls, parts: Sequence[Rows]) -> Rows:
        """All of them together; RuntimeError, from torch, where they are of different widths."""
        return cls(*(torch.cat(some) for some in zip(*parts, strict=True)))


class RowBuffer:
    """Collects `SampledRows` rows.

    Args:
        source: Name of the evaluation set, or ``"train"``.
        levels: Wanted levels.
    """

    def __init__(self, source: str, levels: Sequence[str]) -> None:
        self.source = source
        self._levels = levels
        self._rows: dict[tuple[str, str], list[Rows]] = defaultdict(list)
        self.utterances = 0
        self.dropped = 0

    def add(
        self,
        drawn: Mapping[str, SampledRows],
        used: int,
        labels: Labels | None = None,
        levels: Sequence[str] | None = None,
    ) -> None:
        """Take in the rows of one forward pass.

        Args:
            drawn: The rows, by layer.
            used: Utterances that they are of.
            labels: Of the set's utterances, where there are any.
            levels: Which of the wanted levels were drawn; all by default.
        """
        wanted = [level for level in self._levels if levels is None or level in levels]
        self.utterances += used
        self.dropped += max((rows.dropped for rows in drawn.values()), default=0)
        for layer, rows in drawn.items():
            if "frame" in wanted:
                keys = rows.frame_keys
                known = unlabelled(len(keys)) if labels is None else labels.of_frames(keys, rows.frame_places)
                some = Rows(rows.frame_rows, keys, rows.frame_rounding, rows.frame_samples, known)
                self._rows["frame", layer].append(some)
            if "utterance" in wanted:
                keys = rows.utterance_keys
                known = unlabelled(len(keys)) if labels is None else labels.of_utterances(keys)
                some = Rows(rows.utterance_rows, keys, rows.utterance_rounding, whole_sample(keys), known)
                self._rows["utterance", layer].append(some)

    @property
    def keys(self) -> list[tuple[str, str]]:
        """Levels and layers that are there."""
        return list(self._rows)

    def take(self, level: str, layer: str) -> Rows:
        """Remove and return the rows of one level and layer; RuntimeError where the layer's width has changed."""
        return Rows.joined(self._rows.pop((level, layer)))
