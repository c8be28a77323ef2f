"""What choosing checkpoints, layers and runs by a measure would have lost, against the best and against other rules."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from rankwatch.correlation.evidence.across import families
from rankwatch.correlation.evidence.choice import BEST, CHANCE, CHECKPOINT, LAST, LAYER, RUN, Choice
from rankwatch.correlation.evidence.within_runs import belongs, compared_steps, tolerance
from rankwatch.correlation.inputs.run_series import LOSS, Floats, RunSeries, Series
from rankwatch.correlation.statistics.block_bootstrap import drawn_utterances
from rankwatch.correlation.statistics.over_runs import mean_loss, mean_over_runs
from rankwatch.correlation.statistics.regret import chosen_place, gained, lost_over_utterances

_DRAWS = 1000
_ENDS = (0.05, 0.95)


@dataclass(frozen=True)
class _Rule:
    """What is chosen by, and which candidate it takes; None for one at random."""

    name: str
    source: str
    level: str
    place: int | None


@dataclass(frozen=True)
class _Candidates:
    """Checkpoints, layers or runs among which is chosen."""

    what: str
    check: Series
    layer: str
    names: Sequence[str]
    quality: Floats
    gain: float
    run: str
    rows: Floats | None = None

    def value(self, place: int | None) -> float:
        return float(self.quality.mean() if place is None else self.quality[place])

    def choices(self, rules: Sequence[_Rule], seed: int) -> Iterator[Choice]:
        """Each rule against the best, and against those that look at nothing or at the loss."""
        others = {one.name: one for one in rules if one.name in (LAST, CHANCE, LOSS)}
        best = _Rule(BEST, "", "", int(np.argmax(self.quality)))
        weights = None if self.rows is None else drawn_utterances(self.rows.shape[1], _DRAWS, seed)
        for rule in rules:
            reached = self.value(rule.place)
            for against, other in {BEST: best, **others}.items():
                if against == rule.name:
                    continue
                lost = self.value(other.place) - reached
                low, high = np.nan, np.nan
                if self.rows is not None and weights is not None:
                    place = -1 if against == BEST else other.place
                    low, high = np.quantile(lost_over_utterances(self.rows, weights, rule.place, place), _ENDS)
                check = self.check
                yield Choice(
                    *(self.what, rule.name, rule.source, rule.level, against),
                    *(check.name, check.source, check.level, self.layer),
                    "" if rule.place is None else self.names[rule.place],
                    *(lost, float(low), float(high), lost / self.gain, check.direction * reached),
                    *(1, 1, float(lost <= 0.0), self.run),
                )


def chosen_checkpoints(run: RunSeries, *, from_step: int = 0, seed: int = 0) -> Iterator[Choice]:
    """What choosing a checkpoint of one run would have lost, in each layer that has a check.

    Rules are each measure whose better value is known beforehand, the last checkpoint and one at random. All choose
    among the same checkpoints: those at which every such measure was read that most checkpoints have.

    Args:
        run: Its series.
        from_step: Earlier checkpoints are left out.
        seed: Of the drawing of utterances.

    Yields:
        Each rule against each other one.
    """
    for check in run.checks:
        steps = compared_steps(check, from_step)
        near = tolerance(steps)
        layers = [check.layer] if check.layer else ["", *run.layers]
        for layer in layers:
            ours = [one for one in run.measures if one.direction and one.layer in ("", layer) and belongs(one, check)]
            if not any(one.layer == layer for one in ours):
                continue
            values = {one.key: (one, one.at(steps, near)) for one in ours}
            usual = [at for _, at in values.values() if np.isfinite(at).mean() > 0.5]
            there = np.isfinite(usual).all(axis=0) if usual else np.zeros(len(steps), dtype=bool)
            if there.sum() < 2:
                continue
            quality = check.direction * check.at(steps)[there]
            known = np.isin(check.steps, steps[there])
            candidates = _Candidates(
                *(CHECKPOINT, check, layer, [str(step) for step in steps[there]], quality),
                gained(quality, check.errors[known] if check.errors.size else ()),
                run.name,
                None if check.rows is None else check.direction * check.rows[known],
            )
            rules = [_by(one, at[there]) for one, at in values.values() if _chooses(at[there])]
            yield from candidates.choices([*rules, *_blind(len(quality))], seed)


def chosen_layers(run: RunSeries) -> Iterator[Choice]:
    """What choosing the layer by a measure would have lost, at the run's last checkpoint.

    Args:
        run: Its series.

    Yields:
        Each rule against each other one; ``"last"`` is the deepest layer.
    """
    measures = families([one for one in run.measures if one.layer and one.direction])
    for checks in families([one for one in run.checks if one.layer]).values():
        layers = [layer for layer in run.layers if layer in checks]
        last = min(int(one.steps[-1]) for one in checks.values())
        if len(layers) < 2:
            continue
        first = checks[layers[0]]
        near = tolerance(compared_steps(first))
        quality = np.array([one.direction * float(one.at([last], near)[0]) for one in map(checks.__getitem__, layers)])
        if not np.isfinite(quality).all():
            continue
        rules = []
        for ours in measures.values():
            values = np.array([float(ours[layer].at([last], near)[0]) if layer in ours else np.nan for layer in layers])
            if _chooses(values):
                rules.append(_by(next(iter(ours.values())), values))
        candidates = _Candidates(LAYER, first, "", layers, quality, np.nan, run.name)
        yield from candidates.choices([*rules, *_blind(len(layers))], 0)


def chosen_runs(runs: Sequence[RunSeries]) -> Iterator[Choice]:
    """What choosing one of several runs would have lost, at their last checkpoints.

    A measure that runs had under different conditions, or that isn't in all of them, chooses none.

    Args:
        runs: Their series.

    Yields:
        Each rule against chance and the best run; one choice each, so without an interval.
    """
    known = [{one.key: one for one in (*run.measures, *run.checks)} for run in runs]
    for check in runs[0].checks if len(runs) > 1 else ():
        if not all(check.key in ours for ours in known):
            continue
        checks = [ours[check.key] for ours in known]
        quality = np.array([one.direction * float(one.values[-1]) for one in checks])
        rules = []
        for measure in runs[0].measures:
            where = (measure.source, measure.level, measure.layer)
            alike = {run.protocols.get(where, "") for run in runs}
            if not measure.direction or not belongs(measure, check) or len(alike) > 1:
                continue
            values = [
                float(ours[measure.key].at([one.steps[-1]], tolerance(compared_steps(one)))[0])
                for one, ours in zip(checks, known, strict=True)
                if measure.key in ours
            ]
            if len(values) == len(runs) and _chooses(np.array(values)):
                layer = check.layer or measure.layer
                candidates = _Candidates(RUN, check, layer, [run.name for run in runs], quality, np.nan, "")
                rules = [_by(measure, np.array(values)), _Rule(CHANCE, "", "", None)]
                yield from (one for one in candidates.choices(rules, 0) if one.rule != CHANCE)


def choices_together(found: Iterable[Choice], groups: Mapping[str, str]) -> Iterator[Choice]:
    """The means over runs, with Student's interval over groups of runs from three on.

    Args:
        found: Of each run.
        groups: Each run's group.

    Yields:
        One for each rule, each other rule and each check.
    """
    by_rule: dict[tuple[str, ...], list[Choice]] = defaultdict(list)
    for one in found:
        by_rule[one.about].append(one)
    for ours in by_rule.values():
        names = [groups[one.run] for one in ours]
        mean = (mean_loss if ours[0].against == BEST else mean_over_runs)([one.lost for one in ours], names)
        alone = len(ours) == 1
        yield replace(
            ours[0],
            run="",
            chosen=ours[0].chosen if alone else "",
            lost=mean.value,
            low=ours[0].low if alone else mean.low,
            high=ours[0].high if alone else mean.high,
            share=mean_over_runs([one.share for one in ours], names).value,
            reached=mean_over_runs([one.reached for one in ours], names).value,
            units=mean.units,
            runs=len(ours),
            no_worse=float(np.mean([one.no_worse for one in ours])),
            beyond_these_runs=mean.beyond_these,
        )


def _chooses(values: Floats) -> bool:
    """Whether a measure is there for every candidate and differs between them."""
    return bool(np.isfinite(values).all() and np.ptp(values) > 0.0)


def _by(measure: Series, values: Floats) -> _Rule:
    return _Rule(measure.name, measure.source, measure.level, chosen_place(values, measure.direction))


def _blind(n: int) -> list[_Rule]:
    return [_Rule(LAST, "", "", n - 1), _Rule(CHANCE, "", "", None)]
