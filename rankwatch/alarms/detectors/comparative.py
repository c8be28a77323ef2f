"""What is wrong with how the variance is shared: within utterances, between them, among layers, sources and codes."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from rankwatch.alarms.detectors.base import Finding, StepContext, changed_data, upper, with_interval
from rankwatch.alarms.history import IGNORED_READINGS, Series
from rankwatch.readings.codebook_reading import CodebookReading
from rankwatch.readings.reading import Reading

_WITHIN = "within_utterance_variance_fraction"


@dataclass(frozen=True)
class TemporalCollapse:
    """The frames of an utterance are alike: what is left of their variance is that between utterances.

    Attributes:
        at_most: Share of the variance within utterances that is too low for any layer.
        below: Share of what the layer usually has.
        ignored_readings: Readings at the start that don't serve as reference.
        patience: Readings in a row before it is an alarm.
    """

    at_most: float = 0.03
    below: float = 0.25
    ignored_readings: int = IGNORED_READINGS
    kind: str = "temporal_collapse"
    patience: int = 3

    def check(self, reading: Reading, past: Series, context: StepContext) -> Finding | None:
        """Look at ``metrics["within_utterance_variance_fraction"]``, at frame level."""
        share = reading.metrics.get(_WITHIN, math.nan)
        usual = past.usual(_WITHIN, self.ignored_readings)
        if reading.level != "frame" or not share < self.at_most or reading.protocol.mode == "train":
            return None
        if usual is not None and share > self.below * usual:
            return None
        return Finding(f"only {share:.1%} of the frames' variance lies within utterances", share / self.at_most)


@dataclass(frozen=True)
class UtteranceCollapse:
    r"""All utterances are alike while their frames still differ: what tells speakers, words and channels apart is gone.

    The share between utterances has an error of its own: with U utterances of m frames each and variance in p
    dimensions (the participation ratio) about :math:`\frac{1}{m}\sqrt{2 / ((U - 1)\,p)}` where there is nothing between
    them. What was usual has to lie `errors` of these above what is left.

    Attributes:
        at_most: Share of the variance between utterances that is too low.
        below: Share of what the layer usually has.
        errors: How many errors of the share lie between what was usual and what is left.
        ignored_readings: Readings at the start that don't serve as reference.
        patience: Readings in a row before it is an alarm.
    """

    at_most: float = 0.02
    below: float = 0.25
    errors: float = 4.0
    ignored_readings: int = IGNORED_READINGS
    kind: str = "utterance_collapse"
    patience: int = 3

    def check(self, reading: Reading, past: Series, context: StepContext) -> Finding | None:
        """Look at ``1 - metrics["within_utterance_variance_fraction"]``, at frame level."""
        between = 1.0 - reading.metrics.get(_WITHIN, math.nan)
        usual = past.usual(_WITHIN, self.ignored_readings)
        if reading.level != "frame" or not between < self.at_most or reading.protocol.mode == "train":
            return None
        if usual is None or context.lr_warming_up or not between < self.below * (1.0 - usual):
            return None
        before = 1.0 - usual
        if before < between + self.errors * self._error(reading):
            return None
        evidence = f"only {between:.1%} of the frames' variance lies between utterances, usually {before:.1%}"
        return Finding(evidence, between / before)

    @staticmethod
    def _error(reading: Reading) -> float:
        utterances = reading.utterances or reading.protocol.utterances
        frames = reading.n // utterances if reading.brief else reading.protocol.frames_per_utterance
        dimensions = reading.metrics.get("participation_ratio", math.nan)
        freedom = max(utterances - 1, 1) * (dimensions if dimensions >= 1.0 else 1.0)
        return math.sqrt(2.0 / freedom) / max(frames, 1)


@dataclass(frozen=True)
class LayerOutlier:
    """One layer leaves the others: its effective rank falls where theirs hold. The first to go.

    Attributes:
        below: Share of the layer's own reference.
        others: What the others' median relative to their references is at least.
        ignored_readings: Readings at the start that don't serve as reference.
        patience: Readings in a row before it is an alarm.
    """

    below: float = 0.75
    others: float = 0.95
    ignored_readings: int = IGNORED_READINGS + 2
    kind: str = "layer_outlier"
    patience: int = 4

    def check(self, reading: Reading, past: Series, context: StepContext) -> Finding | None:
        """Compare with the other layers of its level and source."""
        reference = past.reference(self.ignored_readings)
        if reading.level != "frame" or reading.source != context.primary or reference is None or context.lr_warming_up:
            return None
        if not reading.ok or not upper(reading) < self.below * reference:
            return None
        ratios = [
            ratio
            for key in context.others(reading)
            if math.isfinite(ratio := context.ratio(key, self.ignored_readings))
        ]
        if len(ratios) < 2 or float(np.median(ratios)) < self.others:
            return None
        ratio = reading.effective_rank / reference
        evidence = f"effective rank {with_interval(reading)} is {ratio:.0%} of its usual {reference:.1f}"
        return Finding(f"{evidence}, the other layers' {np.median(ratios):.0%}", ratio, can_be_critical=False)


@dataclass(frozen=True)
class DomainGap:
    """Out-of-domain input loses dimensions while in-domain input keeps them.

    Attributes:
        below: Share of the layer's own reference on that evaluation set.
        inside: What the same layer keeps on the primary set at least.
        ignored_readings: Readings at the start that don't serve as reference.
        patience: Readings in a row before it is an alarm.
    """

    below: float = 0.65
    inside: float = 0.9
    ignored_readings: int = IGNORED_READINGS + 2
    kind: str = "domain_gap"
    patience: int = 3

    def check(self, reading: Reading, past: Series, context: StepContext) -> Finding | None:
        """Compare a further evaluation set with the primary set."""
        if reading.source == context.primary or reading.protocol.mode == "train" or reading.level != "frame":
            return None
        reference = past.reference(self.ignored_readings)
        inside = context.ratio((context.primary, reading.level, reading.layer), self.ignored_readings)
        if reference is None or not reading.ok or not inside > self.inside or context.lr_warming_up:
            return None
        if not upper(reading) < self.below * reference:
            return None
        ratio = reading.effective_rank / reference
        evidence = f"effective rank {with_interval(reading)} is {ratio:.0%} of its usual {reference:.1f}"
        return Finding(f"{evidence}, that of {context.primary!r} {inside:.0%}", ratio, can_be_critical=False)


@dataclass(frozen=True)
class CodebookCollapse:
    """The codebook is hardly used: of the perplexity that it usually has little is left, or next to nothing at all.

    Attributes:
        at_most: Perplexity relative to the number of codes that is too low from the start.
        below: Share of what it usually has.
        ignored_readings: Readings at the start that don't serve as reference.
        patience: Readings in a row before it is an alarm.
    """

    at_most: float = 0.02
    below: float = 0.5
    ignored_readings: int = IGNORED_READINGS
    kind: str = "codebook_collapse"
    patience: int = 3
    reads: ClassVar[type] = CodebookReading

    def check(self, reading: CodebookReading, past: Series, context: StepContext) -> Finding | None:
        """Compare the perplexity with the number of codes and with its own past."""
        perplexity, codes, reference = reading.perplexity, reading.n_codes, past.reference(self.ignored_readings)
        if not reading.ok or (reading.status and perplexity > 1.5):
            return None
        unused = codes > 0 and perplexity < max(self.at_most * codes, 2.0)
        fallen = reference is not None and not context.lr_warming_up and perplexity < self.below * reference
        if not unused and not fallen:
            return None
        usual = f", usually {reference:.1f}" if reference is not None else ""
        return Finding(f"perplexity {perplexity:.1f} of {codes} codes{usual}", perplexity / max(codes, 1))


@dataclass(frozen=True)
class DataShift:
    """The training pass has lost dimensions where the evaluation set keeps them: other data, not another model.

    Information only, never an alarm.

    Attributes:
        below: Share of the layer's own reference in the training pass.
        ignored_readings: Readings at the start that don't serve as reference.
        patience: Readings in a row before it is reported.
    """

    below: float = 0.65
    ignored_readings: int = IGNORED_READINGS + 2
    kind: str = "data_shift"
    patience: int = 3

    def check(self, reading: Reading, past: Series, context: StepContext) -> Finding | None:
        """Compare the training pass with the primary set."""
        reference = past.reference(self.ignored_readings)
        if reading.level != "frame" or not reading.ok or reference is None or not changed_data(reading, context):
            return None
        if not upper(reading) < self.below * reference:
            return None
        ratio = reading.effective_rank / reference
        evidence = f"effective rank in training is {ratio:.0%} of its usual {reference:.1f}"
        return Finding(f"{evidence}, that of {context.primary!r} holds", ratio, can_be_critical=False, info_only=True)
