"""From recorded runs to a `Comparison`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from rankwatch._version import __version__
from rankwatch.comparison.comparison_result import Comparison
from rankwatch.comparison.differences.sides import make_sides
from rankwatch.comparison.differences.verdicts import AtLeast
from rankwatch.comparison.output.sentences import RUNS
from rankwatch.comparison.records.learning_rates import learning_rates
from rankwatch.comparison.records.run_curves import CommonCurves, common_curves
from rankwatch.comparison.records.run_differences import all_partings, run_differences, values_at
from rankwatch.comparison.records.turnovers import turnover_ratios
from rankwatch.reporting.recorded.recorded_run import RecordedRun


def compare_runs(
    runs: Sequence[RecordedRun],
    groups: Mapping[str, Sequence[str]] | None = None,
    at_least: AtLeast | None = None,
    step: int | None = None,
    *,
    same_seeds: bool = False,
) -> Comparison:
    """Compare runs by their records.

    Args:
        runs: Two or more, under one protocol.
        groups: Names of runs that differ in their seed alone, by the name of the group.
        at_least: The smallest relative difference that matters, or None for what seeds alone do (`SEEDS`).
        step: Optimiser step at which they are compared; the last that all have reached by default.
        same_seeds: Whether the runs of each group stand in the order of the same seeds.

    Returns:
        Differences at that step, how fast layers move up to it, and where single runs part.

    Raises:
        ValueError: If they can't be compared, with the reason and what to do, or `step` is before the first reading.
    """
    names = [run.name for run in runs]
    sides = make_sides(names, groups, same_seeds=same_seeds)
    common = common_curves(runs)
    at = common.last_step if step is None else step
    values = values_at(common, at)
    if not any(log == log for of_runs in values.values() for log, _ in of_runs):
        first = min(int(run.steps[0]) for run in runs if run.steps.size)
        raise ValueError(f"no run has a reading at step {at} or before; the first is at step {first}")
    notes = (*common.notes, *_of_other_steps(common, names, at), *learning_rates(runs, at))
    differences = run_differences(values, sides, at_least, at)
    partings = [] if groups is not None else all_partings(common, names, at_least)
    protocol = {
        "version": __version__,
        "runs": {run.name: run.path for run in runs},
        "groups": None if groups is None else {name: list(members) for name, members in groups.items()},
        "same_seeds": same_seeds or None,
        "step": at,
        "at_least": at_least,
        "sets": sorted({place.source for place in common.curves}),
    }
    turnovers = turnover_ratios(common, sides, at)
    return Comparison(RUNS, tuple(differences), tuple(partings), notes, protocol, tuple(turnovers))


def _of_other_steps(common: CommonCurves, names: Sequence[str], step: int) -> list[str]:
    """Which readings are compared, where they aren't all of the step itself."""
    read = [
        set.union(*(set(map(int, curves[k].steps[np.isfinite(curves[k].logs)])) for curves in common.curves.values()))
        for k in range(len(names))
    ]
    newest = [max((one for one in steps if one <= step), default=None) for steps in read]
    if set(newest) == {step}:
        return []
    if len(set(newest)) == 1:
        return [f"The newest readings up to step {step} are of step {newest[0]}."]
    listed = ", ".join(
        f"{name} {f'of step {one}' if one is not None else 'of none'}" for name, one in zip(names, newest, strict=True)
    )
    shared = [one for one in set.intersection(*read) if one <= step]
    advice = (
        f"the last one that was read in all is {max(shared)} (--step)" if shared else "none was read in all of them"
    )
    return [f"The newest readings up to step {step} aren't of one step: {listed}; {advice}."]
