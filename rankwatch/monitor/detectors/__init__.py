"""Detectors: each looks at one reading, its curve's past and what was read beside it, and says what is wrong.

A detector keeps nothing and sees readings, never tensors. How often it must say so before there is an alarm is its
`patience`, which `rankwatch.monitor.judge` counts. A user's own stands beside these or replaces them:
``RankWatch(detectors=[*default_detectors(), Mine()])``.
"""

from rankwatch.monitor.detectors.absolute import (
    Constant,
    Converging,
    DeadDimensions,
    FewDimensions,
    NonFinite,
    SharedVector,
)
from rankwatch.monitor.detectors.base import Detector, Finding, Moment
from rankwatch.monitor.detectors.relative import Falling, SlowSlide, Stalled, SuddenDrop, Unsteady
from rankwatch.monitor.detectors.sensitivity import SENSITIVITIES, default_detectors
from rankwatch.monitor.detectors.structure import Codebook, DataChanged, DomainGap, LayerApart, Temporal, Utterances

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
