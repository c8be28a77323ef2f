"""All rows of a model, put together over utterances."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rankwatch.analysis.models.depth_cost import DepthCost
from rankwatch.analysis.rows.utterance_rows import UtteranceRows, by_label
from rankwatch.corpora import Utterance

FRAME, UTTERANCE = "frame", "utterance"
"""Names of the tables of frames and of utterance means; a tier of spans has its own name."""

SPEAKER = "speaker"
"""Name of the column of speakers."""


@dataclass(frozen=True)
class RowTable:
    """Rows of one kind in all layers.

    Attributes:
        rows: (n, d) by layer.
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

    def at(self, index: NDArray[np.int64]) -> RowTable:
        """Some of its rows."""
        return RowTable(
            {name: rows[torch.from_numpy(index)] for name, rows in self.rows.items()},
            self.utterances[index],
            None if self.labels is None else self.labels[index],
            tuple(self.keys[k] for k in index.tolist()),
        )


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


def row_tables(parts: Sequence[UtteranceRows], tiers: Sequence[str], layers: Sequence[str]) -> dict[str, RowTable]:
    """Put the rows of all utterances together.

    Args:
        parts: Of each utterance, in order.
        tiers: Tiers of spans.
        layers: Layers that every utterance has.

    Returns:
        Tables by kind; a tier without rows has none.
    """
    numbers = np.arange(len(parts))
    tables = {
        FRAME: RowTable(
            {name: torch.cat([p.frames[name] for p in parts]) for name in layers},
            np.repeat(numbers, [len(p.acoustics) for p in parts]),
            None,
            tuple((p.id, k) for p in parts for k in range(len(p.acoustics))),
        ),
        UTTERANCE: RowTable(
            {name: torch.stack([p.mean[name] for p in parts]) for name in layers},
            numbers,
            None,
            tuple((p.id, 0) for p in parts),
        ),
    }
    return tables | _span_tables(parts, tiers, layers)


def tables_by_label(
    parts: Sequence[UtteranceRows], published: Mapping[str, object] | None, layers: Sequence[str]
) -> dict[str, RowTable] | None:
    """Put the rows of spans together that were drawn by label.

    Args:
        parts: Of each utterance, in order.
        published: Tiers that were drawn from by label; None where none was asked for.
        layers: Layers that every utterance has.

    Returns:
        Tables by tier; a tier without rows has none. None where none was asked for.
    """
    if published is None:
        return None
    found = _span_tables(parts, [by_label(tier) for tier in published], layers)
    return {tier: found[by_label(tier)] for tier in published if by_label(tier) in found}


def _span_tables(parts: Sequence[UtteranceRows], tiers: Sequence[str], layers: Sequence[str]) -> dict[str, RowTable]:
    tables = {}
    for tier in tiers:
        having = [(number, p.id, p.spans[tier]) for number, p in enumerate(parts) if tier in p.spans]
        labels = [label for _, _, spans in having for label in spans.labels]
        if labels:
            tables[tier] = RowTable(
                {name: torch.cat([spans.rows[name] for _, _, spans in having]) for name in layers},
                np.repeat([n for n, _, _ in having], [len(spans.labels) for _, _, spans in having]),
                np.asarray(labels),
                tuple((name, place) for _, name, spans in having for place in spans.places),
            )
    return tables


def not_numbers(frames: RowTable) -> dict[str, str]:
    """Layers that give NaN or infinite numbers, with how often they do.

    Args:
        frames: All frames.

    Returns:
        A sentence by layer.
    """
    shares = {name: 1.0 - float(torch.isfinite(rows).all(dim=1).double().mean()) for name, rows in frames.rows.items()}
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
