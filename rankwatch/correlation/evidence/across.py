"""Correlations over the layers of a run, and over runs."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from rankwatch.correlation.evidence.association import (
    ACROSS_LAYERS,
    ACROSS_RUNS,
    CONSTANT,
    FEWEST_PAIRS,
    TOO_FEW_LAYERS,
    TOO_FEW_PAIRS,
    TOO_FEW_RUNS,
    WITHIN_GROUPS,
    Association,
    names_of,
)
from rankwatch.correlation.evidence.within_runs import belongs, compared_steps, tolerance
from rankwatch.correlation.inputs.run_series import Floats, RunSeries, Series
from rankwatch.correlation.statistics.coefficients import COEFFICIENTS, fisher_interval, standard_error
from rankwatch.correlation.statistics.noise_model import FEWEST_CHECKPOINTS
from rankwatch.correlation.statistics.pair_statistics import over_time

_FEWEST_RUNS = 5
_MOST_EQUAL_STEPS = 4
_Family = tuple[str, str, str]


def families(series: Sequence[Series]) -> dict[_Family, dict[str, Series]]:
    """Series by (name, source, level), and among them by layer.

    Args:
        series: Measures or checks of one run.

    Returns:
        The series.
    """
    found: dict[_Family, dict[str, Series]] = defaultdict(dict)
    for one in series:
        found[one.name, one.source, one.level][one.layer] = one
    return found


def across_layers(run: RunSeries) -> Iterator[Association]:
    """Correlations over the layers of one run at its last checkpoint, layers in their order as a series.

    Args:
        run: Its series.

    Yields:
        One for each check that layers have, each measure that they have and each coefficient.
    """
    measures = families([one for one in run.measures if one.layer])
    for checks in families([one for one in run.checks if one.layer]).values():
        last = min(int(one.steps[-1]) for one in checks.values())
        near = tolerance(compared_steps(next(iter(checks.values()))))
        for ours in measures.values():
            layers = [layer for layer in run.layers if layer in checks and layer in ours]
            if not layers:
                continue
            x = np.array([float(ours[layer].at([last], near)[0]) for layer in layers])
            y = np.array([checks[layer].direction * float(checks[layer].at([last], near)[0]) for layer in layers])
            there = np.isfinite(x) & np.isfinite(y)
            names = {
                **names_of(checks[layers[0]], ours[layers[0]]),
                "layer": "",
                "scope": ACROSS_LAYERS,
                "run": run.name,
                "units": 1,
            }
            found = over_time(x[there], y[there]) if there.sum() >= FEWEST_CHECKPOINTS else None
            for kind in COEFFICIENTS:
                if found is None:
                    yield _without(names, kind, int(there.sum()), TOO_FEW_LAYERS)
                    continue
                value, pairs = float(found.values[kind][0, 0]), float(found.pairs[0, 0])
                yield _one(names, kind, value, float(found.errors[kind][0, 0]), int(there.sum()), pairs)


def across_runs(runs: Sequence[RunSeries], groups: Mapping[str, str]) -> Iterator[Association]:
    """Correlations over runs that were measured alike, at their last checkpoints and at steps that all have.

    Args:
        runs: Their series.
        groups: Each run's group; where there are fewer groups than runs, the means of groups are compared, and the runs
            within each group apart.

    Yields:
        For each pair of a check and a measure that two runs or more have.
    """
    known = {run.name: {one.key: one for one in run.measures} for run in runs}
    checks: dict[Hashable, list[tuple[RunSeries, Series]]] = defaultdict(list)
    for run in runs:
        for check in run.checks:
            checks[check.key].append((run, check))
    for ours in checks.values():
        if len(ours) < 2:
            continue
        for measure in ours[0][0].measures:
            if not belongs(measure, ours[0][1]):
                continue
            found = [
                (run, check, known[run.name][measure.key]) for run, check in ours if measure.key in known[run.name]
            ]
            alike = [one for one in found if _protocol(one[0], measure) == _protocol(found[0][0], measure)]
            if len(alike) < 2:
                continue
            for step in (-1, *_equal_steps([check for _, check, _ in alike])):
                yield from _at_step(alike, groups, step)


def _protocol(run: RunSeries, measure: Series) -> str:
    return run.protocols.get((measure.source, measure.level, measure.layer), "")


def _equal_steps(checks: Sequence[Series]) -> list[int]:
    common = sorted(set.intersection(*(set(map(int, check.steps)) for check in checks)))
    places = np.linspace(0, len(common) - 1, min(_MOST_EQUAL_STEPS + 1, len(common))).round().astype(int)
    return [common[place] for place in dict.fromkeys(places.tolist())][1:] if len(common) > 1 else []


def _at_step(
    alike: Sequence[tuple[RunSeries, Series, Series]], groups: Mapping[str, str], step: int
) -> Iterator[Association]:
    values, names = [], []
    for run, check, measure in alike:
        at, near = (int(check.steps[-1]) if step < 0 else step), tolerance(compared_steps(check))
        pair = (float(measure.at([at], near)[0]), check.direction * float(check.at([at])[0]))
        if np.isfinite(pair).all():
            values.append(pair)
            names.append(groups[run.name])
    if len(values) < 2:
        return
    _, check, measure = alike[0]
    known: dict[str, Any] = {
        **names_of(check, measure),
        "layer": check.layer or measure.layer,
        "step": step,
        "units": len(set(names)),
    }
    table, distinct = np.array(values), list(dict.fromkeys(names))
    of = np.array([distinct.index(name) for name in names])
    means = np.array([table[of == place].mean(axis=0) for place in range(len(distinct))])
    if len(means) > 1:
        yield from _over_units({**known, "scope": ACROSS_RUNS}, means, len(means))
    if 1 < len(distinct) < len(table):
        yield from _over_units({**known, "scope": WITHIN_GROUPS}, table - means[of], len(table) - len(distinct) + 1)


def _over_units(names: Mapping[str, Any], table: Floats, pairs: int) -> Iterator[Association]:
    for kind, coefficient in COEFFICIENTS.items():
        value = float(coefficient(table[None, :, 0], table[None, :, 1])[0, 0])
        if pairs < _FEWEST_RUNS:
            yield _without(names, kind, len(table), TOO_FEW_RUNS, value)
        else:
            yield _one(names, kind, value, float(standard_error(value, pairs, kind)), len(table), float(pairs))


def _one(names: Mapping[str, Any], kind: str, value: float, error: float, n: int, pairs: float) -> Association:
    if np.isnan(value):
        return _without(names, kind, n, CONSTANT)
    if pairs < FEWEST_PAIRS:
        return _without(names, kind, n, TOO_FEW_PAIRS, value)
    low, high = fisher_interval(value, error)
    beyond = names["scope"] in (ACROSS_RUNS, WITHIN_GROUPS)
    numbers: dict[str, Any] = {"value": value, "low": float(low), "high": float(high), "n": n, "pairs": pairs}
    return Association(**names, coefficient=kind, **numbers, beyond_these_runs=beyond)


def _without(names: Mapping[str, Any], kind: str, n: int, flag: str, value: float = np.nan) -> Association:
    numbers: dict[str, Any] = {"value": value, "low": np.nan, "high": np.nan, "n": n, "pairs": float(n)}
    return Association(**names, coefficient=kind, **numbers, status=frozenset({flag}))
