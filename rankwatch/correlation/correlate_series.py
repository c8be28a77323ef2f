"""From runs, tables of checks and losses to a `Correlation`."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Mapping, Sequence

from rankwatch._version import __version__
from rankwatch.correlation.evidence.across import across_layers, across_runs
from rankwatch.correlation.evidence.choices import choices_together, chosen_checkpoints, chosen_layers, chosen_runs
from rankwatch.correlation.evidence.within_runs import MOST_CHECKPOINTS, together, within_run
from rankwatch.correlation.inputs.run_series import LOSS, RunSeries, same_numbers
from rankwatch.correlation.result import Correlation


def correlate_series(
    runs: Sequence[RunSeries],
    *,
    groups: Mapping[str, str] | None = None,
    layer: str = "",
    measures: Sequence[str] = (),
    from_step: int = 0,
    seed: int = 0,
) -> Correlation:
    """Correlate series that are in memory.

    Args:
        runs: At least one, with checks.
        groups: Each run's group; each run is one of its own by default.
        layer: The layer that sentences speak of.
        measures: Measures to compare besides effective rank and the loss; all by default.
        from_step: Earlier checkpoints are left out.
        seed: Of the drawing of utterances.

    Returns:
        What was found.

    Raises:
        ValueError: If no run has a check (from `from_step` on), two have one name or are one run, or a group, layer or
            measure isn't there.
    """
    names = [run.name for run in runs]
    if len(set(names)) < len(names):
        raise ValueError(f"two runs have one name: {', '.join(sorted({n for n in names if names.count(n) > 1}))}")
    if not any(run.checks for run in runs):
        raise ValueError(
            "there is no labelled check in these records: watch a LabelledSet, or name a table of checks "
            "(--checks CSV with the columns run, step, task, value)"
        )
    unknown = sorted(set(groups or {}) - set(names))
    if unknown:
        raise ValueError(f"groups name runs that aren't there: {', '.join(unknown)}; there are {', '.join(names)}")
    if layer and not any(layer in run.layers for run in runs):
        raise ValueError(f"there is no layer {layer!r}; there are {', '.join(runs[0].layers)}")
    last = max(int(one.steps[-1]) for run in runs for one in run.checks)
    if last < from_step:
        raise ValueError(f"there is no labelled check from step {from_step} on; the last is at step {last}")
    chosen = [_with_measures(run, measures) for run in runs]
    of = {name: (groups or {}).get(name, name) for name in names}
    for one, other in itertools.combinations(runs, 2):
        if of[one.name] != of[other.name] and same_numbers(one, other):
            raise ValueError(
                f"{one.name} and {other.name} have the same effective ranks at the same steps: they are one run, "
                "copied or replayed, and would count as two; name it once"
            )
    associations = [
        one for run in chosen for one in (*within_run(run, from_step=from_step, seed=seed), *across_layers(run))
    ]
    choices = [
        one for run in chosen for one in (*chosen_checkpoints(run, from_step=from_step, seed=seed), *chosen_layers(run))
    ]
    return Correlation(
        chosen,
        [*associations, *together(associations, of), *across_runs(chosen, of)],
        [*choices, *choices_together(choices, of), *chosen_runs(chosen)],
        layer,
        {
            "version": __version__,
            "runs": names,
            "groups": of,
            "from_step": from_step,
            "most_checkpoints": MOST_CHECKPOINTS,
            "seed": seed,
            "interval": 0.9,
        },
    )


def _with_measures(run: RunSeries, measures: Sequence[str]) -> RunSeries:
    if not measures:
        return run
    there = {one.name for one in run.measures}
    unknown = sorted(set(measures) - there)
    if unknown:
        raise ValueError(f"{run.name} has no measure {', '.join(unknown)}; it has {', '.join(sorted(there))}")
    wanted = {*measures, "effective_rank", LOSS}
    return dataclasses.replace(run, measures=[one for one in run.measures if one.name in wanted])
