"""What a detector is, what it is shown, and what it says."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field
from typing import Any, Protocol

from rankwatch.alarms.history import IGNORED_READINGS, Series
from rankwatch.readings.codebook_reading import AnyReading
from rankwatch.readings.reading import Key, Reading

_WITHIN = "within_utterance_variance_fraction"
_ALIKE_AT_MOST, _ALIKE_BELOW = 0.05, 0.25  # of the variance, and of the usual share of it, between utterances
_SHARED = "mean_energy_fraction"
_NEARLY_ALL = 0.9  # share of the energy in one shared vector beside which the rest's rank is no reference
_MORE_REMAINS = 3.0  # multiple of what is outside of the shared vector that shows it to have gone


@dataclass(frozen=True)
class Finding:
    """What a detector saw in one reading.

    Attributes:
        evidence: One sentence with numbers, without the layer's name.
        ratio: How much is left of what should be there, in [0, 1]; the health of this layer.
        can_be_critical: Whether it may become critical; otherwise it stays a warning.
        corroborated: Whether it needs no other indicator that agrees before it may become critical. Of information:
            whether it is certain that nothing is lost; a checkpoint of the step isn't called healthy otherwise.
        info_only: Whether it is worth a line and no alarm.
    """

    evidence: str
    ratio: float
    can_be_critical: bool = True
    corroborated: bool = True
    info_only: bool = False

    def __post_init__(self) -> None:
        """Plain values, whatever a detector calculates with: they go into checkpoints."""
        ratio = float(self.ratio)
        object.__setattr__(self, "ratio", min(max(ratio, 0.0), 1.0) if math.isfinite(ratio) else 0.0)
        object.__setattr__(self, "evidence", str(self.evidence))


@dataclass(frozen=True)
class StepContext:
    """What else there is at the step of a reading; for detectors that compare layers, levels and sources.

    Attributes:
        primary: Name of the first evaluation set.
        readings: All layers' readings of the step, by curve.
        series: The pasts of all curves, quantizers' too; without the readings of this step.
        lr_warming_up: Whether the learning rate is still rising for the first time.
        learning_rate: The learning rate relative to its highest so far; NaN where it isn't known.
        rates: Of the newest 64 steps with readings, this one the last: the step, `learning_rate` and whether it was
            still rising for the first time (1 or 0).
        open: Kinds and curves of the alarms that hold: an alarm ends only where its cause is clearly gone.
        repeated_batches: Whether the training batches around the reading before were seen to be one and the same.
    """

    primary: str
    readings: Mapping[Key, Reading] = field(default_factory=dict)
    series: Mapping[Key, Series] = field(default_factory=dict)
    lr_warming_up: bool = False
    learning_rate: float = math.nan
    rates: Sequence[Sequence[float]] = ()
    open: Set[tuple[str, Key]] = frozenset()
    repeated_batches: bool = False

    def holds(self, kind: str, reading: AnyReading) -> bool:
        """Whether an alarm of this kind holds about the reading's curve."""
        return (kind, reading.key) in self.open

    def ratio(self, key: Key, ignored_readings: int) -> float:
        """Effective rank of a curve relative to its own reference; NaN where either isn't there."""
        past = self.series.get(key)
        return self._now(key) / _or_nan(None if past is None else past.reference(ignored_readings))

    def ratio_to_initial(self, key: Key, ignored_readings: int, of_first: float = 0.5) -> float:
        """Effective rank of a curve relative to its `Series.initial_level`; NaN where either isn't there."""
        past = self.series.get(key)
        return self._now(key) / _or_nan(
            None if past is None else past.initial_level(ignored_readings, of_first=of_first)
        )

    def latest_ratio(self, key: Key, ignored_readings: int) -> float:
        """`ratio`, of the curve's newest reading where this step has none: brief readings have no utterance level."""
        past = self.series.get(key)
        return self._latest(key) / _or_nan(None if past is None else past.reference(ignored_readings))

    def latest_ratio_to_initial(self, key: Key, ignored_readings: int, of_first: float = 0.5) -> float:
        """`ratio_to_initial`, of the curve's newest reading where this step has none."""
        past = self.series.get(key)
        start = None if past is None else past.initial_level(ignored_readings, of_first=of_first)
        return self._latest(key) / _or_nan(start)

    def _now(self, key: Key) -> float:
        reading = self.readings.get(key)
        return math.nan if reading is None else reading.effective_rank

    def _latest(self, key: Key) -> float:
        past = self.series.get(key)
        return self._now(key) if key in self.readings or past is None or not past.values else past.values[-1]

    def others(self, reading: Reading) -> Iterable[Key]:
        """Curves of the other layers at the reading's level and source."""
        return [k for k in self.readings if k[:2] == (reading.source, reading.level) and k[2] != reading.layer]


