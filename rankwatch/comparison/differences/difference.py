"""One layer of two runs or checkpoints: their effective ranks, and the ratio with its intervals."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any

from rankwatch.comparison.differences.verdicts import UNKNOWN

ALL_LAYERS = "all layers"
"""Name of the geometric mean over layers, which stands among the layers."""


@dataclass(frozen=True)
class Place:
    """What is compared.

    Attributes:
        source: Name of the evaluation set; the corpus' name for checkpoints.
        level: ``"frame"`` or ``"utterance"``.
        layer: The layer's short name, or `ALL_LAYERS`.
    """

    source: str
    level: str
    layer: str


@dataclass(frozen=True)
class Difference:
    """How much larger one effective rank is than another.

    Attributes:
        place: Evaluation set, level and layer.
        one: Name of the first run, checkpoint or group of them.
        other: Of the second.
        step: Optimiser step of a run; None for checkpoints.
        ranks: Both effective ranks; of a group the geometric mean.
        ratio: The first divided by the second; NaN where either is.
        low: Lower end of the interval that holds together with those of all other layers and levels of the comparison,
            or of all other means over layers (95 %); None where it isn't known.
        high: Upper end, likewise.
        low_90: Lower end of its own 90 % interval, likewise.
        high_90: Upper end, likewise.
        verdict: ``"higher"``, ``"lower"``, ``"alike"`` or ``"not known"``, of the first next to the second and to
            `at_least`.
        at_least: The smallest relative difference that matters.
        paired: Whether the interval comes from the same utterances in both.
        seeds: Whether it holds for runs of other seeds, too: both are groups of at least two runs in all.
        same_seeds: Whether each run was compared with that of the same seed in the other group.
        similarity: Of the two layers at the same frames with the ends of its 90 % interval, or None.
        status: What stands against the numbers, and why there is no interval.
    """

    place: Place
    one: str
    other: str
    ranks: tuple[float, float]
    ratio: float
    low: float | None
    high: float | None
    low_90: float | None
    high_90: float | None
    at_least: float
    verdict: str = UNKNOWN
    step: int | None = None
    paired: bool = False
    seeds: bool = False
    same_seeds: bool = False
    similarity: tuple[float, float | None, float | None] | None = None
    status: tuple[str, ...] = ()

    @property
    def differs(self) -> bool | None:
        """Whether the two differ at all, as far as these data say; None where there is no interval."""
        if self.low is None or self.high is None:
            return None
        return self.low > 1.0 or self.high < 1.0

    def to_plain(self) -> dict[str, Any]:
        """Its fields as JSON can have them, flat; NaN is None."""
        found = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        place, ranks, similarity = found.pop("place"), found.pop("ranks"), found.pop("similarity")
        found = {**dataclasses.asdict(place), "rank_one": ranks[0], "rank_other": ranks[1], **found}
        names = ("similarity", "similarity_low", "similarity_high")
        found |= dict(zip(names, similarity or (None, None, None), strict=True))
        found |= {"differs": self.differs, "status": list(self.status)}
        return {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in found.items()}


def ends(log_ratio: float, half: float) -> tuple[float | None, float | None]:
    """The ends of a ratio's interval from its logarithm; None where either isn't known."""
    if not math.isfinite(log_ratio) or not math.isfinite(half):
        return None, None
    return math.exp(log_ratio - half), math.exp(log_ratio + half)
