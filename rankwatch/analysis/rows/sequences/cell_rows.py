"""Whole utterances in cells of equal length: what tags are told from, one after the other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from rankwatch.analysis.models.frame_times import FrameTimes
from rankwatch.analysis.rows.pieces import Piece, draw_number
from rankwatch.numerics.spans.span_frames import span_frames

CELL = 0.08
"""Seconds of a cell: four frames of most models, and a fraction of what tags last."""

CELLS = 8
"""Cells for each row that was asked for: 2,048 rows are 16,384 cells, 22 minutes of audio."""

_UNKNOWN = 15.0
"""Seconds that an utterance of unknown length is taken to have: `analyze` cuts longer ones there by default."""


def tagged_utterances(pieces: Sequence[Piece], tiers: Sequence[str], cells: int, seed: int) -> frozenset[str]:
    """Choose utterances that are tagged from beginning to end.

    Args:
        pieces: The utterances that are run.
        tiers: Tiers of tags; an utterance that has a tier without any span is one without tags.
        cells: How many cells all chosen utterances may have together, about.
        seed: Seed of the choice, which each id and the seed alone decide.

    Returns:
        Their ids.
    """
    having = [piece.utterance for piece in pieces if any(tier in piece.utterance.spans for tier in tiers)]
    found: list[str] = []
    left = cells
    for one in sorted(having, key=lambda utterance: draw_number(f"{utterance.id} tags", seed)):
        if left <= 0:
            break
        found.append(one.id)
        left -= int((one.seconds if one.seconds is not None else _UNKNOWN) / CELL) + 1
    return frozenset(found)


def cell_rows(frames: Mapping[str, Tensor], times: Mapping[str, FrameTimes], seconds: float) -> dict[str, Tensor]:
    """The mean of the frames in each cell of an utterance.

    Args:
        frames: (T, C) of each layer.
        times: When the frames of each layer are.
        seconds: The utterance's length.

    Returns:
        (k, C) by layer, of the cells that the utterance fills; where a layer has no frame in a cell, the nearest one.
    """
    cells = [(k * CELL, (k + 1) * CELL - 1e-4) for k in range(int(seconds / CELL + 1e-6))]
    found = {}
    for name, rows in frames.items():
        inside = span_frames(cells, len(rows), 1.0 / times[name].step, first_centre=times[name].first)
        ranges = dict(zip(inside.kept, inside.ranges, strict=True))
        means = [
            rows[slice(*ranges[k])].mean(dim=0) if k in ranges else rows[times[name].at((start + end) / 2, len(rows))]
            for k, (start, end) in enumerate(cells)
        ]
        found[name] = torch.stack(means) if means else rows[:0].clone()
    return found
