"""What layers are compared by: each property of the utterances, with the measures that say how much of it they hold."""

from __future__ import annotations

from dataclasses import dataclass

from rankwatch.analysis.measures.measurement import ABX, CCA
from rankwatch.analysis.measures.profile import Profile


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


def properties_of(profile: Profile) -> list[Property]:
    """All properties that were measured.

    Args:
        profile: All measurements.

    Returns:
        First those of tiers and columns by their probe (by the share of directions where there is none), then ABX.
    """
    found = [
        Property(one.name, one.name, ("probe_f1" if one.several else "probe_accuracy", CCA)) for one in profile.targets
    ]
    compared = dict.fromkeys((one.target, one.measure) for one in profile.measurements if one.measure in ABX)
    return [*found, *(Property(abx_name(tier, measure), tier, (measure,), True) for tier, measure in compared)]


def abx_name(tier: str, measure: str) -> str:
    """What an ABX error is called: ``"phone ABX across speakers"``."""
    return f"{tier} ABX {ABX[measure]}".strip()
