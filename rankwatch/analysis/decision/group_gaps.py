"""Groups that are served worse than others, as far as that can be told."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from scipy.stats import norm

from rankwatch.analysis.decision.property_layers import WRONG, PropertyLayers
from rankwatch.analysis.measures.measurement import Measurement
from rankwatch.analysis.measures.profile import Profile


@dataclass(frozen=True)
class GroupGap:
    """The best and the worst served group of a grouping, at a model's best layer for a property.

    Attributes:
        model: The model's name.
        target: The property.
        layer: The layer.
        grouping: The column that divides utterances into groups.
        best: The best served group, and its share of rows that were given their label.
        worst: The worst served group, likewise.
        gap: The difference, with its interval for all pairs of groups and all gaps together; None where it isn't known.
        sure: Whether the gap is more than chance.
    """

    model: str
    target: str
    layer: str
    grouping: str
    best: tuple[str, float]
    worst: tuple[str, float]
    gap: tuple[float, float | None, float | None]
    sure: bool


def group_gaps(profile: Profile, properties: Sequence[PropertyLayers]) -> list[GroupGap]:
    """How differently groups are served at the best layer for each property.

    Args:
        profile: All measurements.
        properties: Of every model and property.

    Returns:
        One gap for each property and grouping of which at least two groups were measured.
    """
    compared = [(one, grouping, members) for one in properties for grouping, members in _members(profile, one).items()]
    enough = [(one, grouping, members) for one, grouping, members in compared if len(members) > 1]
    return [_gap(*one, len(enough)) for one in enough]


def _members(profile: Profile, found: PropertyLayers) -> dict[str, dict[str, Measurement]]:
    """What each group reaches in the property's best layer, by grouping."""
    groups: dict[str, dict[str, Measurement]] = defaultdict(dict)
    for one in profile.measurements:
        here = (one.model, one.target, one.layer, one.measure) == (
            found.model,
            found.target,
            found.best,
            "probe_accuracy",
        )
        if here and one.group and math.isfinite(one.value):
            grouping, _, name = one.group.partition("=")
            groups[grouping][name] = one
    return groups


def _gap(found: PropertyLayers, grouping: str, members: dict[str, Measurement], compared: int) -> GroupGap:
    """The largest gap of a grouping, one of so many that are looked at."""
    best = max(members, key=lambda name: members[name].value)
    worst = min(members, key=lambda name: members[name].value)
    value = members[best].value - members[worst].value
    errors = [members[name].error for name in (best, worst)]
    pairs = len(members) * (len(members) - 1) * compared  # the largest of so many differences, of either sign
    low = high = None
    if all(error is not None for error in errors):
        half = float(norm.ppf(1.0 - WRONG / pairs)) * math.hypot(*(error or 0.0 for error in errors))
        low, high = value - half, value + half
    pair = (best, members[best].value), (worst, members[worst].value)
    return GroupGap(
        found.model, found.target, found.best, grouping, *pair, (value, low, high), low is not None and low > 0.0
    )
