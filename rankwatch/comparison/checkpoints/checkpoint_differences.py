"""Checkpoints or models side by side on the same utterances and frames: paired ratios, and how alike layers are."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rankwatch.analysis.measures.targets import recordings_of
from rankwatch.analysis.rows.row_tables import FRAME, UTTERANCE, ModelRows
from rankwatch.comparison.checkpoints.layer_matching import MatchedLayer
from rankwatch.comparison.differences.difference import ALL_LAYERS, Difference, Place
from rankwatch.comparison.differences.sides import Side, difference_of_sides
from rankwatch.comparison.differences.verdicts import AtLeast, confidence_of_each
from rankwatch.numerics import RankEstimate, Similarity, estimate_rank
from rankwatch.numerics.rank.paired_ratio import rank_ratio
from rankwatch.numerics.similarity.resolved_similarity import similarity

WIDTHS = "different widths"
"""Status of ranks that can't be compared."""

Halves = tuple[float, float]


@dataclass(frozen=True)
class Measured:
    """The effective ranks of one layer in all models.

    Attributes:
        place: Which.
        estimates: Of each model.
        comparable: Whether the layers are equally wide.
        similarities: Of the layer in two models, by their numbers; at frame level.
    """

    place: Place
    estimates: tuple[RankEstimate, ...]
    comparable: bool
    similarities: dict[tuple[int, int], Similarity]


def common_utterances(models: Sequence[ModelRows]) -> tuple[NDArray[np.bool_], ...]:
    """(u,) which of each model's utterances all models have."""
    shared = set.intersection(*({one.id for one in rows.utterances} for rows in models))
    return tuple(np.array([one.id in shared for one in rows.utterances]) for rows in models)


def measure_layers(
    models: Sequence[ModelRows], matched: Iterable[MatchedLayer], sides: Sequence[Side], corpus: str
) -> Iterator[Measured]:
    """Estimate all ranks on the rows that all models have, and similarities between models of different sides.

    Args:
        models: Rows of each model.
        matched: Which layers are compared.
        sides: Models, or groups of them.
        corpus: What the audio is called.

    Yields:
        Each layer at frame level, then at utterance level.
    """
    kept = common_utterances(models)
    pairs = [
        (i, j)
        for one, other in itertools.combinations(sides, 2)
        for i, j in itertools.product(one.members, other.members)
    ]
    for layer in matched:
        for level in (FRAME, UTTERANCE):
            views, names = [], []
            for rows, info, there in zip(models, layer.layers, kept, strict=True):
                table = rows.tables[level]
                index = np.flatnonzero(there[table.utterances])
                views.append(table.rows[info.path][index])
                names.append(recordings_of(rows)[table.utterances[index]])
            estimates = tuple(estimate_rank(x, groups=groups) for x, groups in zip(views, names, strict=True))
            alike = {(i, j): similarity(views[i], views[j], groups=names[i]) for i, j in pairs if level == FRAME}
            yield Measured(Place(corpus, level, layer.name), estimates, layer.equal_width, alike)


def checkpoint_differences(
    measured: Sequence[Measured], sides: Sequence[Side], at_least: AtLeast | None
) -> list[Difference]:
    """All pairs of models, or of groups of models, in each layer and level.

    Args:
        measured: From `measure_layers`.
        sides: Models, or groups of them.
        at_least: The smallest relative difference that matters, or None for `SEEDS`.

    Returns:
        The differences, level by level, the mean over layers after the layers.
    """
    pairs = list(itertools.combinations(sides, 2))
    levels = dict.fromkeys(one.place.level for one in measured)
    comparable = sum(one.comparable for one in measured)
    comparisons, of_means = len(pairs) * comparable, len(pairs) * len(levels)
    found = []
    for level, pair in itertools.product(levels, pairs):
        layers = [one for one in measured if one.place.level == level]
        for one in layers:
            found.append(_difference(one, pair, _ratios(one, pair, comparisons), at_least, comparisons))
        layers = [one for one in layers if one.comparable]
        if len(layers) > 1:
            ratios = [_ratios(one, pair, of_means) for one in layers]
            found.append(_mean(layers, pair, ratios, at_least, of_means))
    return found


def _ratios(one: Measured, pair: tuple[Side, Side], comparisons: int) -> list[tuple[Halves, str]]:
    """Of each pair of models half of both intervals, the own and the simultaneous one, and why there is none."""
    found = []
    for i, j in itertools.product(pair[0].members, pair[1].members):
        a, b = one.estimates[i], one.estimates[j]
        halves, reason = [], WIDTHS
        for confidence in (0.9, confidence_of_each(comparisons)):
            if one.comparable and set(a.utterances) == set(b.utterances):
                ratio = rank_ratio(a, b, confidence=confidence)
                known = ratio.low is not None and ratio.high is not None
                halves.append(0.5 * math.log(ratio.high / ratio.low) if known else math.nan)  # type: ignore[operator]
                reason = ratio.reason
            else:
                halves.append(math.nan)
                reason = reason if not one.comparable else "rows of some utterances are no numbers"
        found.append(((halves[0], halves[1]), reason))
    return found


def _difference(
    one: Measured,
    pair: tuple[Side, Side],
    ratios: Sequence[tuple[Halves, str]],
    at_least: AtLeast | None,
    comparisons: int,
) -> Difference:
    members = [*pair[0].members, *pair[1].members]
    status = sorted({flag.replace("_", " ") for k in members for flag in one.estimates[k].status})
    status += sorted({reason for _, reason in ratios if reason} - set(status))
    alike = [one.similarities[i, j] for i, j in itertools.product(*(s.members for s in pair)) if one.similarities]
    return difference_of_sides(
        one.place,
        pair,
        _logs(one),
        [halves[0] for halves, _ in ratios],
        at_least,
        comparisons,
        simultaneous=[halves[1] for halves, _ in ratios],
        paired=True,
        similarity=_similarity(alike),
        status=tuple(status),
    )


def _similarity(found: Sequence[Similarity]) -> tuple[float, float | None, float | None] | None:
    """Of single models with its interval, of groups the mean; None where there is none to be trusted."""
    known = [one for one in found if math.isfinite(one.value)]
    if not known:
        return None
    if len(known) == 1:
        return known[0].value, known[0].low, known[0].high
    return float(np.mean([one.value for one in known])), None, None


def _mean(
    layers: Sequence[Measured],
    pair: tuple[Side, Side],
    ratios: Sequence[Sequence[tuple[Halves, str]]],
    at_least: AtLeast | None,
    comparisons: int,
) -> Difference:
    """The geometric mean over layers; errors of layers go together, so that the mean of their sizes bounds its own."""
    logs = np.mean([_logs(one) for one in layers], axis=0).tolist()
    halves = np.mean([[halves for halves, _ in of_layer] for of_layer in ratios], axis=0)
    place = Place(layers[0].place.source, layers[0].place.level, ALL_LAYERS)
    own, wide = halves[:, 0].tolist(), halves[:, 1].tolist()
    return difference_of_sides(place, pair, logs, own, at_least, comparisons, simultaneous=wide, paired=True)


def _logs(one: Measured) -> list[float]:
    return [math.log(e.value) if math.isfinite(e.value) else math.nan for e in one.estimates]
