"""What layers are compared by: each property of the utterances, with the measures that say how much of it they hold."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rankwatch.analysis.measures.measurement import ABX, CCA, SCORES, TAG_FRAME, TAG_SPAN
from rankwatch.analysis.measures.profile import Profile

TAGS = {TAG_FRAME: "frames", TAG_SPAN: "spans"}
"""By which of the scores of tags layers are compared, and what that is called."""


@dataclass(frozen=True)
class Property:
    """A property by which layers are compared.

    Attributes:
        name: What it is called.
        about: The tier or column that it is of: several properties may be of one, and share its weight.
        measures: By which measure, the first of them that there are numbers of.
        less_is_better: Whether the measure is an error.
    """

    name: str
    about: str
    measures: tuple[str, ...]
    less_is_better: bool = False


def properties_of(profile: Profile, macro_f1: Sequence[str] = ()) -> list[Property]:
    """All properties that were measured.

    Args:
        profile: All measurements.
        macro_f1: Columns that are compared by macro F1, rather than by accuracy.

    Returns:
        First those of tiers and columns by their probe (by the share of directions where there is none), then tags of
        frames and spans, then ABX.
    """
    found = []
    for one in profile.targets:
        score = SCORES[2] if one.several else SCORES[1] if one.name in macro_f1 else SCORES[0]
        found.append(Property(one.name, one.name, (score, CCA)))
    told = dict.fromkeys(one.target for one in profile.measurements if one.measure in TAGS)
    found += [Property(f"{tier} {word}", tier, (measure,)) for tier in told for measure, word in TAGS.items()]
    compared = dict.fromkeys((one.target, one.measure) for one in profile.measurements if one.measure in ABX)
    return [*found, *(Property(abx_name(tier, measure), tier, (measure,), True) for tier, measure in compared)]


def abx_name(tier: str, measure: str) -> str:
    """What an ABX error is called: ``"phone ABX across speakers"``."""
    return f"{tier} ABX {ABX[measure]}".strip()
