"""All rows of a model: tables of frames, utterance means and spans, with which utterance each row is of."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rankwatch.analysis.models.depth_cost import DepthCost
from rankwatch.analysis.rows.sequences.abx_draws import AbxDraw
from rankwatch.analysis.rows.sequences.sequence_tables import SequenceTable
from rankwatch.corpora import Utterance

FRAME, UTTERANCE = "frame", "utterance"
"""Names of the tables of frames and of utterance means; a tier of spans has its own name."""

SPEAKER = "speaker"
"""Name of the column of speakers."""


@dataclass(frozen=True)
class RowTable:
    """Rows of one kind in all layers.

    Attributes:
        rows: (n, d) by layer, in memory or read when they are asked for.
        utterances: (n,) which utterance each row is of.
        labels: (n,) label of each row, where rows are spans.
        keys: What each row is, the same for all models: the utterance's id and the row's place in it.
    """

    rows: Mapping[str, Tensor]
    utterances: NDArray[np.int64]
    labels: NDArray[np.str_] | None
    keys: tuple[tuple[str, int], ...]

    def __len__(self) -> int:
        return len(self.keys)

    def layers(self, paths: Sequence[str]) -> Sequence[Tensor]:
        """(n, d) rows of some layers, each looked up when it is asked for."""
        return _Layers(self.rows, paths)

    def at(self, index: NDArray[np.int64]) -> RowTable:
        """Some of its rows, looked up when they are asked for."""
        return RowTable(
            _Chosen(self.rows, torch.from_numpy(index)),
            self.utterances[index],
            None if self.labels is None else self.labels[index],
            tuple(self.keys[k] for k in index.tolist()),
        )


class _Chosen(Mapping[str, Tensor]):
    """Some of the rows of every layer."""

    def __init__(self, rows: Mapping[str, Tensor], index: Tensor) -> None:
        self._rows, self._index = rows, index

    def __getitem__(self, name: str) -> Tensor:
        return self._rows[name][self._index]

    def __iter__(self) -> Iterator[str]:
        return iter(self._rows)

    def __len__(self) -> int:
        return len(self._rows)


class _Layers(Sequence[Tensor]):
    """The rows of some layers in order."""

    def __init__(self, rows: Mapping[str, Tensor], paths: Sequence[str]) -> None:
        self._rows, self._paths = rows, paths

    def __getitem__(self, k: Any) -> Any:
        return self._rows[self._paths[k]]

    def __len__(self) -> int:
        return len(self._paths)


@dataclass(frozen=True)
class LayerInfo:
    """A layer of a model, as tables name it.

    Attributes:
        label: Short name, ``"L03"``.
        path: Its path in the model.
        kind: ``"frontend"``, ``"block"`` ...
        width: Columns.
        cost: What the model costs up to it, where that is known.
        tap: Where in its block it was read, as `rankwatch.Protocol` has it.
    """

    label: str
    path: str
    kind: str
    width: int
    cost: DepthCost | None = None
    tap: str = ""


@dataclass(frozen=True)
class ModelRows:
    """Everything that is known of a model.

    Attributes:
        name: The model's.
        call: How it was run, in words.
        layers: Its layers in order.
        utterances: Those that were run, in order.
        recordings: The recording that each of them is a piece of.
        tables: Rows by kind: `FRAME`, `UTTERANCE`, and the tiers.
        acoustics: (n, 80) log-mel spectra at the rows of `FRAME`.
        failures: What stands against a layer: why it could not be read, or which of its frames are not used.
        published: Spans that were drawn by label for a published protocol, by tier; None where none was asked for.
        sequences: Frames of whole spans, by tier, for ABX.
        abx: How these were chosen.
        cells: Cells of whole utterances, in order; None where nothing is tagged.
        tagged: Tiers of tags.
    """

    name: str
    call: str
    layers: tuple[LayerInfo, ...]
    utterances: tuple[Utterance, ...]
    recordings: tuple[str, ...]
    tables: Mapping[str, RowTable]
    acoustics: Tensor
    failures: Mapping[str, str]
    published: Mapping[str, RowTable] | None = None
    sequences: Mapping[str, SequenceTable] = field(default_factory=dict)
    abx: Mapping[str, AbxDraw] = field(default_factory=dict)
    cells: RowTable | None = None
    tagged: tuple[str, ...] = ()


def not_numbers(frames: RowTable) -> dict[str, str]:
    """Layers that give NaN or infinite numbers, with how often they do.

    Args:
        frames: All frames.

    Returns:
        A sentence by layer.
    """
    shares = {name: 1.0 - float(torch.isfinite(frames.rows[name]).all(dim=1).double().mean()) for name in frames.rows}
    return {
        name: f"layer {name!r}: {share:.0%} of its frames hold NaN or infinite numbers and are not used"
        for name, share in shares.items()
        if share
    }


def columns_of(utterances: Sequence[Utterance]) -> dict[str, list[str | frozenset[str] | None]]:
    """What is known of each utterance as a whole: its speaker and all labels, by name.

    Args:
        utterances: All of them.

    Returns:
        (u,) labels by name, None where an utterance has none.
    """
    names = sorted({name for one in utterances for name in one.labels})
    labels = {name: [one.labels.get(name) for one in utterances] for name in names}
    return {SPEAKER: [one.speaker for one in utterances], **labels}
