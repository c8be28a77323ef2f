"""Detectors: each looks at one reading, its curve's past and the step's other readings, and says what is wrong.

A detector has no state and sees readings, never tensors. How many readings in a row must have a finding before there is
an alarm is its `patience`, which `rankwatch.alarms.alarm_tracker` counts. Detectors of a user's own are added to these
or replace them: ``RankWatch(sensitivity=[*default_detectors(), Mine()])``.
"""

from rankwatch.alarms.detectors.abrupt_change import AbruptChange
from rankwatch.alarms.detectors.absolute import (
    Anisotropy,
    CompleteCollapse,
    DeadDimensions,
    GrowingAnisotropy,
    LowRank,
    NonFinite,
)
from rankwatch.alarms.detectors.base import Detector, Finding, StepContext
from rankwatch.alarms.detectors.comparative import (
    CodebookCollapse,
    DataShift,
    DomainGap,
    LayerOutlier,
    TemporalCollapse,
    UtteranceCollapse,
)
from rankwatch.alarms.detectors.nothing_learnt import FrozenRepresentation, RepeatedBatch
from rankwatch.alarms.detectors.presets import SENSITIVITIES, default_detectors
from rankwatch.alarms.detectors.relative import (
    RankDecline,
    SuddenRankDrop,
    UnstableRank,
)
from rankwatch.alarms.detectors.slow_declines import SlowPerplexityDecline, SlowRankDecline

__all__ = [
    "SENSITIVITIES",
    "AbruptChange",
    "Anisotropy",
    "CodebookCollapse",
    "CompleteCollapse",
    "DataShift",
    "DeadDimensions",
    "Detector",
    "DomainGap",
    "Finding",
    "FrozenRepresentation",
    "GrowingAnisotropy",
    "LayerOutlier",
    "LowRank",
    "NonFinite",
    "RankDecline",
    "RepeatedBatch",
    "SlowPerplexityDecline",
    "SlowRankDecline",
    "StepContext",
    "SuddenRankDrop",
    "TemporalCollapse",
    "UnstableRank",
    "UtteranceCollapse",
    "default_detectors",
]
