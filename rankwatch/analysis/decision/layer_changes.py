"""What happens from one layer to the next: a property that is lost, a copy, a layer that holds nothing."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

from rankwatch.analysis.decision.property_layers import simultaneous
from rankwatch.analysis.measures.layer_measures import ACOUSTICS
from rankwatch.analysis.measures.measurement import CCA, SCORES, SIMILARITY, Measurement, difference
from rankwatch.analysis.measures.profile import Profile
from rankwatch.analysis.measures.targets import Target
from rankwatch.analysis.rows.row_tables import LayerInfo

COPY = 0.98
"""Similarity at resolution 0.1 from which a layer adds next to nothing to the one before."""

NOTHING = 0.02
"""Share of labels' and acoustics' directions below which a layer holds nothing of them, its interval below `SURELY`."""

SURELY = 0.1
"""Upper end of the interval below which the share of directions is known to be next to nothing."""

LOST = 0.5
"""Share of what the layer before holds that has to go for a property to be lost."""

_WORTH = 0.1
"""What the layer before has to hold for something to be lost, or for a layer without anything to be named."""


@dataclass(frozen=True)
class LayerChange:
    """Something that happens at a layer.

    Attributes:
        kind: ``"loses"``, ``"copies"`` or ``"holds_nothing"``.
        model: The model's name.
        layer: Where it happens.
        before: The layer before.
        target: What is lost, or empty.
        values: The numbers of the layer before and of this one; for a copy their similarity.
    """

    kind: str
    model: str
    layer: str
    before: str
    target: str
    values: tuple[float, ...]


def layer_changes(
    profile: Profile, model: str, layers: Sequence[LayerInfo], targets: Sequence[Target]
) -> list[LayerChange]:
    """Everything of this kind in a model.

    A loss is only named where the share of the property's directions that a linear map reaches falls by half or more,
    and the interval of the paired difference agrees, for all layers and properties together.

    Args:
        profile: All measurements.
        model: The model's name.
        layers: The model's layers in order.
        targets: The labelled properties.

    Returns:
        The changes, in the order of the layers.
    """
    names = [target.name for target in targets] + [ACOUSTICS]
    held = {name: profile.find(model=model, measure=CCA, target=name) for name in names}
    labels = [layer.label for layer in layers]
    probed = [profile.find(model=model, measure=score, target=one.name) for one in targets for score in SCORES[::2]]
    empty = {label for label in labels if _holds_nothing(held, label) and not _probed(probed, label)}
    found: list[LayerChange] = []
    quantile = simultaneous(len(labels) * max(len(targets), 1))
    for before, after in itertools.pairwise(labels):
        alike = profile.find(model=model, measure=SIMILARITY, target=before).get(after)
        if alike is not None and alike.value >= COPY:
            found.append(LayerChange("copies", model, after, before, "", (alike.value,)))
        if after in empty:
            if any(before in by_layer and by_layer[before].value >= _WORTH for by_layer in held.values()):
                found.append(LayerChange("holds_nothing", model, after, before, "", ()))
            continue
        for target in targets:
            pair = held[target.name].get(before), held[target.name].get(after)
            if pair[0] is None or pair[1] is None or not pair[0].value >= _WORTH:
                continue
            _, low, _ = difference(pair[0], pair[1], quantile, 1.0 / (1.0 - LOST))
            if low is not None and low > 0.0:
                values = (pair[0].value, pair[1].value)
                found.append(LayerChange("loses", model, after, before, target.name, values))
    return found


def _probed(probed: list[dict[str, Measurement]], label: str) -> bool:
    """Whether a probe finds something in a layer."""
    there = [by_layer[label] for by_layer in probed if label in by_layer]
    return any((one.low if one.low is not None else one.value) > (one.chance or 0.0) for one in there)


def _holds_nothing(held: dict[str, dict[str, Measurement]], label: str) -> bool:
    """Whether nothing of anything is there and every interval says so; an unknown one says nothing."""
    values = [by_layer[label] for by_layer in held.values() if label in by_layer]
    known = [one for one in values if math.isfinite(one.value)]
    return bool(known) and all(one.value < NOTHING and one.high is not None and one.high < SURELY for one in known)
