"""What people use today to find a collapse, asked at the same steps: each gives the steps at which it is alarmed.

All but the first look at the last layer, or at what a method's loss compares, in train mode on the batch of the step,
and from the learning rate's peak on, as data2vec's guard does.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from zoo_of_encoders.record import History

RANKME_BELOW = 0.5
"""Share of the width below which plain train-mode RankMe is alarming: half, as nothing better is known beforehand."""

STD_BELOW = 0.5
"""Standard deviation of normalised frames, relative to that of frames that are spread evenly, that is alarming."""

REGRESSIONS = ("data2vec", "byol", "jepa", "vicreg", "barlow")
"""Methods whose loss compares vectors, so that data2vec's guard on their standard deviations means something."""

TARGET_BELOW, PREDICTION_BELOW = 0.1, 0.01
"""fairseq's data2vec: standard deviations of targets and of predictions below which it ends the run."""

Monitor = Callable[[History], list[int]]


def early_stopping(history: History, patience: int = 3) -> list[int]:
    """Lightning's `EarlyStopping` on the training loss, with its defaults, asked at each reading.

    Args:
        history: A run.
        patience: Readings without a better loss after which it stops.

    Returns:
        The step at which it stops, where it does: after so many, or where the loss isn't finite.
    """
    best, waited = math.inf, 0
    for fact in history.facts:
        loss = fact["loss"]
        if loss is None or not math.isfinite(loss):
            return [fact["step"]]
        waited = 0 if loss < best else waited + 1
        best = min(best, loss)
        if waited >= patience:
            return [fact["step"]]
    return []


def std_guard(history: History) -> list[int]:
    """data2vec's own guard; never alarmed where a loss compares no vectors."""
    if history.run.method not in REGRESSIONS:
        return []
    return _where(history, lambda fact: fact["target_std"] < TARGET_BELOW or fact["prediction_std"] < PREDICTION_BELOW)


def std_normalised(history: History) -> list[int]:
    """Standard deviation of the last layer's normalised frames."""
    return _where(history, lambda fact: fact["std_normalised"] < STD_BELOW)


def plain_rankme(history: History) -> list[int]:
    """RankMe of the last layer's frames of one training batch, as it is, relative to its width."""
    return _where(history, lambda fact: fact["rankme"] < RANKME_BELOW * history.run.width)


def _where(history: History, alarming: Callable[[dict[str, float]], bool]) -> list[int]:
    start = history.run.warm_up * history.run.steps
    # What isn't finite is no number in a history, and compares as NaN does: these monitors don't see it.
    facts = [{name: math.nan if value is None else value for name, value in fact.items()} for fact in history.facts]
    return [int(fact["step"]) for fact in facts if fact["step"] > start and alarming(fact)]


MONITORS: dict[str, Monitor] = {
    "EarlyStopping on the loss": early_stopping,
    "data2vec's std guard": std_guard,
    "std of normalised embeddings": std_normalised,
    "plain RankMe in train mode": plain_rankme,
}
