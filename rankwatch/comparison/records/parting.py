r"""The step at which two runs part.

Two runs have parted for sure from the first step from which on their difference exceeds what doesn't matter (`exceeds`)
at *every* step, up to the last step that both have reached. That needs no correction for the number of
steps: steps are tested one after the other from the last one backwards, and the first that is not beyond ends it (a
fixed sequence: Maurer, Hothorn & Lehmacher 1995), so the step is too early only if the interval of the last step at
which the difference was still small failed, which happens in at most 5 % of the layers.

They were surely alike up to the last step at which the interval, now one that holds for all steps together, lies
within. In between the step isn't known.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from rankwatch.comparison.differences.difference import Place
from rankwatch.comparison.differences.verdicts import exceeds, widened
from rankwatch.comparison.records.run_curves import LogCurve

FEWEST = 2
"""Steps that two curves must have in common."""


@dataclass(frozen=True)
class Parting:
    """When two runs part in one layer.

    Attributes:
        place: Evaluation set, level and layer.
        one: Name of the first run.
        other: Of the second.
        step: From this step on the estimates differ by more than `at_least`; None where they don't at the end.
        alike_until: Last step at which they were alike for sure; None where there is none.
        apart_from: From this step on they are apart for sure; None where they aren't at the end.
        higher: Name of the run whose rank is larger then.
        at_least: The smallest relative difference that matters.
    """

    place: Place
    one: str
    other: str
    step: int | None
    alike_until: int | None
    apart_from: int | None
    higher: str
    at_least: float


def parting(
    curves: tuple[LogCurve, LogCurve], margin: float, given: bool, comparisons: int
) -> tuple[int | None, int | None, int | None, int]:
    """When two curves part.

    Args:
        curves: Of one layer of two runs.
        margin: The smallest difference of ln(effective rank) that matters.
        given: Whether it was given, or is what seeds do: see `exceeds`.
        comparisons: Pairs of curves that are looked at, all of which shall hold together.

    Returns:
        `Parting.step`, `alike_until`, `apart_from`, and the sign of the difference at the end.
    """
    one, other = curves
    steps, i, j = np.intersect1d(one.steps, other.steps, return_indices=True)
    gap, half = one.logs[i] - other.logs[j], np.hypot(one.halves[i], other.halves[j])
    known = np.isfinite(gap) & np.isfinite(half)
    steps, gap, half = steps[known], gap[known], half[known]
    if steps.size < FEWEST:
        return None, None, None, 0
    sign = int(np.sign(gap[-1]))
    beyond = _from_then_on(sign * gap > margin)
    surely = _from_then_on(exceeds(sign * gap, half, half * widened(comparisons), margin, given))
    within = np.flatnonzero(np.abs(gap) + half * widened(comparisons * steps.size) <= margin)
    alike = int(steps[within[-1]]) if within.size else None
    return (
        None if beyond is None else int(steps[beyond]),
        alike,
        None if surely is None else int(steps[surely]),
        sign,
    )


def _from_then_on(holds: np.typing.NDArray[np.bool_]) -> int | None:
    """Index from which on it holds to the end."""
    if not holds[-1]:
        return None
    fails = np.flatnonzero(~holds)
    return int(fails[-1]) + 1 if fails.size else 0
