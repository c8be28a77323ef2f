"""ABX errors of each layer, within and across speakers, with what speakers or utterances change in them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from rankwatch.analysis.measures.abx.fastabx_scores import NEXT, ON, PREVIOUS, SPEAKER, AbxCells, abx_cells
from rankwatch.analysis.measures.measurement import (
    ABX_ACROSS,
    ABX_ANY,
    ABX_WITHIN,
    FEWEST,
    SPEAKERS,
    TOO_MANY_CELLS,
    Measurement,
)
from rankwatch.analysis.measures.probes.share_intervals import equal_units, least_error, share_interval
from rankwatch.analysis.rows.pieces import draw_number
from rankwatch.analysis.rows.row_tables import LayerInfo, ModelRows
from rankwatch.analysis.rows.sequences.abx_draws import AbxDraw, neighbours
from rankwatch.analysis.rows.sequences.sequence_tables import SequenceTable

CHANCE = 0.5
"""Error of a layer that knows nothing: either of two is as near."""

MOST_CELLS = 1600
"""Cells up to which spans are scored again without each sixteenth of the utterances, where speakers are too few."""

_PARTS = FEWEST

Score = Callable[[NDArray[np.bool_]], AbxCells]


def of_abx(rows: ModelRows, layer: LayerInfo, note: Callable[[str], None]) -> Iterator[Measurement]:
    """ABX errors of a layer: how often X, of A's label, is nearer to B, of another label.

    With 16 speakers or more the interval is a jackknife over speakers, from the cells that each takes part in, at no
    cost. With fewer, and up to `MOST_CELLS` cells, it is a jackknife over sixteenths of the utterances, and so for
    these speakers alone; it costs sixteen scores. With more cells that is too much, and there is none.

    Args:
        rows: The model's; without spans that were drawn for ABX there is nothing to say.
        layer: Which layer.
        note: Is told why something can't be said.

    Yields:
        Errors by tier: within speakers and across them, or whatever the speaker where speakers aren't known.
    """
    for tier, draw in rows.abx.items():
        table = rows.sequences.get(tier)
        if table is None:
            note(f"ABX of {tier}: there are no two spans of one label and one of another to compare")
            continue
        columns = _columns(rows, tier, table)
        context = (PREVIOUS, NEXT) if draw.within_context else ()
        conditions: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {ABX_ANY: (context, ())}
        if draw.speakers:
            conditions = {ABX_WITHIN: ((*context, SPEAKER), ()), ABX_ACROSS: (context, (SPEAKER,))}
        finite = _finite(table, layer)
        of_layer = "" if finite.all() else f" in {layer.label}, which has NaN or infinite numbers"
        for measure, (by, across) in conditions.items():

            def score(kept: NDArray[np.bool_], by: tuple[str, ...] = by, across: tuple[str, ...] = across) -> AbxCells:
                return _scored(table, layer, columns, kept, by=by, across=across, seed=draw.seed)  # noqa: B023

            if across and len(set(columns[SPEAKER])) < 2:
                if len({one.speaker for one in rows.utterances}) > 1:
                    note(
                        f"{measure} of {tier}: the spans that were drawn are of one speaker; more rows may hold others"
                    )
                continue
            cells = score(finite)
            if not len(cells.errors):
                note(
                    f"{measure} of {tier}{of_layer}: there are no two spans of one label and one of another to compare"
                )
                continue
            utterances = np.array([rows.utterances[k].id for k in table.utterances.tolist()])
            where: dict[str, Any] = {"model": rows.name, "layer": layer.label, "measure": measure, "target": tier}
            yield _measured(cells, score, utterances, finite, draw, **where)


def _measured(
    cells: AbxCells,
    score: Score,
    utterances: NDArray[np.str_],
    finite: NDArray[np.bool_],
    draw: AbxDraw,
    **where: Any,
) -> Measurement:
    speakers = sorted(set(cells.speakers.tolist()) | set(cells.x_speakers.tolist()))
    whole = cells.collapsed(np.ones(len(cells.errors), dtype=bool))
    if len(speakers) >= FEWEST:
        without = {
            name: cells.collapsed((cells.speakers != name) & (cells.x_speakers != name)) - whole for name in speakers
        }
    elif len(cells.errors) <= MOST_CELLS:
        without = _without_parts(score, utterances, finite, draw, whole)
    else:
        without = {}
    if not np.isfinite(list(without.values())).all():
        without = {}  # all cells are of one speaker, or of one part: nothing says what others would change
    # Where nothing varies an utterance counts as one answer, as with probes.
    units = equal_units(np.unique(utterances[finite], return_counts=True)[1].astype(np.float64))
    by_speaker = speakers != [""] and (len(speakers) >= FEWEST or not without)
    no_interval = TOO_MANY_CELLS if len(speakers) < FEWEST and len(cells.errors) > MOST_CELLS else "too_few_groups"
    low, high = share_interval(cells.error, list(without.values()), units, int(finite.sum()))
    return Measurement(
        level="span",
        value=cells.error,
        low=low,
        high=high,
        n=int(finite.sum()),
        utterances=len(speakers) if by_speaker else len(set(utterances[finite].tolist())),
        grouped_by=SPEAKERS if by_speaker else "utterances",
        speakers=None if speakers == [""] else len(speakers),
        chance=CHANCE,
        without=without,
        least_error=least_error(units),
        status=() if low is not None else (no_interval,),
        **where,
    )


def _without_parts(
    score: Score, utterances: NDArray[np.str_], finite: NDArray[np.bool_], draw: AbxDraw, whole: float
) -> dict[str, float]:
    """What each sixteenth of the utterances changes; nothing where they are too few."""
    if len(set(utterances.tolist())) < _PARTS:
        return {}
    # Of all that were drawn, so that a part is the same in two models of which one could not run an utterance.
    part = {name: k % _PARTS for k, name in enumerate(sorted(draw.places, key=lambda name: draw_number(name, 0)))}
    parts = np.array([part[name] for name in utterances.tolist()])
    left = [score(finite & (parts != k)) for k in range(_PARTS)]
    return {f"part {k}": one.collapsed(np.ones(len(one.errors), dtype=bool)) - whole for k, one in enumerate(left)}


def _columns(rows: ModelRows, tier: str, table: SequenceTable) -> dict[str, list[str]]:
    spans = [rows.utterances[k].spans[tier] for k in table.utterances.tolist()]
    places = table.places.tolist()
    around = [neighbours(own, place) for own, place in zip(spans, places, strict=True)]
    known = rows.abx[tier].speakers
    speakers = [(rows.utterances[k].speaker or "") if known else "" for k in table.utterances.tolist()]
    return {
        ON: [own[place].label for own, place in zip(spans, places, strict=True)],
        PREVIOUS: [before for before, _ in around],
        NEXT: [after for _, after in around],
        SPEAKER: speakers,
    }


def _finite(table: SequenceTable, layer: LayerInfo) -> NDArray[np.bool_]:
    """(n,) spans whose frames are all numbers."""
    good = torch.isfinite(table.frames[layer.path]).all(dim=1).numpy()
    of_span = np.repeat(np.arange(len(table)), table.lengths[layer.path])
    return np.asarray(np.bincount(of_span, ~good, minlength=len(table)) == 0)


def _scored(
    table: SequenceTable,
    layer: LayerInfo,
    columns: Mapping[str, list[str]],
    kept: NDArray[np.bool_],
    *,
    by: tuple[str, ...],
    across: tuple[str, ...],
    seed: int,
) -> AbxCells:
    lengths = table.lengths[layer.path]
    frames = table.frames[layer.path][torch.from_numpy(np.repeat(kept, lengths))]
    chosen = {name: [value for value, one in zip(values, kept, strict=True) if one] for name, values in columns.items()}
    return abx_cells(frames, lengths[kept], chosen, by=by, across=across, seed=seed)
