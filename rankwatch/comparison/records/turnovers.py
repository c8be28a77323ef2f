r"""How fast layers move in one run and in another.

Between two full readings s and t of a run a layer's *turnover* is

.. math:: \text{turnover} = -\ln(\text{similarity}_{s,t}) = -\ln(1 - \text{drift}),

about the square of how far it has moved, relative to its size. Its mean over the same pairs of readings of two runs
says which one's layers are rewritten faster. It hangs on the learning rate far more than ranks do, and on the seed
little: docs/pages/compare.md says how little.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from rankwatch.comparison.differences.difference import ALL_LAYERS, Place, ends
from rankwatch.comparison.differences.seeds import Prior
from rankwatch.comparison.differences.sides import Side, log_ratio_of_sides, verdict_of
from rankwatch.comparison.differences.verdicts import ALIKE, HIGHER, LOWER
from rankwatch.comparison.records.run_curves import CommonCurves, LogCurve
from rankwatch.readings.drift.layer_drift import FIRST, PREVIOUS

FEWEST = 3
"""Pairs of readings that runs must have in common."""

PRIOR: Prior = (0.21, 4.0)
"""Standard deviation of ln(turnover) between seeds, and how many degrees of freedom it is worth.

The root mean square over eight recipes with two seeds each (0 for VICReg to 0.37 for HuBERT): docs/pages/compare.md."""

SEEDS = 1.3
"""Relative difference of turnovers that 95 of 100 layers of runs stay below that differ in their seed only.

