"""What is compared: single runs or checkpoints, or groups of them that differ in their seed."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from rankwatch.comparison.differences.difference import Difference, Place, ends
from rankwatch.comparison.differences.seeds import Prior, group_interval, prior_at, same_seed_interval
from rankwatch.comparison.differences.verdicts import (
    HIGHER,
    LOWER,
    AtLeast,
    confidence_of_each,
    smallest,
    verdict,
    widened,
)


@dataclass(frozen=True)
class Side:
    """A run or checkpoint, or a group of them.

    Attributes:
        name: What it is called.
        members: Numbers of its runs.
        same_seeds: Whether they stand in the order of seeds that the other sides have as well.
    """

    name: str
    members: tuple[int, ...]
    same_seeds: bool = False


def make_sides(
    names: Sequence[str], groups: Mapping[str, Sequence[str]] | None = None, *, same_seeds: bool = False
) -> list[Side]:
    """Each run by itself, or the groups that were asked for.

    Args:
        names: Of all runs, in order.
        groups: Names of the runs of each group by its own name; None for none.
        same_seeds: Whether the first run of each group has one seed, the second another, and so on.

    Returns:
        The sides.

    Raises:
        ValueError: If a group names a run that isn't there, or twice, there are fewer than two sides, or groups that
            are said to have the same seeds can't have them.
    """
    if groups is None:
        sides = [Side(name, (k,)) for k, name in enumerate(names)]
    else:
        sides, taken = [], list[Sequence[str]]()
        for title, members in groups.items():
            unknown = [name for name in members if name not in names]
            if unknown or not members:
                raise ValueError(f"group {title!r} names {unknown or 'nothing'}; there are {list(names)}")
            twice = [name for name in members if members.count(name) > 1 or any(name in one for one in taken)]
            if twice:
                raise ValueError(f"group {title!r}: {twice[0]!r} is named twice; a run is in one group, and once")
            taken.append(members)
            sides.append(Side(title, tuple(names.index(name) for name in members), same_seeds))
    if len(sides) < 2:
        raise ValueError(f"a comparison needs at least two runs, checkpoints or groups; there is {len(sides)}")
    sizes = {side.name: len(side.members) for side in sides}
    if same_seeds and (groups is None or len(set(sizes.values())) > 1 or min(sizes.values()) < 2):
        counts = ", ".join(f"{name} has {size}" for name, size in sizes.items()) if groups is not None else "no groups"
        raise ValueError(
            f"runs of the same seeds are compared between groups of equally many, at least two each ({counts}): name "
            "them in the same order of seeds, --group new=N1,N2,N3 --group old=O1,O2,O3"
        )
    return sides


@dataclass(frozen=True)
class LogRatio:
    """The logarithm of a ratio of two sides, with half of its intervals.

    Attributes:
        middle: Its estimate.
        own: Half of its own 90 % interval; NaN where it isn't known.
        wide: Half of the one that holds together with all others.
        seeds: Whether the intervals hold for runs of other seeds, too.
        same_seeds: Whether runs of one seed were compared with each other.
    """

    middle: float
    own: float
    wide: float
    seeds: bool
    same_seeds: bool


def log_ratio_of_sides(
    sides: tuple[Side, Side],
    logs: Sequence[float],
    halves: Sequence[float],
    priors: tuple[Prior, Prior],
    comparisons: int,
    simultaneous: Sequence[float] | None = None,
) -> LogRatio:
    """The ratio of two sides, which are single runs or groups that differ in their seed.

    Args:
        sides: Both.
        logs: A logarithm of each run.
        halves: Half of the 90 % interval of the difference of each pair of runs of the two sides.
        priors: What seeds have done elsewhere: between runs, and to differences of runs of one seed.
        comparisons: How many there are, which shall hold together.
        simultaneous: The same halves at the confidence of each of so many; by default those of a normal error.

    Returns:
        The ratio.
    """
    one, other = ([logs[k] for k in side.members] for side in sides)
    paired = all(side.same_seeds for side in sides)
    if paired:  # of all pairs of runs those of one seed
        halves = halves[:: len(other) + 1]
        simultaneous = simultaneous[:: len(other) + 1] if simultaneous is not None else None
    own = float(np.mean(halves))
    wide = float(np.mean(simultaneous)) if simultaneous is not None else own * widened(comparisons)
    seeds = len(one) + len(other) > 2
    if seeds:
        interval, prior = (same_seed_interval, priors[1]) if paired else (group_interval, priors[0])
        own = interval(one, other, own, prior, 0.9)[1]
        wide = interval(one, other, wide, prior, confidence_of_each(comparisons))[1]
    return LogRatio(float(np.mean(one) - np.mean(other)), own, wide, seeds, paired)


def verdict_of(ratio: LogRatio, margin: float, *, given: bool) -> str:
    """What it says next to the smallest difference that matters; between groups of seeds any difference counts.

    Args:
        ratio: The ratio.
        margin: The smallest difference that matters, or what seeds do, as a logarithm.
        given: Whether it was given.

    Returns:
        See `verdict`.
    """
    if ratio.seeds and not given and abs(ratio.middle) > ratio.wide:
        return HIGHER if ratio.middle > 0.0 else LOWER
    return verdict(ratio.middle, ratio.own, ratio.wide, margin, given)


def difference_of_sides(
    place: Place,
    sides: tuple[Side, Side],
    logs: Sequence[float],
    halves: Sequence[float],
    at_least: AtLeast | None,
    comparisons: int,
    *,
    simultaneous: Sequence[float] | None = None,
    **facts: Any,
) -> Difference:
    """The difference of two sides in one place.

    Args:
        place: Evaluation set, level and layer.
        sides: Both.
        logs: ln(effective rank) of each run.
        halves: Half of the 90 % interval of the difference of each pair of runs of the two sides.
        at_least: The smallest relative difference that matters, or None for `SEEDS`.
        comparisons: How many there are, which shall hold together.
        simultaneous: The same halves at the confidence of each of so many; by default those of a normal error.
        facts: Further fields of `Difference`.

    Returns:
        The difference. With several runs on either side it holds for runs of other seeds, too: their variation is in
        the interval, so that any difference counts unless `at_least` is given.
    """
    priors = prior_at(place.level, same_seeds=False), prior_at(place.level, same_seeds=True)
    found = log_ratio_of_sides(sides, logs, halves, priors, comparisons, simultaneous)
    margin = smallest(at_least, place.level)
    ranks = [float(np.exp(np.mean([logs[k] for k in side.members]))) for side in sides]
    return Difference(
        place,
        sides[0].name,
        sides[1].name,
        (ranks[0], ranks[1]),
        math.exp(found.middle) if math.isfinite(found.middle) else math.nan,
        *ends(found.middle, found.wide),
        *ends(found.middle, found.own),
        at_least=math.expm1(margin),
        verdict=verdict_of(found, margin, given=at_least is not None),
        seeds=found.seeds,
        same_seeds=found.same_seeds,
        **facts,
    )
