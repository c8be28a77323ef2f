"""Detectors: each looks at one reading, its curve's past and what was read beside it, and says what is wrong.

A detector keeps nothing and sees readings, never tensors. How often it must say so before there is an alarm is its
`patience`, which `rankwatch.alarms.alarm_tracker` counts. A user's own stands beside these or replaces them:
``RankWatch(detectors=[*default_detectors(), Mine()])``.
"""

from rankwatch.alarms.detectors.absolute import (
    Constant,
    Converging,
    DeadDimensions,
    FewDimensions,
    NonFinite,
    SharedVector,
)
from rankwatch.alarms.detectors.base import Detector, Finding, Moment
from rankwatch.alarms.detectors.comparative import Codebook, DataChanged, DomainGap, LayerApart, Temporal, Utterances
from rankwatch.alarms.detectors.presets import SENSITIVITIES, default_detectors
from rankwatch.alarms.detectors.relative import Falling, SlowSlide, Stalled, SuddenDrop, Unsteady

__all__ = [
    "SENSITIVITIES",
    "Codebook",
    "Constant",
    "Converging",
    "DataChanged",
    "DeadDimensions",
    "Detector",
    "DomainGap",
    "Falling",
    "FewDimensions",
    "Finding",
    "LayerApart",
    "Moment",
    "NonFinite",
    "SharedVector",
    "SlowSlide",
    "Stalled",
    "SuddenDrop",
    "Temporal",
    "Unsteady",
    "Utterances",
    "default_detectors",
]
