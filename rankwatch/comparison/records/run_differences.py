"""Runs side by side from their records: differences at one step, and the steps at which runs part."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import numpy as np

from rankwatch.comparison.differences.difference import ALL_LAYERS, Difference, Place
from rankwatch.comparison.differences.sides import Side, difference_of_sides
from rankwatch.comparison.differences.verdicts import AtLeast, smallest
from rankwatch.comparison.records.parting import Parting, parting
from rankwatch.comparison.records.run_curves import CommonCurves, LogCurve

Values = dict[Place, list[tuple[float, float]]]
"""For each place ln(effective rank) of each run and half of its 90 % interval."""


def values_at(common: CommonCurves, step: int) -> Values:
    """What each run's newest reading up to a step says, with the mean over layers as one more.

    Args:
        common: Curves of all runs.
        step: Optimiser step.

    Returns:
        Values by place; NaN where a run has none.
    """
    found: Values = {place: [_value(curve, step) for curve in curves] for place, curves in common.curves.items()}
    ordered: Values = {}
    for source, level in dict.fromkeys((place.source, place.level) for place in found):
        layers = {place: values for place, values in found.items() if (place.source, place.level) == (source, level)}
        ordered |= layers
        if len(layers) > 1:
            means = np.mean(
                np.array(list(layers.values())), axis=0
            )  # half widths as well: errors of layers go together
            ordered[Place(source, level, ALL_LAYERS)] = [(float(log), float(half)) for log, half in means]
    return ordered


def _value(curve: LogCurve, step: int) -> tuple[float, float]:
    i = curve.at(step)
    return (math.nan, math.nan) if i is None else (float(curve.logs[i]), float(curve.halves[i]))


def run_differences(values: Values, sides: Sequence[Side], at_least: AtLeast | None, step: int) -> list[Difference]:
    """All pairs of runs, or of groups of runs, in each place.

    The errors of two runs on the same utterances go together (positively, as two runs see much of the same), so the
    interval from both readings apart is wider than it need be.

    Args:
        values: Of each run.
        sides: Runs or groups of them.
        at_least: The smallest relative difference that matters, or None for `SEEDS`.
        step: At which this is.

    Returns:
        The differences, place by place.
    """
    pairs = list(itertools.combinations(sides, 2))
    means = sum(place.layer == ALL_LAYERS for place in values)
    found = []
    for place, of_runs in values.items():
        comparisons = len(pairs) * (means if place.layer == ALL_LAYERS else len(values) - means)
        for one, other in pairs:
            halves = [
                math.hypot(of_runs[i][1], of_runs[j][1]) for i, j in itertools.product(one.members, other.members)
            ]
            logs = [log for log, _ in of_runs]
            found.append(difference_of_sides(place, (one, other), logs, halves, at_least, comparisons, step=step))
    return found


def all_partings(common: CommonCurves, names: Sequence[str], at_least: AtLeast | None) -> list[Parting]:
    """When each pair of runs parts, layer by layer.

    Args:
        common: Curves of all runs.
        names: Of the runs.
        at_least: The smallest relative difference that matters, or None for `SEEDS`.

    Returns:
        Those pairs and layers that are apart at the last step that all have reached.
    """
    pairs = list(itertools.combinations(range(len(names)), 2))
    found = []
    for place, curves in common.curves.items():
        margin = smallest(at_least, place.level)
        for i, j in pairs:
            both = (_until(curves[i], common.last_step), _until(curves[j], common.last_step))
            step, alike, apart, sign = parting(both, margin, at_least is not None, len(pairs) * len(common.curves))
            if step is not None:
                higher = names[i] if sign > 0 else names[j]
                found.append(Parting(place, names[i], names[j], step, alike, apart, higher, math.expm1(margin)))
    return found


def _until(curve: LogCurve, step: int) -> LogCurve:
    kept = curve.steps <= step
    return LogCurve(curve.steps[kept], curve.logs[kept], curve.halves[kept])
