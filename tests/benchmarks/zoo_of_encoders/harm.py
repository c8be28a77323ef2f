"""Whether a broken run has lost something: beside its healthy twins, and beside what these lose by chance.

Three losses of a run are measured against the mean of its twins (same architecture and method, other seeds too):

* the *whole*: the mean over tasks of what the best layer's linear probe has lost, at the last three probes;
* the *worst*: the same of the layer and task that lost most;
* what is *unlearnt*: the share of what the twins' objective came down by that the run's didn't come down by. Not where
  targets come from a teacher, since a collapse makes those easy.

The null is what plain healthy runs lose in the same sense, each against its other twins. Each loss is standardised by
its null in the same architecture, and the largest of the three counts; a run's p is the share of healthy twins for
which that is as large. It is *harmful* up to 5 %, *harmless* above 20 %, grey between: of healthy runs one in twenty
would be called harmful, and three in twenty grey. A harmful run that the first two alone would call harmful, too, is
so *in its layers*; in the others the objective was missed (shuffled targets, one batch for ever), while layers hold
what healthy ones do, or nearly.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from zoo_of_encoders.catalogue import TEACHER
from zoo_of_encoders.record import History

HARMFUL, GREY, HARMLESS = "harmful", "grey", "harmless"
SURE, UNSURE = 0.05, 0.2
_LAST = 3
_LEAST = 0.05  # accuracy above majority that twins must have for its loss to mean anything
_ENOUGH = 12  # twins of an architecture from which on its null is its own
_NARROWEST = 0.005  # spread of a null; narrower ones come from too few twins

Skill = dict[tuple[str, int], float]
"""Accuracy above majority by task and layer."""


@dataclass(frozen=True)
class Loss:
    """What a run has lost beside its twins, as shares of what they have; negative where it has won.

    Attributes:
        whole: Mean over tasks of what the best layer lost.
        worst: What the layer and task lost that lost most.
        unlearnt: Share of the objective's way that wasn't gone; NaN where that says nothing.
        where: Layer and task of `worst`.
    """

    whole: float
    worst: float
    unlearnt: float
    where: str


_LOSSES = ("whole", "worst", "unlearnt")
_IN_LAYERS = _LOSSES[:2]


@dataclass(frozen=True)
class Harm:
    """What was lost, and how seldom healthy twins lose as much.

    Attributes:
        loss: Beside the twins.
        p: Share of healthy twins that lose as much.
        verdict: ``"harmful"``, ``"grey"`` or ``"harmless"``.
        in_layers: Whether it is harmful, and would be by the probes' losses alone, the objective left out.
        half_at: First probe at which half of the probes' larger loss was there; None unless harmful.
    """

    loss: Loss
    p: float
    verdict: str
    in_layers: bool
    half_at: int | None


def skill(history: History, probes: slice = slice(-_LAST, None)) -> Skill:
    """Mean over some probes, the last three unless said otherwise."""
    found: dict[tuple[str, int], list[float]] = defaultdict(list)
    for record in history.probes[probes]:
        for task, layers in record.items():
            if task != "step":
                for layer, (accuracy, majority) in enumerate(layers):
                    found[task, layer].append(accuracy - majority)
    return {key: float(np.mean(values)) for key, values in found.items()}


def loss(own: History, twins: Iterable[History], probes: slice = slice(-_LAST, None)) -> Loss:
    """What was lost beside the mean of some twins.

    Args:
        own: The run.
        twins: At least one.
        probes: Which of them count.

    Returns:
        See `Loss`.
    """
    twins = list(twins)
    mine, others = skill(own, probes), [skill(twin, probes) for twin in twins]
    usual = {key: float(np.mean([other[key] for other in others])) for key in mine}
    lost = {key: 1 - mine[key] / usual[key] for key in mine if usual[key] >= _LEAST}
    where = max(lost, key=lambda key: lost[key])
    best = []
    for task in {task for task, _ in mine}:
        here, there = (max(v for (t, _), v in side.items() if t == task) for side in (mine, usual))
        if there >= _LEAST:
            best.append(1 - here / there)
    return Loss(float(np.mean(best)), lost[where], _unlearnt(own, twins), f"{where[0]} in layer {where[1]}")


def _unlearnt(own: History, twins: list[History]) -> float:
    if own.run.method in TEACHER:
        return math.nan
    learnt = [_learnt(twin) for twin in twins]
    return 1 - max(_learnt(own), -1.0) / float(np.mean(learnt)) if min(learnt) > 0 else math.nan


def _learnt(history: History) -> float:
    """What the objective came down by, relative to where it began; an objective that isn't finite hasn't come down."""
    values = [record["loss"] for record in history.objective]
    last = [value for value in values[-_LAST:] if value is not None]
    return 1 - float(np.mean(last)) / values[0] if last else 0.0


class Null:
    """What healthy twins lose beside each other.

    Args:
        losses: By architecture.
    """

    def __init__(self, losses: Mapping[str, list[Loss]]) -> None:
        self._losses = losses
        self._all = [loss for of_one in losses.values() for loss in of_one]
        self._scores = {
            names: [
                self._score(architecture, loss, names) for architecture, of_one in losses.items() for loss in of_one
            ]
            for names in (_LOSSES, _IN_LAYERS)
        }

    @property
    def known(self) -> bool:
        """Whether there are any two twins at all."""
        return bool(self._all)

    def _score(self, architecture: str, lost: Loss, names: tuple[str, ...]) -> float:
        """The largest loss, each in spreads (from the median to the 90 % quantile) of its null."""
        own = self._losses.get(architecture, [])
        pool = own if len(own) >= _ENOUGH else self._all
        scores = []
        for name in names:
            value, usual = getattr(lost, name), np.array([getattr(loss, name) for loss in pool])
            if math.isfinite(value) and np.isfinite(usual).any():
                middle, high = np.nanquantile(usual, [0.5, 0.9])
                scores.append((value - middle) / max(high - middle, _NARROWEST))
        return float(max(scores))

    def p(self, architecture: str, lost: Loss, names: tuple[str, ...] = _LOSSES) -> float:
        """Share of healthy twins whose largest loss is as large, the run itself counted with them."""
        score, others = self._score(architecture, lost, names), self._scores[names]
        return (1 + sum(other >= score for other in others)) / (1 + len(others))

    def quantile(self, name: str, share: float) -> float:
        """Of ``"whole"``, ``"worst"`` or ``"unlearnt"``, over all architectures."""
        values = [getattr(loss, name) for loss in self._all]
        return float(np.nanquantile(values, share)) if values else math.nan


def null(histories: Mapping[str, History]) -> Null:
    """What plain healthy runs lose beside their other twins.

    Args:
        histories: By name.

    Returns:
        The null.
    """
    found: dict[str, list[Loss]] = defaultdict(list)
    for history in histories.values():
        run = history.run
        if run.healthy and run.variant == "plain":
            twins = [histories[name] for name in run.twins if name in histories]
            if twins:
                found[run.architecture].append(loss(history, twins))
    return Null(found)


def harm(history: History, histories: Mapping[str, History], among: Null) -> Harm | None:
    """Of a broken run; None where it has no twin yet.

    Args:
        history: The run.
        histories: By name, its twins among them.
        among: The null.

    Returns:
        See `Harm`.
    """
    twins = [histories[name] for name in history.run.twins if name in histories]
    if not twins or not among.known:
        return None
    lost = loss(history, twins)
    p = among.p(history.run.architecture, lost)
    verdict = HARMFUL if p <= SURE else GREY if p <= UNSURE else HARMLESS
    half = None
    if verdict == HARMFUL and max(lost.whole, lost.worst) > 0:
        for i, record in enumerate(history.probes):
            now = loss(history, twins, slice(i, i + 1))
            if max(now.whole, now.worst) >= max(lost.whole, lost.worst) / 2:
                half = int(record["step"])
                break
    in_layers = verdict == HARMFUL and among.p(history.run.architecture, lost, _IN_LAYERS) <= SURE
    return Harm(lost, p, verdict, in_layers, half)
