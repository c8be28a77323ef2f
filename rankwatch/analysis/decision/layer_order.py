"""Layers in one order over several properties, and what effective rank says of that order."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from scipy.stats import spearmanr

from rankwatch.analysis.decision.property_layers import PropertyLayers
from rankwatch.analysis.measures.measurement import RANK
from rankwatch.analysis.measures.profile import Profile
from rankwatch.analysis.rows.row_tables import FRAME

_FEWEST_LAYERS = 4
"""Layers from which on an order says something."""


@dataclass(frozen=True)
class LayerOrder:
    """A model's layers by their weighted mean over properties.

    Attributes:
        model: The model's name.
        weights: Weight of each property, of sum 1.
        scores: Of each layer, from the best on: the mean of its scores above chance as shares of the best layer's.
    """

    model: str
    weights: Mapping[str, float]
    scores: Mapping[str, float]


@dataclass(frozen=True)
class RankEvidence:
    """What effective rank says about layers, on these data.

    Attributes:
        model: The model's name.
        largest: The layer with the largest effective rank of frames.
        correlations: Spearman's correlation over layers of effective rank and each property's score.
        misses: Properties whose best layers do not include the layer of largest rank, and the share of the best
            layer's score above chance that it has.
    """

    model: str
    largest: str
    correlations: Mapping[str, float]
    misses: Mapping[str, float]


def layer_order(found: Sequence[PropertyLayers], weights: Mapping[str, float] | None = None) -> LayerOrder | None:
    """Put a model's layers in one order.

    Args:
        found: Of one model, of every property.
        weights: How much each tier or column counts; equally by default. Those without a weight don't count, and a
            weight of what could not be measured counts for nothing. What is measured in several ways (by a probe and by
            ABX) counts no more for it: they share its weight.

    Returns:
        The order; None where no property that counts was found in the model.
    """
    there = {one.target: one for one in found if one.counts}
    shared = Counter(one.about for one in there.values())
    counted = {
        name: (1.0 if weights is None else weights.get(one.about, 0.0)) / shared[one.about]
        for name, one in there.items()
    }
    total = sum(counted.values())
    if not total:
        return None
    layers = [
        layer for layer in next(iter(there.values())).scores if all(layer in one.scores for one in there.values())
    ]
    scores = {
        layer: sum(counted[name] / total * _above(one, layer) / _above(one, one.best) for name, one in there.items())
        for layer in layers
    }
    order = sorted(scores, key=lambda layer: -scores[layer])
    shares = {name: value / total for name, value in counted.items() if value}
    return LayerOrder(found[0].model, shares, {layer: scores[layer] for layer in order})


def rank_evidence(profile: Profile, found: Sequence[PropertyLayers]) -> RankEvidence | None:
    """How effective rank over layers goes with what they hold.

    Args:
        profile: All measurements.
        found: Of one model, of every property.

    Returns:
        The evidence; None where there are too few layers, or no property was found.
    """
    there = [one for one in found if one.counts]
    if not there:
        return None
    ranks = profile.find(model=there[0].model, measure=RANK, level=FRAME)
    known = {layer: one.value for layer, one in ranks.items() if math.isfinite(one.value)}
    if len(known) < _FEWEST_LAYERS:
        return None
    largest = max(known, key=lambda layer: known[layer])
    correlations, misses = {}, {}
    for one in there:
        layers = [layer for layer in one.scores if layer in known]
        scores = [one.scores[layer].value for layer in layers]
        if len(set(scores)) > 1:
            correlations[one.target] = float(spearmanr([known[layer] for layer in layers], scores)[0])
        if largest in one.scores and largest not in one.alike:
            misses[one.target] = _above(one, largest) / _above(one, one.best)
    return RankEvidence(there[0].model, largest, correlations, misses)


def _above(one: PropertyLayers, layer: str) -> float:
    return max(0.0, one.scores[layer].value - one.chance)
