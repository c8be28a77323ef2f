"""One plain word for how soon to speak: the detectors' thresholds and patience together."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from rankwatch.alarms.detectors.absolute import (
    Constant,
    Converging,
    DeadDimensions,
    FewDimensions,
    NonFinite,
    SharedVector,
)
from rankwatch.alarms.detectors.base import Detector
from rankwatch.alarms.detectors.comparative import Codebook, DataChanged, DomainGap, LayerApart, Temporal, Utterances
from rankwatch.alarms.detectors.relative import Falling, SlowSlide, Stalled, SuddenDrop, Unsteady

SENSITIVITIES = ("low", "default", "high")

# Most telling first: of several kinds about one curve the first leads the message.
_ALL: tuple[Any, ...] = (
    NonFinite(),
    Constant(),
    SharedVector(),
    SuddenDrop(),
    FewDimensions(),
    Falling(),
    Temporal(),
    Utterances(),
    DeadDimensions(),
    Converging(),
    Codebook(),
    DomainGap(),
    SlowSlide(),
    Unsteady(),
    Stalled(),
    LayerApart(),
    DataChanged(),
)
_LOW: dict[type[Any], dict[str, float]] = {
    Converging: {"mean_share": 0.99},
    SuddenDrop: {"below": 0.35, "patience": 3},
    Falling: {"below": 0.45, "utterance_below": 0.35, "patience": 4},
    Temporal: {"at_most": 0.015},
    Utterances: {"at_most": 0.01},
    DeadDimensions: {"at_most": 0.5},
    Codebook: {"below": 0.3},
    SlowSlide: {"below": 0.25},
    Unsteady: {"above": 0.2},
    DomainGap: {"below": 0.5},
    LayerApart: {"below": 0.6},
}
_HIGH: dict[type[Any], dict[str, float]] = {
    Converging: {"mean_share": 0.95},
    SuddenDrop: {"below": 0.65},
    Falling: {"below": 0.75, "utterance_below": 0.65, "patience": 2},
    Temporal: {"at_most": 0.06, "patience": 2},
    Utterances: {"at_most": 0.04, "patience": 2},
    DeadDimensions: {"at_most": 0.1},
    Codebook: {"below": 0.7},
    SlowSlide: {"below": 0.6},
    Unsteady: {"above": 0.08},
    DomainGap: {"below": 0.8},
    LayerApart: {"below": 0.85},
}


def default_detectors(sensitivity: str = "default") -> tuple[Detector, ...]:
    """The detectors, set to one sensitivity.

    What is wrong for certain (NaN, a constant, a cloud without dimensions) is told alike by all three.

    Args:
        sensitivity: ``"low"``: only what leaves no doubt; ``"default"``: what was measured (see
            `rankwatch/monitor/README.md`); ``"high"``: sooner, with false alarms.

    Raises:
        ValueError: For another word.

    Example:
        >>> from rankwatch.alarms.detectors import Falling
        >>> next(d.below for d in default_detectors("high") if isinstance(d, Falling))
        0.75
    """
    if sensitivity not in SENSITIVITIES:
        raise ValueError(f"sensitivity={sensitivity!r}: must be one of {', '.join(SENSITIVITIES)}")
    changes = {"low": _LOW, "default": {}, "high": _HIGH}[sensitivity]
    return tuple(replace(detector, **changes.get(type(detector), {})) for detector in _ALL)
