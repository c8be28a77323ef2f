"""The rows of one utterance: frames at drawn times, the mean of all frames, and the means of drawn spans."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from rankwatch.analysis.models.frame_times import FrameTimes
from rankwatch.analysis.rows.log_mels import log_mels
from rankwatch.analysis.rows.pieces import generator_of
from rankwatch.analysis.rows.published_draws import PASAD
from rankwatch.analysis.rows.sequences.abx_draws import AbxDraw
from rankwatch.analysis.rows.sequences.cell_rows import cell_rows
from rankwatch.analysis.rows.sequences.sequence_tables import SequenceRows, sequence_rows
from rankwatch.corpora import Span, Utterance
from rankwatch.numerics.spans.pool_spans import pool_spans

CELL = 0.02
"""Seconds that two drawn times are apart at least: a frame of most models."""


@dataclass(frozen=True)
class Draws:
    """What is drawn from each utterance.

    Attributes:
        frames: Times.
        spans: Spans of each tier.
        conventions: Which frames a span covers, by tier, where it isn't those whose centre lies in it.
        seed: Seed of the choice.
        published: Places of spans that are drawn by label, by tier and utterance; their rows are called as
            `by_label` says. None where none was asked for.
        abx: Spans whose frames are kept for ABX, by tier.
        tagged: Utterances that are kept from beginning to end, in cells, for tags.
    """

    frames: int
    spans: Mapping[str, int]
    conventions: Mapping[str, str]
    seed: int = 0
    published: Mapping[str, Mapping[str, tuple[int, ...]]] | None = None
    abx: Mapping[str, AbxDraw] = field(default_factory=dict)
    tagged: frozenset[str] = frozenset()


@dataclass(frozen=True)
class SpanRows:
    """Rows of the spans of one tier.

    Attributes:
        rows: (s, C) by layer.
        labels: Of each row.
        places: Which of the utterance's spans each row is of.
    """

    rows: dict[str, Tensor]
    labels: list[str]
    places: list[int]


@dataclass(frozen=True)
class UtteranceRows:
    """Rows of one utterance in all layers.

    Attributes:
        id: The utterance's.
        seconds: Its length as it was run.
        frames: (k, C) by layer, at the same times in all layers.
        mean: (C,) by layer, of all its frames.
        spans: By tier.
        acoustics: (k, 80) log-mel spectra at the times of `frames`.
        clock: Seconds of the forward pass by layer.
        sequences: Frames of whole spans, by tier.
        cells: (k, C) by layer, means of its cells; empty where it isn't tagged.
    """

    id: str
    seconds: float
    frames: dict[str, Tensor]
    mean: dict[str, Tensor]
    spans: dict[str, SpanRows]
    acoustics: Tensor
    clock: dict[str, float]
    sequences: dict[str, SequenceRows] = field(default_factory=dict)
    cells: dict[str, Tensor] = field(default_factory=dict)


def by_label(tier: str) -> str:
    """What the rows of a tier's spans are called that were drawn by label."""
    return f"{tier} by label"


def drawn_times(utterance: str, seconds: float, count: int, seed: int) -> list[float]:
    """Times in an utterance, at random without order of preference, none nearer to another than 20 ms.

    Args:
        utterance: Its id.
        seconds: Its length.
        count: How many are wanted.
        seed: Seed of the choice.

    Returns:
        Ascending times, fewer where the utterance is too short.
    """
    cells = max(1, int(seconds / CELL))
    generator = generator_of(f"{utterance} times", seed)
    chosen = np.sort(generator.permutation(cells)[:count])
    return [float((cell + 0.5) * CELL) for cell in chosen]


def utterance_rows(
    utterance: Utterance,
    waveform: Tensor,
    sample_rate: int,
    frames: Mapping[str, Tensor],
    times: Mapping[str, FrameTimes],
    draws: Draws,
    clock: Mapping[str, float],
) -> UtteranceRows:
    """Draw the rows of one utterance.

    Args:
        utterance: It.
        waveform: (T,) its audio as it was run.
        sample_rate: Samples per second.
        frames: (T, C) of each layer.
        times: When the frames of each layer are.
        draws: What is drawn.
        clock: Seconds of the forward pass by layer.

    Returns:
        The rows. A span that any layer has no frame for has no row in all of them.
    """
    seconds = len(waveform) / sample_rate
    drawn = drawn_times(utterance.id, seconds, draws.frames, draws.seed)
    return UtteranceRows(
        utterance.id,
        seconds,
        {name: rows[[times[name].at(s, len(rows)) for s in drawn]].clone() for name, rows in frames.items()},
        {name: rows.mean(dim=0) for name, rows in frames.items()},
        _all_spans(utterance, frames, times, draws),
        log_mels(waveform, sample_rate, drawn),
        dict(clock),
        {
            tier: sequence_rows(utterance.spans[tier], draw.places[utterance.id], frames, times)
            for tier, draw in draws.abx.items()
            if utterance.id in draw.places
        },
        cell_rows(frames, times, seconds) if utterance.id in draws.tagged else {},
    )


def _all_spans(
    utterance: Utterance, frames: Mapping[str, Tensor], times: Mapping[str, FrameTimes], draws: Draws
) -> dict[str, SpanRows]:
    found = {}
    for tier, count in draws.spans.items():
        if spans := utterance.spans.get(tier):
            order = generator_of(f"{utterance.id} {tier}", draws.seed).permutation(len(spans))[:count]
            convention = draws.conventions.get(tier, "frame_centres")
            found[tier] = _span_rows(spans, np.sort(order).tolist(), convention, frames, times)
    for tier, of_utterance in (draws.published or {}).items():
        if places := of_utterance.get(utterance.id):
            spans, convention = utterance.spans[tier], PASAD[tier].convention
            found[by_label(tier)] = _span_rows(spans, places, convention, frames, times)
    return found


def _span_rows(
    spans: Sequence[Span],
    at: Sequence[int],
    convention: str,
    frames: Mapping[str, Tensor],
    times: Mapping[str, FrameTimes],
) -> SpanRows:
    chosen = [(k, spans[k]) for k in at]
    pooled = {name: _pooled(rows, [s for _, s in chosen], times[name], convention) for name, rows in frames.items()}
    kept = set(range(len(chosen)))
    for _, which in pooled.values():
        kept &= set(which)
    places = sorted(kept)
    return SpanRows(
        {name: rows[[which.index(k) for k in places]] for name, (rows, which) in pooled.items()},
        [chosen[k][1].label for k in places],
        [chosen[k][0] for k in places],
    )


def _pooled(
    rows: Tensor, spans: Sequence[Span], times: FrameTimes, convention: str
) -> tuple[torch.Tensor, tuple[int, ...]]:
    found = pool_spans(
        rows,
        [(span.start, span.end, span.label) for span in spans],
        1.0 / times.step,
        convention,
        first_centre=times.first,
    )
    return found.rows, found.kept
