"""What follows for each check: does rank follow it beyond the passage of training, what does choosing by it cost."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from rankwatch.correlation.evidence.association import (
    ACROSS_LAYERS,
    ACROSS_RUNS,
    BEYOND_STEP,
    OVER_TIME,
    Association,
)
from rankwatch.correlation.evidence.choice import BEST, CHANCE, CHECKPOINT, LAST, LAYER, RUN, Choice
from rankwatch.correlation.inputs.run_series import LOSS, RunSeries, Series
from rankwatch.correlation.statistics.coefficients import PEARSON, SPEARMAN

YES: Final = "yes"
NO: Final = "no"
AGAINST: Final = "against"
NOT_KNOWN: Final = "not known"

RANK: Final = "effective_rank"

WEAK = 0.3
"""A correlation below which rank follows a check too weakly to act on it: a tenth of the variance."""


@dataclass(frozen=True)
class Finding:
    """What the runs say about one check.

    Attributes:
        check: Its name.
        check_source: Its evaluation set; empty where it comes from a table.
        check_level: Its level.
        layer: The layer that is spoken of: the one that the check says most for at the end (or the deepest).
        source: The evaluation set on which the effective rank was read.
        level: Its level.
        runs: How many runs have the check.
        follows: Whether effective rank follows the check beyond the passage of training: `YES`, `NO`, `AGAINST` (it
            moves the other way) or `NOT_KNOWN`.
        beyond: The correlation on which that rests.
        over_time: The correlation over time as it is.
        follows_by_layer: `follows` of each layer.
        lost: What choosing a checkpoint by each rule has lost against the best one: by the rule's name.
        rank_against: What choosing a checkpoint by rank has lost against the other rules: by their name.
        layers_lost: What choosing the layer by rank has lost against the best one, None where layers have no check.
        across_layers: The correlation over layers.
        run_lost: What choosing the run by rank has lost, None for one run.
        across_runs: The correlation over runs at the end.
        nothing_found: Whether the check is nowhere better than naming the most frequent label.
        error: Largest standard error of the check's values; NaN where it isn't known.
    """

    check: str
    check_source: str
    check_level: str
    layer: str
    source: str
    level: str
    runs: int
    follows: str
    beyond: Association | None
    over_time: Association | None
    follows_by_layer: Mapping[str, str] = field(default_factory=dict)
    lost: Mapping[str, Choice] = field(default_factory=dict)
    rank_against: Mapping[str, Choice] = field(default_factory=dict)
    layers_lost: Choice | None = None
    across_layers: Association | None = None
    run_lost: Choice | None = None
    across_runs: Association | None = None
    nothing_found: bool = False
    error: float = np.nan


def verdict(pearson: Association | None, spearman: Association | None) -> str:
    """Whether a measure follows a check.

    Args:
        pearson: Pearson's correlation of all runs.
        spearman: Spearman's, which a few leaps can't make.

    Returns:
        `YES` or `AGAINST` where both intervals are on that side of zero, `NO` where both stay below `WEAK`, and
        `NOT_KNOWN` in all other cases. Signs are turned round for measures of which less is meant to be better.
    """
    if pearson is None or spearman is None or not np.isfinite([pearson.low, spearman.low]).all():
        return NOT_KNOWN
    sign = -1.0 if pearson.direction < 0 else 1.0
    ends = [sorted((sign * one.low, sign * one.high)) for one in (pearson, spearman)]
    if all(low > 0.0 for low, _ in ends):
        return YES
    if all(high < 0.0 for _, high in ends):
        return AGAINST
    return NO if all(high < WEAK for _, high in ends) else NOT_KNOWN


def findings(
    runs: Sequence[RunSeries],
    associations: Iterable[Association],
    choices: Iterable[Choice],
    layer: str = "",
) -> list[Finding]:
    """What follows for each check.

    Args:
        runs: The runs' series.
        associations: Those of all runs together, and those across runs.
        choices: Those of all runs together.
        layer: The layer to speak of; the one that the check says most for by default.

    Returns:
        One for each check, in the order in which runs have them.
    """
    by_about = {(*one.about, one.step): one for one in associations}
    chosen = {one.about: one for one in choices}
    families = dict.fromkeys((one.name, one.source, one.level) for run in runs for one in run.checks)
    return [_finding(family, runs, by_about, chosen, layer) for family in families]


def _finding(
    family: tuple[str, str, str],
    runs: Sequence[RunSeries],
    associations: Mapping[tuple[object, ...], Association],
    choices: Mapping[tuple[str, ...], Choice],
    layer: str,
) -> Finding:
    ours = [one for run in runs for one in run.checks if (one.name, one.source, one.level) == family]
    source, level = _where_rank_is(runs, family[2])
    ranked = dict.fromkeys(
        one.layer for run in runs for one in run.measures if (one.name, one.source, one.level) == (RANK, source, level)
    )
    layered = any(one.layer for one in ours)
    known = [name for name in ranked if not layered or any(one.layer == name for one in ours)]
    spoken = layer if layer in known else _best_layer(ours, known) if layered else (known or [""])[-1]

    def association(scope: str, of: str, kind: str = PEARSON, step: int = -1) -> Association | None:
        return associations.get((*family, RANK, source, level, of, scope, kind, step))

    def choice(what: str, rule: str, against: str, of: str) -> Choice | None:
        where = (source, level) if rule == RANK else ("", "")
        return choices.get((what, rule, *where, against, *family, of))

    def follows(of: str) -> str:
        return verdict(association(BEYOND_STEP, of), association(BEYOND_STEP, of, SPEARMAN))

    nothing = all(_finds_nothing(one) for one in ours)
    rules, others = (RANK, LAST, LOSS, CHANCE), (LAST, LOSS, CHANCE)
    lost = {rule: choice(CHECKPOINT, rule, BEST, spoken) for rule in rules}
    against = {other: choice(CHECKPOINT, RANK, other, spoken) for other in others}
    errors = [float(one.errors.max()) for one in ours if one.errors.size]
    return Finding(
        *family,
        *(spoken, source, level),
        runs=sum(any((one.name, one.source, one.level) == family for one in run.checks) for run in runs),
        follows=NOT_KNOWN if nothing else follows(spoken),
        beyond=association(BEYOND_STEP, spoken),
        over_time=association(OVER_TIME, spoken),
        follows_by_layer={} if nothing else {name: follows(name) for name in known},
        lost={rule: one for rule, one in lost.items() if one is not None},
        rank_against={other: one for other, one in against.items() if one is not None},
        layers_lost=choice(LAYER, RANK, BEST, ""),
        across_layers=association(ACROSS_LAYERS, ""),
        run_lost=choice(RUN, RANK, BEST, spoken),
        across_runs=association(ACROSS_RUNS, spoken),
        nothing_found=nothing,
        error=max(errors, default=np.nan),
    )


def _where_rank_is(runs: Sequence[RunSeries], level: str) -> tuple[str, str]:
    """The primary set at the check's own level, or the nearest to it that there is."""
    there = dict.fromkeys((one.source, one.level) for run in runs for one in run.measures if one.name == RANK)
    primary = runs[0].primary
    wanted = ((primary, level or "frame"), (primary, "frame"), (primary, "utterance"))
    return next((one for one in wanted if one in there), next(iter(there), ("", "")))


def _best_layer(checks: Sequence[Series], layers: Sequence[str]) -> str:
    """The layer whose check is best at the end, over runs."""
    means = {
        name: float(np.mean([one.direction * one.values[-1] for one in checks if one.layer == name])) for name in layers
    }
    return max(means, key=lambda name: means[name], default="")


def _finds_nothing(check: Series) -> bool:
    """Whether it never was above the most frequent label by twice its standard error."""
    if not np.isfinite(check.floor):
        return False
    errors = check.errors if check.errors.size else np.zeros(len(check.values))
    return bool((check.values - check.floor <= 2.0 * errors).all())
