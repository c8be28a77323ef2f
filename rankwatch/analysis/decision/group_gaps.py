"""Groups that are served worse than others, as far as that can be told."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from scipy.stats import t as student

from rankwatch.analysis.decision.property_layers import WRONG, PropertyLayers
from rankwatch.analysis.measures.measurement import Measurement
from rankwatch.analysis.measures.probes.group_scores import ACCURACY, SAME_MIX
from rankwatch.analysis.measures.probes.share_intervals import effective_answers
from rankwatch.analysis.measures.profile import Profile
from rankwatch.numerics.similarity.similarity_result import jackknife_error

Gap = tuple[float, float | None, float | None]
"""A difference, and the ends of its interval where they are known."""


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
        same_mix: The gap of these two groups with the same mix of labels in both, likewise; None where they have too
            few labels in common. Where it is much smaller, one group merely has more of what is easy.
    """

    model: str
    target: str
    layer: str
    grouping: str
    best: tuple[str, float]
    worst: tuple[str, float]
    gap: Gap
    sure: bool
    same_mix: Gap | None = None


def group_gaps(profile: Profile, properties: Sequence[PropertyLayers]) -> list[GroupGap]:
    """How differently groups are served at the best layer for each property.

    Args:
        profile: All measurements.
        properties: Of every model and property.

    Returns:
        One gap for each property and grouping of which at least two groups were measured.
    """
    compared = [
        (one, grouping, members, _members(profile, one, SAME_MIX).get(grouping, {}))
        for one in properties
        for grouping, members in _members(profile, one, ACCURACY).items()
        if len(members) > 1
    ]
    return [_gap(*one, len(compared)) for one in compared]


def largest_gap(members: Mapping[str, Measurement], compared: int) -> tuple[str, str, Gap, bool]:
    r"""The best and the worst served of several groups, and how far they are apart.

    The interval is that of two independent shares with one right and one wrong answer added to each (Agresti & Caffo,
    The American Statistician 2000), of as many independent answers as vary as much as these, with Student's t and
    Welch's degrees of freedom. Without the answers added, a group that is worst by chance seems to vary least, and gaps
    of small groups were called sure in up to 9 of 100 draws without any.

    Args:
        members: What each group reaches.
        compared: So many groupings and properties are looked at together (Bonferroni).

    Returns:
        The best group, the worst, the gap with its interval, and whether that is above 0.
    """
    best = max(members, key=lambda name: members[name].value)
    worst = min(members, key=lambda name: members[name].value)
    pairs = len(members) * (len(members) - 1) * compared  # the largest of so many differences, of either sign
    gap = _apart(members[best], members[worst], 1.0 - WRONG / pairs)
    return best, worst, gap, gap[1] is not None and gap[1] > 0.0


def _apart(one: Measurement, other: Measurement, level: float) -> Gap:
    value = one.value - other.value
    if one.error is None or other.error is None:
        return value, None, None
    middles, errors, freedom = [], [], []
    for share in (one, other):
        units = 1.0 / share.least_error - 2.0 if share.least_error else float(share.utterances)
        answers = effective_answers(share.value, jackknife_error(list(share.without.values())), units, share.n)
        middles.append((share.value * answers + 1.0) / (answers + 2.0))
        errors.append(math.sqrt(middles[-1] * (1.0 - middles[-1]) / (answers + 2.0)))
        freedom.append(share.utterances - 1)
    error = math.hypot(*errors)
    welch = error**4 / sum(e**4 / f for e, f in zip(errors, freedom, strict=True))
    middle, half = middles[0] - middles[1], float(student.ppf(level, welch)) * error
    return value, middle - half, middle + half


def _members(profile: Profile, found: PropertyLayers, measure: str) -> dict[str, dict[str, Measurement]]:
    """What each group reaches in the property's best layer, by grouping."""
    groups: dict[str, dict[str, Measurement]] = defaultdict(dict)
    for one in profile.measurements:
        here = (one.model, one.target, one.layer, one.measure) == (found.model, found.target, found.best, measure)
        if here and one.group and math.isfinite(one.value):
            grouping, _, name = one.group.partition("=")
            groups[grouping][name] = one
    return groups


def _gap(
    found: PropertyLayers,
    grouping: str,
    members: Mapping[str, Measurement],
    same_mix: Mapping[str, Measurement],
    compared: int,
) -> GroupGap:
    """The largest gap of a grouping, one of so many that are looked at."""
    best, worst, gap, sure = largest_gap(members, compared)
    pair = (best, members[best].value), (worst, members[worst].value)
    alike = None
    if best in same_mix and worst in same_mix:
        pairs = len(members) * (len(members) - 1) * compared
        alike = _apart(same_mix[best], same_mix[worst], 1.0 - WRONG / pairs)
    return GroupGap(found.model, found.target, found.best, grouping, *pair, gap, sure, alike)
