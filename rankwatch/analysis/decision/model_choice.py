"""Which of two models holds more of a property, each at its own best layer, on the utterances that both have."""

from __future__ import annotations

from dataclasses import dataclass

from rankwatch.analysis.decision.property_layers import PropertyLayers, simultaneous
from rankwatch.analysis.measures.measurement import difference


@dataclass(frozen=True)
class ModelChoice:
    """Two models and a property.

    Attributes:
        target: The property.
        better: The model with the higher score and its best layer.
        worse: The other, likewise.
        values: Their scores.
        gap: The paired difference with its interval, None where it isn't known.
        sure: Whether the difference is more than chance.
        less_is_better: Whether the scores are errors.
    """

    target: str
    better: tuple[str, str]
    worse: tuple[str, str]
    values: tuple[float, float]
    gap: tuple[float, float | None, float | None]
    sure: bool
    less_is_better: bool = False


def model_choices(found: list[PropertyLayers]) -> list[ModelChoice]:
    """All pairs of models for each property.

    Args:
        found: Of every model and property.

    Returns:
        The choices. Scores of different kinds aren't compared.
    """
    choices = []
    names = list(dict.fromkeys(one.target for one in found))
    for name in names:
        of_models = [one for one in found if one.target == name]
        pairs = len(of_models) * (len(of_models) - 1) // 2 * len(names)
        for k, one in enumerate(of_models):
            for other in of_models[k + 1 :]:
                if one.measure == other.measure:
                    choices.append(_choice(one, other, 2 * pairs))
    return choices


def _choice(one: PropertyLayers, other: PropertyLayers, comparisons: int) -> ModelChoice:
    first, second = one.scores[one.best], other.scores[other.best]
    if first.value < second.value:
        one, other, first, second = other, one, second, first
    gap = difference(first, second, simultaneous(comparisons))
    sure = gap[1] is not None and gap[1] > 0.0
    values = one.measured(one.best).value, other.measured(other.best).value
    return ModelChoice(
        one.target, (one.model, one.best), (other.model, other.best), values, gap, sure, one.less_is_better
    )
