"""Everything that follows from a profile, and the sentences that say it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rankwatch.analysis.decision.group_gaps import GroupGap, group_gaps
from rankwatch.analysis.decision.layer_changes import LayerChange, layer_changes
from rankwatch.analysis.decision.layer_order import LayerOrder, RankEvidence, layer_order, rank_evidence
from rankwatch.analysis.decision.model_choice import ModelChoice, model_choices
from rankwatch.analysis.decision.properties import properties_of
from rankwatch.analysis.decision.property_layers import PropertyLayers, property_layers
from rankwatch.analysis.measures.profile import Profile
from rankwatch.analysis.rows.row_tables import LayerInfo


@dataclass(frozen=True)
class Decision:
    """What follows from the measures.

    Attributes:
        properties: For each model and property the layers that hold it.
        changes: What happens from one layer to the next.
        gaps: How differently groups are served.
        choices: Which of two models holds more.
        orders: The layers of each model in one order over all properties.
        rank: What effective rank says about the layers of each model.
    """

    properties: tuple[PropertyLayers, ...]
    changes: tuple[LayerChange, ...]
    gaps: tuple[GroupGap, ...]
    choices: tuple[ModelChoice, ...]
    orders: tuple[LayerOrder, ...]
    rank: tuple[RankEvidence, ...]


def decide(
    profile: Profile,
    models: Mapping[str, Sequence[LayerInfo]],
    weights: Mapping[str, float] | None = None,
    macro_f1: Sequence[str] = (),
) -> Decision:
    """Draw the conclusions.

    Args:
        profile: All measurements.
        models: Layers of each model, by its name.
        weights: How much each tier or column counts in the one order of layers; equally by default.
        macro_f1: Columns by whose macro F1 layers are compared, rather than by accuracy.

    Returns:
        The conclusions.
    """
    properties: list[PropertyLayers] = []
    changes: list[LayerChange] = []
    orders: list[LayerOrder] = []
    evidence: list[RankEvidence] = []
    asked = properties_of(profile, macro_f1)
    for name, layers in models.items():
        found = [property_layers(profile, name, one, layers) for one in asked]
        own = [one for one in found if one is not None]
        properties += own
        changes += layer_changes(profile, name, layers, profile.targets)
        order = layer_order(own, weights) if own else None
        about_rank = rank_evidence(profile, own)
        orders += [order] if order is not None else []
        evidence += [about_rank] if about_rank is not None else []
    gaps = group_gaps(profile, [one for one in properties if one.found is not False])
    return Decision(
        tuple(properties),
        tuple(changes),
        tuple(gaps),
        tuple(model_choices(properties)),
        tuple(orders),
        tuple(evidence),
    )