exp(sqrt(2) 0.21 t) - 1, where t is the 97.5 % quantile of Student's distribution with the 4 degrees of freedom that
stand for how unequal recipes are."""

FASTER, SLOWER, WITHIN_SEEDS = "faster", "slower", "within seeds"
_WORDS: Mapping[str, str] = {HIGHER: FASTER, LOWER: SLOWER, ALIKE: WITHIN_SEEDS}
_LEAST_SIMILAR = 0.01  # below this a layer is another one, and its turnover has no use for more


@dataclass(frozen=True)
class TurnoverRatio:
    """How much faster a layer moves in one run than in another.

    Attributes:
        place: Evaluation set, level and layer.
        one: Name of the first run or group of runs.
        other: Of the second.
        turnovers: Mean turnover between two readings, of both; of a group the geometric mean.
        ratio: The first divided by the second; NaN where either is.
        low: Lower end of the interval that holds together with those of all other layers (95 %); None where it isn't
            known.
        high: Upper end, likewise.
        low_90: Lower end of its own 90 % interval, likewise.
        high_90: Upper end, likewise.
        verdict: ``"faster"`` or ``"slower"``: the first next to the second, by more than seeds alone give;
            ``"within seeds"`` where the interval says that it is no more than that, else ``"not known"``.
        at_least: The relative difference that seeds alone stay below in 95 of 100 layers.
        pairs: Pairs of readings that both have.
        steps: Step of the first and of the last of those readings.
        seeds: Whether it holds for runs of other seeds, too.
    """

    place: Place
    one: str
    other: str
    turnovers: tuple[float, float]
    ratio: float
    low: float | None
    high: float | None
    low_90: float | None
    high_90: float | None
    verdict: str
    at_least: float
    pairs: int
    steps: tuple[int, int]
    seeds: bool

    def to_plain(self) -> dict[str, Any]:
        """Its fields as JSON can have them, flat; NaN is None."""
        found = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        place, turnovers, steps = (found.pop(name) for name in ("place", "turnovers", "steps"))
        found = {**dataclasses.asdict(place), "turnover_one": turnovers[0], "turnover_other": turnovers[1], **found}
        found |= {"first_step": steps[0], "last_step": steps[1]}
        return {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in found.items()}


@dataclass(frozen=True)
class _Turnovers:
    """Of one layer in all runs: logarithms of the mean, halves of their 90 % intervals, and what it is the mean of."""

    logs: list[float]
    halves: list[float]
    pairs: int
    steps: tuple[int, int]


def turnover_ratios(common: CommonCurves, sides: Sequence[Side], until: int) -> list[TurnoverRatio]:
    """All pairs of runs, or of groups of them, in each layer whose drift all of them have read at the same steps.

    At frame level alone: what utterances' means turn over by is known half as well, and differs between seeds by up to
    five times.

    Args:
        common: Curves of all runs.
        sides: Runs or groups of them.
        until: Last step that counts.

    Returns:
        Ratios layer by layer, and of the mean over layers where there are several; none where drift wasn't read, or
        fewer than `FEWEST` pairs of readings after the warm-up are common to all.
    """
    frames = {place: curves for place, curves in common.curves.items() if place.level == "frame"}
    found = {place: one for place, curves in frames.items() if (one := _turnovers(curves, until)) is not None}
    for source in dict.fromkeys(place.source for place in found):
        layers = [one for place, one in found.items() if place.source == source]
        if len(layers) > 1:
            logs, halves = (np.mean([getattr(one, name) for one in layers], axis=0) for name in ("logs", "halves"))
            steps = min(one.steps[0] for one in layers), max(one.steps[1] for one in layers)
            mean = _Turnovers(logs.tolist(), halves.tolist(), max(one.pairs for one in layers), steps)
            found[Place(source, "frame", ALL_LAYERS)] = mean
    pairs = list(itertools.combinations(sides, 2))
    means = sum(place.layer == ALL_LAYERS for place in found)
    return [
        _ratio(place, of_runs, pair, len(pairs) * (means if place.layer == ALL_LAYERS else len(found) - means))
        for place, of_runs in found.items()
        for pair in pairs
    ]


def _turnovers(curves: Sequence[LogCurve], until: int) -> _Turnovers | None:
    """Mean turnovers of one layer over the pairs of readings that all runs have."""
    of_runs = [_by_pair(curve, until) for curve in curves]
    pairs = sorted(set.intersection(*(set(one) for one in of_runs)))
    if len(pairs) < FEWEST:
        return None
    # Errors of one run's readings go together, as they come from the same utterances: halves are added up.
    sums = np.array([np.sum([one[pair] for pair in pairs], axis=0) for one in of_runs])
    with np.errstate(divide="ignore", invalid="ignore"):
        logs = np.where(sums[:, 0] > 0.0, np.log(sums[:, 0] / len(pairs)), math.nan)
        halves = sums[:, 1] / sums[:, 0]
    return _Turnovers(logs.tolist(), halves.tolist(), len(pairs), (pairs[0][0], pairs[-1][1]))


def _by_pair(curve: LogCurve, until: int) -> dict[tuple[int, int], tuple[float, float]]:
    """Turnover and half of its interval by the steps of both readings, from the first one after the warm-up on."""
    if FIRST not in curve.drift or PREVIOUS not in curve.drift:
        return {}
    previous, settled = curve.drift[PREVIOUS], np.isfinite(curve.drift[FIRST].values)
    found, before = {}, None
    for i in np.flatnonzero(np.isfinite(previous.values) & (curve.steps <= until)).tolist():
        values = np.array([previous.values[i], previous.low[i], previous.high[i]], dtype=np.float64)
        turnover, low, high = -np.log(np.maximum(1.0 - values, _LEAST_SIMILAR))
        if before is not None and settled[i] and previous.trusted[i]:
            found[before, int(curve.steps[i])] = (float(turnover), float(high - low) / 2.0)
        before = int(curve.steps[i])
    return found


def _ratio(place: Place, of_runs: _Turnovers, pair: tuple[Side, Side], comparisons: int) -> TurnoverRatio:
    halves = [
        math.hypot(of_runs.halves[i], of_runs.halves[j]) for i, j in itertools.product(pair[0].members, pair[1].members)
    ]
    found = log_ratio_of_sides(pair, of_runs.logs, halves, (PRIOR, PRIOR), comparisons)
    word = verdict_of(found, math.log1p(SEEDS), given=False)
    means = [float(np.exp(np.mean([of_runs.logs[k] for k in side.members]))) for side in pair]
    return TurnoverRatio(
        place,
        pair[0].name,
        pair[1].name,
        (means[0], means[1]),
        math.exp(found.middle) if math.isfinite(found.middle) else math.nan,
        *ends(found.middle, found.wide),
        *ends(found.middle, found.own),
        verdict=_WORDS.get(word, word),
        at_least=SEEDS,
        pairs=of_runs.pairs,
        steps=of_runs.steps,
        seeds=found.seeds,
    )
