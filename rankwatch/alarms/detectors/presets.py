"""One plain word for how soon to speak: the detectors' thresholds and patience together."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from rankwatch.alarms.detectors.abrupt_change import AbruptChange
from rankwatch.alarms.detectors.absolute import (
    Anisotropy,
    CompleteCollapse,
    DeadDimensions,
    GrowingAnisotropy,
    LowRank,
    NonFinite,
)
from rankwatch.alarms.detectors.base import Detector
from rankwatch.alarms.detectors.comparative import (
    CodebookCollapse,
    DataShift,
    DomainGap,
    LayerOutlier,
    TemporalCollapse,
    UtteranceCollapse,
)
from rankwatch.alarms.detectors.nothing_learnt import FrozenRepresentation, RepeatedBatch
from rankwatch.alarms.detectors.relative import (
    RankDecline,
    SuddenRankDrop,
    UnstableRank,
)
from rankwatch.alarms.detectors.slow_declines import SlowPerplexityDecline, SlowRankDecline

SENSITIVITIES = ("low", "default", "high")

# Most telling first: of several kinds about one curve the first leads the message.
_ALL: tuple[Any, ...] = (
    NonFinite(),
    CompleteCollapse(),
    Anisotropy(),
    SuddenRankDrop(),
    LowRank(),
    RankDecline(),
    TemporalCollapse(),
    UtteranceCollapse(),
    DeadDimensions(),
    GrowingAnisotropy(),
    CodebookCollapse(),
    DomainGap(),
    SlowRankDecline(),
    SlowPerplexityDecline(),
    UnstableRank(),
    FrozenRepresentation(),
    RepeatedBatch(),
    AbruptChange(),
    LayerOutlier(),
    DataShift(),
)
_LOW: dict[type[Any], dict[str, float]] = {
    GrowingAnisotropy: {"mean_energy_fraction": 0.99},
    SuddenRankDrop: {"below": 0.35, "patience": 3},
    RankDecline: {"below": 0.45, "utterance_below": 0.35, "patience": 4},
    TemporalCollapse: {"at_most": 0.015},
    UtteranceCollapse: {"at_most": 0.01},
    DeadDimensions: {"at_most": 0.5},
    CodebookCollapse: {"below": 0.3},
    SlowRankDecline: {"below": 0.25, "utterance_below": 0.15},
    SlowPerplexityDecline: {"below": 0.5},
    UnstableRank: {"above": 0.2},
    AbruptChange: {"above": 0.4, "times": 8.0},
    DomainGap: {"below": 0.5},
    LayerOutlier: {"below": 0.6},
}
_HIGH: dict[type[Any], dict[str, float]] = {
    GrowingAnisotropy: {"mean_energy_fraction": 0.95},
    SuddenRankDrop: {"below": 0.65},
    RankDecline: {"below": 0.75, "utterance_below": 0.65, "patience": 2},
    TemporalCollapse: {"at_most": 0.06, "patience": 2},
    UtteranceCollapse: {"at_most": 0.04, "patience": 2},
    DeadDimensions: {"at_most": 0.1},
    CodebookCollapse: {"below": 0.7},
    SlowRankDecline: {"below": 0.6, "utterance_below": 0.4},
    SlowPerplexityDecline: {"below": 0.85},
    UnstableRank: {"above": 0.08},
    AbruptChange: {"above": 0.1, "times": 2.5},
    DomainGap: {"below": 0.8},
    LayerOutlier: {"below": 0.85},
}


def default_detectors(sensitivity: str = "default") -> tuple[Detector, ...]:
    """The detectors, set to one sensitivity.

    What is wrong for certain (NaN, a constant, a cloud without dimensions) is found alike by all three.

    Args:
        sensitivity: ``"low"``: only what leaves no doubt; ``"default"``: what was measured (the page "How
            far alarms can be trusted"); ``"high"``: sooner, with false alarms.

    Returns:
        The detectors, most telling first.

    Raises:
        ValueError: For another word.

    Example:
        >>> from rankwatch.alarms.detectors import RankDecline
        >>> next(d.below for d in default_detectors("high") if isinstance(d, RankDecline))
        0.75
    """
    if sensitivity not in SENSITIVITIES:
        raise ValueError(f"sensitivity={sensitivity!r}: must be one of {', '.join(SENSITIVITIES)}")
    changes = {"low": _LOW, "default": {}, "high": _HIGH}[sensitivity]
    return tuple(replace(detector, **changes.get(type(detector), {})) for detector in _ALL)
