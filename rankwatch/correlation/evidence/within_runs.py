"""Each run's correlations over its checkpoints, and those of all runs together."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from rankwatch.correlation.evidence.association import (
    BEYOND_STEP,
    CONSTANT,
    FEWEST_PAIRS,
    OVER_TIME,
    TOO_FEW_CHECKPOINTS,
    TOO_FEW_PAIRS,
    Association,
    names_of,
)
from rankwatch.correlation.inputs.run_series import Floats, Integers, RunSeries, Series, thinned
from rankwatch.correlation.statistics.block_bootstrap import drawn_utterances
from rankwatch.correlation.statistics.coefficients import COEFFICIENTS, QUANTILE, fisher_interval, to_z
from rankwatch.correlation.statistics.over_runs import pooled_correlation
from rankwatch.correlation.statistics.pair_statistics import PairStatistics, beyond_the_step, over_time

MOST_CHECKPOINTS = 64
"""Checkpoints of one run that are compared; of more, so many are taken evenly."""

_DRAWS = 200  # of utterances, for the standard error of a z


def compared_steps(check: Series, from_step: int = 0) -> Integers:
    """Steps of a check that are compared.

    Args:
        check: The check.
        from_step: Earlier ones are left out.

    Returns:
        (n,) ascending, at most `MOST_CHECKPOINTS`.
    """
    return np.array(thinned([int(step) for step in check.steps if step >= from_step], MOST_CHECKPOINTS), np.int64)


def tolerance(steps: Integers) -> float:
    """How far a reading may be from a check to belong to the same checkpoint: a quarter of the smallest distance."""
    return float(np.diff(steps).min()) / 4.0 if len(steps) > 1 else 0.0


def belongs(measure: Series, check: Series) -> bool:
    """Whether a measure can be compared with a check: of the same layer, unless one of both is the whole model's."""
    return not measure.layer or not check.layer or measure.layer == check.layer


def within_run(run: RunSeries, *, from_step: int = 0, seed: int = 0) -> Iterator[Association]:
    """Correlations over the checkpoints of one run.

    Args:
        run: Its series.
        from_step: Earlier checkpoints are left out.
        seed: Of the drawing of utterances.

    Yields:
        For each check, each measure that belongs to it, each scope and each coefficient one.
    """
    for check in run.checks:
        steps = compared_steps(check, from_step)
        quality = check.direction * check.at(steps)
        near = tolerance(steps)
        by_mask: dict[bytes, list[tuple[Series, Floats]]] = defaultdict(list)
        for measure in run.measures:
            if belongs(measure, check):
                values = measure.at(steps, near)
                by_mask[np.isfinite(values).tobytes()].append((measure, values))
        for mask, pairs in by_mask.items():
            there = np.frombuffer(mask, dtype=bool)
            rows = None if check.rows is None else check.direction * check.rows[np.isin(check.steps, steps)][there]
            measures = np.stack([values[there] for _, values in pairs])
            for scope in (OVER_TIME, BEYOND_STEP):
                found = _compare(scope, measures, quality[there], steps[there], rows, seed)
                yield from _associations(run.name, check, [one for one, _ in pairs], scope, found, int(there.sum()))


def _compare(
    scope: str, measures: Floats, quality: Floats, steps: Integers, rows: Floats | None, seed: int
) -> PairStatistics | None:
    """The statistics, with the error that drawing other utterances would make."""

    def compared(checks: Floats) -> PairStatistics | None:
        return over_time(measures, checks) if scope == OVER_TIME else beyond_the_step(measures, checks, steps)

    found = compared(quality[None, :])
    if found is None or rows is None:
        return found
    drawn = compared(drawn_utterances(rows.shape[1], _DRAWS, seed) @ rows.T)
    if drawn is None:
        return found
    errors = {}
    for kind, error in found.errors.items():
        z = to_z(drawn.values[kind])
        spread = np.where(np.isnan(z).any(axis=1), np.inf, z.std(axis=1))
        errors[kind] = np.hypot(error, spread[:, None])
    return replace(found, errors=errors)


def _associations(
    run: str, check: Series, measures: Sequence[Series], scope: str, found: PairStatistics | None, n: int
) -> Iterator[Association]:
    for place, measure in enumerate(measures):
        names = {**names_of(check, measure), "layer": check.layer or measure.layer, "scope": scope, "run": run}
        for kind in COEFFICIENTS:
            if found is None:
                nothing = (np.nan, np.nan, np.nan)
                yield Association(**names, **_numbers(kind, *nothing, n, 0.0), status=frozenset({TOO_FEW_CHECKPOINTS}))
                continue
            value, error, pairs = (
                float(one[place, 0]) for one in (found.values[kind], found.errors[kind], found.pairs)
            )
            flags = {CONSTANT} if np.isnan(value) else {TOO_FEW_PAIRS} if pairs < FEWEST_PAIRS else set()
            low, high = fisher_interval(value, error) if not flags else (np.nan, np.nan)
            yield Association(
                **names, **_numbers(kind, value, float(low), float(high), n, pairs), status=frozenset(flags)
            )


def _numbers(kind: str, value: float, low: float, high: float, n: int, pairs: float) -> dict[str, Any]:
    return {"coefficient": kind, "value": value, "low": low, "high": high, "n": n, "pairs": pairs, "units": 1}


def together(found: Iterable[Association], groups: Mapping[str, str]) -> Iterator[Association]:
    """What all runs say together, for what at least one of them says.

    Args:
        found: Of each run.
        groups: Each run's group; runs of one group aren't independent.

    Yields:
        One for each pair of a check and a measure, each scope and each coefficient.
    """
    by_pair: dict[tuple[str, ...], list[Association]] = defaultdict(list)
    for one in found:
        by_pair[one.about].append(one)
    for ours in by_pair.values():
        usable = [one for one in ours if np.isfinite(one.value)]
        # Over several groups the spread of the values is all that the interval needs; else each value's own error.
        mean = pooled_correlation(
            [one.value for one in usable], [_error(one) for one in usable], [groups[one.run] for one in usable]
        )
        without = frozenset.union(*(one.status for one in ours))
        yield replace(
            ours[0],
            run="",
            value=mean.value,
            low=mean.low,
            high=mean.high,
            n=min(one.n for one in usable or ours),
            pairs=float(np.mean([one.pairs for one in usable or ours])),
            units=mean.units,
            beyond_these_runs=mean.beyond_these,
            status=frozenset() if np.isfinite(mean.low) else without,
        )


def _error(one: Association) -> float:
    """The standard error of its z; NaN where no interval is known."""
    return float(to_z(one.high) - to_z(one.low)) / 2.0 / QUANTILE
