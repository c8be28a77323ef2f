"""From the rows of one utterance after the other to tables of all, of which one layer is in memory at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from rankwatch.analysis.rows.row_tables import FRAME, UTTERANCE, RowTable
from rankwatch.analysis.rows.sequences.sequence_tables import SequenceTable
from rankwatch.analysis.rows.utterance_rows import UtteranceRows, by_label
from rankwatch.numerics.rows.rows_on_disk import RowsOnDisk

TOGETHER = 16
"""Utterances whose rows are in memory before they are written."""


_CELLS = "cells of whole utterances"
"""What these rows are called."""


class TableWriter:
    """Takes the rows of utterances in order, and gives tables of them.

    Rows wait in memory for a few utterances and lie in files by kind and layer then; of the utterances remain their
    names, the labels and places of rows, the acoustics and how long each layer took.

    Args:
        layers: Paths of the layers, which every utterance has.
    """

    def __init__(self, layers: Sequence[str]) -> None:
        self._layers = list(layers)
        self._rows = RowsOnDisk()
        self._waiting: list[UtteranceRows] = []
        self._spans: dict[str, list[tuple[int, list[str], list[int]]]] = {}
        self._sequences: dict[str, list[tuple[int, list[int], dict[str, list[int]]]]] = {}
        self._acoustics: list[Tensor] = []
        self._cells: list[tuple[int, int]] = []
        self.ids: list[str] = []
        """Of the utterances."""
        self.clocks: list[dict[str, float]] = []
        """Seconds of each utterance's forward pass by layer."""

    def add(self, rows: UtteranceRows) -> None:
        """Take the next utterance."""
        for tier, spans in rows.spans.items():
            self._spans.setdefault(tier, []).append((len(self.ids), spans.labels, spans.places))
        for tier, found in rows.sequences.items():
            if found.places:
                self._sequences.setdefault(tier, []).append((len(self.ids), found.places, found.lengths))
        count = len(next(iter(rows.cells.values()), ()))
        self._cells += [(len(self.ids), count)] if count else []
        self.ids.append(rows.id)
        self.clocks.append(rows.clock)
        self._acoustics.append(rows.acoustics)
        self._waiting.append(rows)
        if len(self._waiting) >= TOGETHER:
            self._write()

    def _write(self) -> None:
        parts, self._waiting = self._waiting, []
        for layer in self._layers if parts else ():
            self._rows.append((FRAME, layer), torch.cat([p.frames[layer] for p in parts]))
            self._rows.append((UTTERANCE, layer), torch.stack([p.mean[layer] for p in parts]))
            for tier in {tier: None for p in parts for tier in p.spans}:
                of_tier = torch.cat([p.spans[tier].rows[layer] for p in parts if tier in p.spans])
                self._rows.append((tier, layer), of_tier)
            for tier in {tier: None for p in parts for tier, found in p.sequences.items() if found.places}:
                of_tier = torch.cat([p.sequences[tier].frames[layer] for p in parts if tier in p.sequences])
                self._rows.append((_sequence(tier), layer), of_tier)
            if any(len(p.cells.get(layer, ())) for p in parts):
                self._rows.append((_CELLS, layer), torch.cat([p.cells[layer] for p in parts if p.cells]))

    @property
    def acoustics(self) -> Tensor:
        """(n, 80) log-mel spectra at the rows of `FRAME`."""
        return torch.cat(self._acoustics)

    def width(self, layer: str) -> int:
        """Columns of a layer."""
        self._write()
        return int(self._rows[UTTERANCE, layer].shape[1])

    def tables(self, tiers: Sequence[str]) -> dict[str, RowTable]:
        """Tables by kind.

        Args:
            tiers: Tiers of spans that are wanted.

        Returns:
            Those of frames and utterance means, and of every tier that has rows.
        """
        self._write()
        numbers, counts = np.arange(len(self.ids)), [len(one) for one in self._acoustics]
        keys = tuple((name, k) for name, count in zip(self.ids, counts, strict=True) for k in range(count))
        found = {
            FRAME: RowTable(self._of_kind(FRAME), np.repeat(numbers, counts), None, keys),
            UTTERANCE: RowTable(self._of_kind(UTTERANCE), numbers, None, tuple((name, 0) for name in self.ids)),
        }
        return found | self._span_tables(tiers, lambda tier: tier)

    def tables_by_label(self, published: Mapping[str, object] | None) -> dict[str, RowTable] | None:
        """Tables of spans that were drawn by label, by tier; None where none was asked for."""
        return None if published is None else self._span_tables(list(published), by_label)

    def cells(self) -> RowTable | None:
        """Cells of whole utterances, in order; None where there are none."""
        self._write()
        if not self._cells:
            return None
        numbers, counts = zip(*self._cells, strict=True)
        keys = tuple((self.ids[number], k) for number, count in self._cells for k in range(count))
        return RowTable(self._of_kind(_CELLS), np.repeat(numbers, counts), None, keys)

    def sequences(self, tiers: Sequence[str]) -> dict[str, SequenceTable]:
        """Frames of whole spans of the tiers that have some, by tier."""
        self._write()
        found = {}
        for tier in tiers:
            having = self._sequences.get(tier, [])
            if having:
                counts = [len(places) for _, places, _ in having]
                found[tier] = SequenceTable(
                    self._of_kind(_sequence(tier)),
                    {one: np.concatenate([lengths[one] for _, _, lengths in having]) for one in self._layers},
                    np.repeat([number for number, _, _ in having], counts),
                    np.concatenate([places for _, places, _ in having]),
                )
        return found

    def _span_tables(self, tiers: Sequence[str], name_of: Callable[[str], str]) -> dict[str, RowTable]:
        found = {}
        for tier in tiers:
            having = self._spans.get(name_of(tier), [])
            labels = [label for _, of_utterance, _ in having for label in of_utterance]
            if labels:
                found[tier] = RowTable(
                    self._of_kind(name_of(tier)),
                    np.repeat([number for number, _, _ in having], [len(one) for _, one, _ in having]),
                    np.asarray(labels),
                    tuple((self.ids[number], place) for number, _, places in having for place in places),
                )
        return found

    def _of_kind(self, kind: str) -> Mapping[str, Tensor]:
        return _OfKind(self._rows, kind, self._layers)


def _sequence(tier: str) -> str:
    """What the rows of whole spans of a tier are called."""
    return f"{tier} frame by frame"


class _OfKind(Mapping[str, Tensor]):
    """The rows of one kind by layer, read when they are asked for."""

    def __init__(self, rows: RowsOnDisk, kind: str, layers: Sequence[str]) -> None:
        self._rows, self._kind, self._layers = rows, kind, layers

    def __getitem__(self, layer: str) -> Tensor:
        return self._rows[self._kind, layer]

    def __iter__(self) -> Iterator[str]:
        return iter(self._layers)

    def __len__(self) -> int:
        return len(self._layers)
