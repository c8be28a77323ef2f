"""How much a linear probe has lost in a broken run, beside its healthy twin at the same steps."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from record import History

LAST = 3
"""Probes at the end that are averaged."""
_LEAST = 0.02
"""Accuracy above majority of a healthy layer that can be lost; less is taken for so much."""


@dataclass(frozen=True)
class Harm:
    """What was lost.

    Attributes:
        lost: Share of the accuracy above majority, in the layer and task that lost most, at the end.
        lost_at_best: The same between each side's best layer, in the task that lost more.
        where: Layer and task of `lost`.
        half_at: First step at which half of `lost` was gone; None where little was lost.
        curve: Steps of the probes, and what was lost by then in the layer and task of `where`.
    """

    lost: float
    lost_at_best: float
    where: str
    half_at: int | None
    curve: tuple[tuple[int, float], ...] = ()

    def lost_at(self, step: int) -> float:
        """What was lost by the probe nearest to a step."""
        return min(self.curve, key=lambda point: abs(point[0] - step))[1]

    @property
    def really(self) -> bool:
        """More than a third."""
        return self.lost > 1 / 3


def harm(broken: History, twin: History) -> Harm:
    """Compare the two.

    Args:
        broken: The run.
        twin: The healthy run of the same method and seed.
    """
    curves: dict[tuple[str, str], list[float]] = {}
    best: dict[str, list[float]] = {}
    for here, there in zip(broken.probes, twin.probes, strict=True):
        for task in ("phones", "digits"):
            mine = {layer: probe[task][0] - probe[task][1] for layer, probe in here["probes"].items()}
            others = {layer: probe[task][0] - probe[task][1] for layer, probe in there["probes"].items()}
            for layer, value in mine.items():
                curves.setdefault((layer, task), []).append(1 - value / max(others[layer], _LEAST))
            best.setdefault(task, []).append(1 - max(mine.values()) / max(*others.values(), _LEAST))
    lost = {where: float(np.mean(curve[-LAST:])) for where, curve in curves.items()}
    where = max(lost, key=lambda key: lost[key])
    steps = [probe["step"] for probe in broken.probes]
    curve = tuple(zip(steps, curves[where], strict=True))
    half = next((step for step, value in curve if value >= lost[where] / 2), None) if lost[where] > 1 / 3 else None
    at_best = max(float(np.mean(curve[-LAST:])) for curve in best.values())
    return Harm(lost[where], at_best, f"{where[1]} in {where[0]}", half, curve)
