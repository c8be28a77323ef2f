"""For one property: the layers that can't be told apart from the best, and how much of the model they need."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from scipy.stats import norm

from rankwatch.analysis.decision.properties import Property
from rankwatch.analysis.measures.measurement import Measurement, difference, mirrored
from rankwatch.analysis.measures.profile import Profile
from rankwatch.analysis.rows.row_tables import LayerInfo

WRONG = 0.05
"""Probability with which a layer that is as good as the best is called worse, or any of several such."""

ENOUGH = 0.95
"""Share of what the best layer has above chance that a smaller part of the model has to keep."""

HALF_KNOWN = 0.1
"""Half width of an interval from which "not found" means "not known"."""


@dataclass(frozen=True)
class PropertyLayers:
    """Which layers of a model hold a property.

    Attributes:
        model: The model's name.
        target: The property.
        measure: By which score layers are compared.
        scores: The score of each layer; one minus what was measured where that is an error.
        chance: What a layer that knows nothing reaches.
        best: The layer with the highest score.
        alike: Layers that can't be told apart from it, the best among them, in order.
        comparable: Whether differences have intervals at all; otherwise only the order of the scores is known.
        found: True where the best layer is above chance (though it is the best of several), False where no layer is
            by more than `HALF_KNOWN`, None where that isn't known.
        enough: The first layer, in order of cost, that surely keeps `ENOUGH` of the best's share above chance.
        possible: The first layer that may do so, as far as is known.
        about: The tier or column that the property is of.
        less_is_better: Whether what was measured is an error.
    """

    model: str
    target: str
    measure: str
    scores: Mapping[str, Measurement]
    chance: float
    best: str
    alike: tuple[str, ...]
    comparable: bool
    found: bool | None
    enough: str | None
    possible: str
    about: str = ""
    less_is_better: bool = False

    def measured(self, layer: str) -> Measurement:
        """What was measured of a layer: an error where `scores` are one minus errors."""
        return mirrored(self.scores[layer]) if self.less_is_better else self.scores[layer]

    @property
    def counts(self) -> bool:
        """Whether it takes part in orders of layers: what may be no more than chance does not."""
        unknown = self.found is None and self.scores[self.best].low is not None
        return self.found is not False and not unknown and self.scores[self.best].value > self.chance


def property_layers(
    profile: Profile, model: str, target: Property, layers: Sequence[LayerInfo]
) -> PropertyLayers | None:
    """Compare a model's layers by how much they hold of a property.

    Layers are compared with the best one by intervals of the paired difference, with a quantile for all comparisons
    together (Bonferroni; multiple comparisons with the best: Hsu, Ann. Statist. 1984).

    Args:
        profile: All measurements.
        model: The model's name.
        target: The property.
        layers: The model's layers.

    Returns:
        What was found; None where the property could not be measured.
    """
    measure, scores = _scores(profile, model, target)
    if not scores:
        return None
    chance = max((m.chance or 0.0 for m in scores.values()), default=0.0)
    best = max(scores, key=lambda layer: scores[layer].value)
    quantile = simultaneous(len(scores) - 1)
    gaps = {layer: difference(scores[best], m, quantile) for layer, m in scores.items() if layer != best}
    comparable = any(low is not None for _, low, _ in gaps.values()) or not gaps
    alike = tuple(layer for layer in scores if layer == best or _may_be_zero(gaps[layer]))
    order = [layer.label for layer in _by_cost(layers) if layer.label in scores]
    # Both sides relative to chance: v - c >= 0.95 (b - c), that is v - 0.95 b >= 0.05 c.
    spare = {
        layer: difference(scores[layer], scores[best], simultaneous(1), ENOUGH) for layer in order if layer != best
    }
    need = (1.0 - ENOUGH) * chance
    enough = next((k for k in order if k == best or ((low := spare[k][1]) is not None and low >= need)), None)
    possible = next(k for k in order if k == best or _may_reach(spare[k], need))
    return PropertyLayers(
        model, target.name, measure, scores, chance, best, alike, comparable, _found(scores[best], chance, len(scores)),
        enough if comparable else None, possible, target.about, target.less_is_better,
    )  # fmt: skip


def _scores(profile: Profile, model: str, target: Property) -> tuple[str, dict[str, Measurement]]:
    """The first of a property's measures that there are numbers of, and these by layer: more is better."""
    for measure in target.measures:
        found = profile.find(model=model, measure=measure, target=target.about)
        scores = {layer: one for layer, one in found.items() if _is_number(one)}
        if scores:
            return measure, {k: mirrored(one) if target.less_is_better else one for k, one in scores.items()}
    return "", {}


def simultaneous(comparisons: int) -> float:
    """Half width, in standard errors, of one-sided intervals that all hold together with 95 %."""
    return float(norm.ppf(1.0 - WRONG / max(comparisons, 1)))


def _is_number(one: Measurement) -> bool:
    return math.isfinite(one.value)


def _may_be_zero(gap: tuple[float, float | None, float | None]) -> bool:
    return gap[1] is None or gap[1] <= 0.0


def _may_reach(spare: tuple[float, float | None, float | None], need: float) -> bool:
    return spare[0] >= need if spare[2] is None else spare[2] >= need


def _found(best: Measurement, chance: float, layers: int) -> bool | None:
    """Whether the best of so many layers is above chance, where any of them may be so by accident."""
    if best.low is None or best.high is None:
        return None
    low = best.low if best.error is None else best.value - simultaneous(layers) * best.error
    if low > chance + 1e-9:
        return True
    return False if best.high - max(chance, 0.0) < HALF_KNOWN else None


def _by_cost(layers: Sequence[LayerInfo]) -> list[LayerInfo]:
    """Layers from the cheapest on: in order of the parameters needed up to them, else as they stand."""
    return sorted(layers, key=lambda layer: layer.cost.parameters if layer.cost is not None else 0)