class Detector(Protocol):
    """What a detector must have. It keeps nothing: what it knows is in the reading and in its curve's past.

    Attributes:
        kind: The alarm's kind; of several findings of one kind about a curve the gravest counts, of these the first.
        patience: Readings in a row before it is an alarm, and clean ones before the alarm ends.

    A detector that reads quantizers names the types of its readings in a further attribute, `reads`, as `isinstance`
    takes them; without it `check` is called with each layer's `Reading`.
    """

    @property
    def kind(self) -> str: ...  # noqa: D102
    @property
    def patience(self) -> int: ...  # noqa: D102

    def check(self, reading: Any, past: Series, context: StepContext) -> Finding | None:
        """A finding, or None where all is well or nothing can be said."""
        ...


def _or_nan(value: float | None) -> float:
    return math.nan if value is None else value


def upper(reading: Reading) -> float:
    """Upper end of the effective rank's interval where there is one: an alarm is never within a reading's own error."""
    high = reading.effective_rank_high
    return reading.effective_rank if high is None or not math.isfinite(high) else high


def lower(reading: Reading) -> float:
    """Lower end of the effective rank's interval where there is one."""
    low = reading.effective_rank_low
    return reading.effective_rank if low is None or not math.isfinite(low) else low


def with_interval(reading: Reading) -> str:
    """The effective rank as it stands in a message."""
    low, high = reading.effective_rank_low, reading.effective_rank_high
    band = f" [{low:.1f}, {high:.1f}]" if low is not None and high is not None else ""
    return f"{reading.effective_rank:.1f}{band}"


def changed_data(reading: Reading, context: StepContext, inside: float = 0.8) -> bool:
    """Whether a fall in the training pass is one of the data: the layer keeps its rank on the primary set."""
    in_training = reading.protocol.mode == "train" and reading.source != context.primary
    return in_training and context.ratio((context.primary, reading.level, reading.layer), IGNORED_READINGS) > inside


def other_curve(key: Key, reading: Reading) -> str:
    """Another curve as the subject of a sentence about a reading: only what differs from that is named."""
    source, level, layer = key
    whose = "its rank" if layer == reading.layer else layer
    where = "" if level == reading.level else f" at {level} level"
    if source != reading.source:
        where += " in the training pass" if source == "train" else f" on evaluation set {source!r}"
    return f"{whose}{where}"


def ends_shared_vector(reading: Reading, past: Series, ignored_readings: int) -> bool:
    """Whether the layer used to be nearly one shared vector, and no longer is.

    So it is where a method that has learnt nothing yet (the loss stands still, all outputs grow alike) begins to learn:
    wav2vec 2.0's rank fell to half in the very readings in which all probes rose.

    Returns:
        Whether its usual rank was that of a small remainder, and is no reference for a reading that holds more.
    """
    usual, now = past.usual(_SHARED, ignored_readings), reading.metrics.get(_SHARED, math.nan)
    return usual is not None and usual > _NEARLY_ALL and 1.0 - now > _MORE_REMAINS * (1.0 - usual)


def utterances_alike(reading: Reading, past: Series) -> bool:
    """Whether what tells utterances apart has nearly gone: a twentieth of the variance, and a quarter of the usual.

    Returns:
        False where less than four clean readings say what is usual.
    """
    usual, between = past.clean_quantile(_WITHIN, 0.5), 1.0 - reading.metrics.get(_WITHIN, math.nan)
    return usual is not None and between < min(_ALIKE_AT_MOST, _ALIKE_BELOW * (1.0 - usual))
