"""What a probe tells of tagged spans in each layer: frame, label and span F1, with what chance would reach."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from rankwatch.analysis.measures.measurement import (
    FEWEST,
    SPEAKERS,
    TAG_FRAME,
    TAG_LABEL,
    TAG_SPAN,
    TAGGED_FRAME,
    Measurement,
)
from rankwatch.analysis.measures.probes.probe_scores import Counts
from rankwatch.analysis.measures.probes.share_intervals import equal_units, least_error, share_interval
from rankwatch.analysis.measures.probes.tag_scores import (
    OVERLAP,
    RESOLUTION,
    SMOOTHED,
    Counted,
    Spans,
    by_utterance,
    count_frames,
    count_labels,
    count_spans,
    spans_of,
    told_tags,
)
from rankwatch.analysis.measures.targets import FEWEST_UTTERANCES, left_out_by, recordings_of, rests_on
from rankwatch.analysis.rows.row_tables import FRAME, LayerInfo, ModelRows
from rankwatch.analysis.rows.sequences.cell_rows import CELL
from rankwatch.corpora import Span
from rankwatch.numerics.probes.left_out_scores import left_out_scores
from rankwatch.numerics.spans.pool_spans import frame_labels

_SHIFTS = 10
"""Other utterances whose predictions are tried on each, for chance."""

_ANY = "tagged"

Count = Callable[[Spans, Spans, Sequence[str]], Counted]
By = Mapping[str, Spans]


def of_tags(rows: ModelRows, layer: LayerInfo, note: Callable[[str], None]) -> Iterator[Measurement]:
    """F1 of tags that a linear probe tells from cells of 80 ms, on speakers or utterances that it wasn't trained on.

    F1 is over all tags together (micro): what is there and found, twice, over all that is there and all that is found.
    Cells without a tag are the background: finding it counts for nothing. The interval is over speakers where 16
    or more are left out, else over utterances.

    Args:
        rows: The model's; without cells there is nothing to say.
        layer: Which layer.
        note: Is told why something can't be said.

    Yields:
        Frame F1 with tags and without, label F1 and span F1 of each tier.
    """
    if rows.cells is None:
        for tier in rows.tagged:
            note(f"{tier} is not told in frames and spans: no utterance that was run has this tier and 80 ms of audio")
        return
    x = rows.cells.rows[layer.path]
    for tier in rows.tagged:
        all_ = rows.cells.utterances
        broken = set(all_[~torch.isfinite(x).all(dim=1).numpy()].tolist())
        known = [k not in broken and tier in rows.utterances[k].spans for k in all_.tolist()]
        kept = np.flatnonzero(known)
        at = all_[kept]
        seconds = {rows.utterances[k].id: CELL * int((at == k).sum()) for k in np.unique(at).tolist()}
        true = _true_spans(rows, tier, at, seconds)
        tags = _usual(true)
        groups, word = left_out_by(rows)
        # As with other probes: over speakers where whole ones are left out and these are enough.
        enough = word == SPEAKERS and len(np.unique(groups[at])) >= FEWEST
        units = groups if enough else recordings_of(rows)
        if not tags or len(np.unique(groups[at])) < 2:
            why = f"all utterances with it are of one of the {word} that are left out in turn"
            why = why if tags else f"no tag is in {FEWEST_UTTERANCES} utterances"
            of_layer = f" of {layer.label}, which has NaN or infinite numbers" if broken else ""
            note(f"{tier} is not told in frames and spans{of_layer}: {why}")
            continue
        true = {name: tuple(one for one in spans if one.label in tags) for name, spans in true.items()}
        told = _told_spans(x[torch.from_numpy(kept)], at, rows, tier, tags, groups)
        where: dict[str, Any] = {"model": rows.name, "layer": layer.label, "target": tier, "level": "span"}
        where |= rests_on(rows, units, at)
        of = dict(zip([one.id for one in rows.utterances], units.tolist(), strict=True))
        of_frames = where | {"level": FRAME}
        yield _measured(TAG_FRAME, count_frames, true, told, tags, seconds, of, **of_frames)
        yield _measured(TAGGED_FRAME, count_frames, _untagged(true), _untagged(told), [_ANY], seconds, of, **of_frames)
        yield _measured(TAG_LABEL, count_labels, true, told, tags, seconds, of, **where)
        yield _measured(TAG_SPAN, count_spans, true, told, tags, seconds, of, **where)


def tag_protocol(rows: ModelRows) -> dict[str, Any]:
    """How tags are told and scored, as plain data.

    Args:
        rows: A model's.

    Returns:
        What a number has to be told with.
    """
    count = 0 if rows.cells is None else len(np.unique(rows.cells.utterances))
    return {
        "tiers": list(rows.tagged),
        "utterances": count,
        "cells": 0 if rows.cells is None else len(rows.cells),
        "seconds_of_a_cell": CELL,
        "smoothed_over_cells": SMOOTHED,
        "threshold": "of each tag so many cells as have it",
        "left_out": left_out_by(rows)[1],
        "frame": f"{RESOLUTION} s, micro F1 over tags; cells without a tag are the background",
        "span": f"same tag, intersection over union above {OVERLAP}",
        "chance": f"the same predictions on other utterances, mean of at most {_SHIFTS}",
    }


def _true_spans(rows: ModelRows, tier: str, at: NDArray[np.int64], seconds: Mapping[str, float]) -> dict[str, Spans]:
    """The spans of each utterance, cut where its cells end."""
    found: dict[str, Spans] = {}
    for k in np.unique(at).tolist():
        one = rows.utterances[k]
        end = seconds[one.id]
        found[one.id] = tuple(Span(s.start, min(s.end, end), s.label) for s in one.spans[tier] if s.start < end)
    return found


def _usual(true: By) -> list[str]:
    """Tags that enough utterances have to be in training and test."""
    labels = [label for spans in true.values() for label in {one.label for one in spans}]
    names, counts = np.unique(np.array(labels, dtype=str), return_counts=True)
    return [str(name) for name in names[counts >= FEWEST_UTTERANCES]]


def _told_spans(
    x: torch.Tensor, at: NDArray[np.int64], rows: ModelRows, tier: str, tags: list[str], groups: NDArray[np.str_]
) -> dict[str, Spans]:
    """The spans that a probe tells of each utterance."""
    has = np.zeros((len(at), len(tags)))
    for k in np.unique(at).tolist():
        inside = np.flatnonzero(at == k)
        spans = [(s.start, s.end, s.label) for s in rows.utterances[k].spans[tier] if s.label in tags]
        for place, label in zip(inside, frame_labels(spans, len(inside), 1.0 / CELL), strict=True):
            if label is not None:
                has[place, tags.index(label)] = 1.0
    numbers = np.unique(groups[at], return_inverse=True)[1].astype(np.int64)
    scores = left_out_scores(x, torch.from_numpy(has), torch.from_numpy(numbers)).numpy()
    told = told_tags(scores, has, at)
    return {rows.utterances[k].id: spans_of(told[at == k], tags) for k in np.unique(at).tolist()}


def _untagged(spans: By) -> dict[str, Spans]:
    return {name: tuple(Span(one.start, one.end, _ANY) for one in all_) for name, all_ in spans.items()}


def _counts(count: Count, true: By, told: By, tags: Sequence[str], of: Mapping[str, str]) -> Counts:
    """How often what was told is right, by what utterances are grouped by."""
    found: dict[str, list[Counted]] = {}
    for name, spans in true.items():
        found.setdefault(of[name], []).append(count(spans, told[name], tags))
    names = sorted(found)
    parts = [np.stack([np.sum([one[k] for one in found[name]], axis=0) for name in names]) for k in range(3)]
    return Counts(np.array(names), *parts)


def _measured(
    measure: str,
    count: Count,
    true: By,
    told: By,
    tags: Sequence[str],
    seconds: Mapping[str, float],
    of: Mapping[str, str],
    **where: Any,
) -> Measurement:
    counts = _counts(count, true, told, tags, of)
    value, without = counts.score("probe_f1")
    units = equal_units(counts.rows)
    rows = int(counts.rows.sum())
    low, high = share_interval(value, list(without.values()), units, rows)
    shifts = range(1, min(_SHIFTS + 1, len(true)))
    others = [_counts(count, true, by_utterance(told, seconds, k), tags, of).score("probe_f1")[0] for k in shifts]
    return Measurement(
        measure=measure,
        value=value,
        low=low,
        high=high,
        n=rows,
        utterances=len(without),
        chance=float(np.mean(others)) if others else None,
        without=without,
        least_error=least_error(units),
        status=() if low is not None else ("too_few_groups",),
        **where,
    )
