"""What is wrong whatever came before: watched from the first reading on."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

from rankwatch.alarms.detectors.base import Finding, StepContext, lower, upper
from rankwatch.alarms.history import IGNORED_READINGS, Series
from rankwatch.numerics.rank.rank_estimate import CONSTANT, ROUNDED
from rankwatch.readings.codebook_reading import NON_FINITE, AnyReading, CodebookReading
from rankwatch.readings.reading import Reading

_SHARED = "mean_energy_fraction"
_SHARES = "one shared vector makes up {:.4%} of the embeddings' second moment"


@dataclass(frozen=True)
class NonFinite:
    """NaN or Inf in the embeddings.

    Attributes:
        critical_from: Share of rows from which it may be critical; fewer (one bad utterance) are a warning.
        patience: Readings in a row before it is an alarm.
    """

    critical_from: float = 0.5
    kind: str = "non_finite"
    patience: int = 1
    reads: ClassVar[tuple[type, ...]] = (Reading, CodebookReading)

    def check(self, reading: AnyReading, past: Series, context: StepContext) -> Finding | None:
        """Look at ``metrics["non_finite_fraction"]`` of a layer, and at the status of a quantizer."""
        share = reading.metrics.get("non_finite_fraction", 0.0)
        if NON_FINITE in reading.status:
            return Finding("the quantizer's perplexity is NaN or Inf", 0.0)
        if not share > 0.0:
            return None
        return Finding(
            f"{share:.1%} of the rows hold NaN or Inf", 1.0 - share, can_be_critical=share >= self.critical_from
        )


@dataclass(frozen=True)
class CompleteCollapse:
    """All rows are one vector, up to the number format's rounding: complete collapse.

    The share of the second moment that is left around the mean is below `spread`. A centred rank can't see
    this (it reads the rounding noise), a std of normalised embeddings can. Where the rows were rounded by so little
    that the rank of what is left can be read, and it holds, they aren't one vector: `Anisotropy` is for that. At
    utterance level only rows that are exactly alike count: means over many frames are naturally close to one another.

    Attributes:
        spread: Largest share of the second moment around the mean, 1 - mean_energy_fraction, that counts as none.
            Rounding to bfloat16 leaves about 5e-6, to float32 1e-15.
        patience: Readings in a row before it is an alarm.
    """

    spread: float = 1e-5
    kind: str = "complete_collapse"
    patience: int = 2

    def check(self, reading: Reading, past: Series, context: StepContext) -> Finding | None:
        """Look at ``metrics["mean_energy_fraction"]`` and at the status."""
        share = reading.metrics.get(_SHARED, math.nan)
        near = reading.level == "frame" and 1.0 - share < self.spread
        readable = ROUNDED not in reading.status and _rank_holds(reading, past)
        if CONSTANT not in reading.status and (not near or readable):
            return None
        return Finding(f"all {reading.n} rows are the same vector (mean_energy_fraction {share:.6f})", 0.0)


@dataclass(frozen=True)
class Anisotropy:
    """Nearly all of every frame is one shared vector; what differs is a fiftieth of its length.

    The effective rank is that of the cloud around its mean, so it can't see this. What differs is still above the
    number format's rounding (`CompleteCollapse` is for what isn't), so its rank can be read. It can become critical

    * where that rank is below 80 % of its reference or, until there is one, below 35 % of its early readings, or isn't
      known;
    * where that rank holds, but what isn't shared is down to a fifth of what it usually was, and the rank at utterance
      level to half of its reference: noise has a high rank, too. A vector that takes over across hundreds of readings
      moves what is usual, and isn't seen by this.

    It is a warning where the rank holds but rounding would have changed it: the number format is too coarse for what is
    left. Otherwise it is information: whoever reads the layer with a bias of their own (a probe, a head) takes the
    shared vector off and loses nothing, and encoders that have learnt how often each target comes, and nothing else
    yet, share nearly everything. Not judged at utterance level, where means over many frames are naturally close to one
    another.

    Attributes:
        mean_energy_fraction: Share of the second moment that the mean vector may take.
        below: What isn't shared, relative to the upper quartile of its newest 64 clean readings, that counts as shrunk.
        utterance_below: Share of the reference below which the rank at utterance level must be beside that.
        patience: Readings in a row before it is an alarm.
    """

    mean_energy_fraction: float = 0.9995
    below: float = 0.2
    utterance_below: float = 0.5
    kind: str = "anisotropy"
    patience: int = 3

    def check(self, reading: Reading, past: Series, context: StepContext) -> Finding | None:
        """Look at ``metrics["mean_energy_fraction"]``."""
        share = reading.metrics.get(_SHARED, math.nan)
        if reading.level != "frame" or not share > self.mean_energy_fraction:
            return None
        if not _rank_holds(reading, past):
            return Finding(_SHARES.format(share), 0.0)
        left = context.latest_ratio((reading.source, "utterance", reading.layer), IGNORED_READINGS)
        if left < self.utterance_below and _shrunk(share, past.usual(_SHARED, IGNORED_READINGS, 0.25), self.below):
            evidence = f"{_SHARES.format(share)}, and more and more; the effective rank of utterances is {left:.0%}"
            return Finding(f"{evidence} of its usual", 0.0)
        evidence = f"{_SHARES.format(share)}, the effective rank of the rest holds"
        if ROUNDED in reading.status:
            return Finding(f"{evidence}, but rounding is near", 0.0, corroborated=False)
        certain = past.reference(IGNORED_READINGS) is not None
        return Finding(evidence, 1.0, can_be_critical=False, corroborated=certain, info_only=True)


@dataclass(frozen=True)
class GrowingAnisotropy:
    """Frames have come closer and closer to one shared vector, and utterances span fewer dimensions than they did.

    A high share by itself says nothing: trained transformers are anisotropic by nature. Nor does its growth in the
    first readings: as long as a loss tells a model only how often each target comes, its gradient is nearly the same
    for all frames, and moves them all along one vector. So what is not shared must have shrunk since the layer has
    settled or, since the start, utterances must have lost half of the dimensions that they had in the random network.
    Without an utterance level the share alone counts. Never more than a warning.

    Attributes:
        mean_energy_fraction: Share of the second moment that the mean vector may take.
        below: What isn't shared, relative to the upper quartile of the newest 64 clean readings, that counts as shrunk.
        utterance_below: Below which share of its beginning the effective rank of the layer's utterances must be for an
            alarm to begin; it ends where the share of the mean vector is low again.
        utterance_below_initial: The same, of the highest of their first readings, where that quartile is one of all
            readings, those of the warm-up too.
        patience: Readings in a row before it is an alarm.
    """

    mean_energy_fraction: float = 0.97
    below: float = 0.2
    utterance_below: float = 0.75
    utterance_below_initial: float = 0.5
    kind: str = "growing_anisotropy"
    patience: int = 3

    def check(self, reading: Reading, past: Series, context: StepContext) -> Finding | None:
        """Compare ``metrics["mean_energy_fraction"]`` with what it was."""
        share = reading.metrics.get(_SHARED, math.nan)
        if reading.level != "frame" or not share > self.mean_energy_fraction:
            return None
        means = (reading.source, "utterance", reading.layer)
        # Where what shrank in the first readings counts, they can't be what it is compared with, but for the highest.
        pasts = (
            (past.usual(_SHARED, IGNORED_READINGS, 0.25), self.utterance_below, 0.5),
            (past.clean_quantile(_SHARED, 0.25), self.utterance_below_initial, 1.0),
        )
        rose = [
            f", {before:.2%} before"
            for before, utterance_below, of_first in pasts
            if before is not None
            and _shrunk(share, before, self.below)
            and not context.latest_ratio_to_initial(means, IGNORED_READINGS, of_first) >= utterance_below
        ]
        # What holds ends where the share is low again, not when the past is full of it.
        if not rose and not context.holds(self.kind, reading):
            return None
        return Finding(f"{_SHARES.format(share)}{''.join(rose[:1])}", 1.0, can_be_critical=False)


@dataclass(frozen=True)
class LowRank:
    """The cloud has hardly more than one dimension, whatever it had before.

    It is a warning as long as the means over time of the same layer span more than that, and hold their rank: those lie
    in the span of the frames, which has not been lost then; a few large values dominate it (steps in silence, massive
    activations).

    Attributes:
        at_most: Effective rank (its upper bound, where there is one) that is too low for any layer
            of at least `width` channels.
        width: Narrower layers are not judged.
        patience: Readings in a row before it is an alarm.
    """

    at_most: float = 2.5
    width: int = 16
    kind: str = "dimensional_collapse"
    patience: int = 3

    def check(self, reading: Reading, past: Series, context: StepContext) -> Finding | None:
        """Look at the effective rank."""
        if not reading.ok or reading.d < self.width or reading.n <= self.width:
            return None
        rank = upper(reading)
        if rank > self.at_most:
            return None
        evidence = f"effective rank {reading.effective_rank:.1f} of {reading.d}"
        about = (reading.source, "utterance", reading.layer)
        means, before = context.readings.get(about), context.series.get(about)
        spans_more = means is not None and reading.level == "frame" and lower(means) > self.at_most
        if means is None or before is None or not spans_more or not _rank_holds(means, before):
            return Finding(evidence, rank / reading.d)
        evidence = f"{evidence}, while that of utterances holds at {means.effective_rank:.1f}"
        return Finding(evidence, rank / reading.d, corroborated=False)


@dataclass(frozen=True)
class DeadDimensions:
    """Many of the layer's dimensions say nothing: their variance is gone.

    Attributes:
        at_most: Share of dimensions that may be dead.
        critical_from: Share from which it may be critical.
        patience: Readings in a row before it is an alarm.
    """

    at_most: float = 0.25
    critical_from: float = 0.75
    kind: str = "dead_dimensions"
    patience: int = 3

    def check(self, reading: Reading, past: Series, context: StepContext) -> Finding | None:
        """Look at ``metrics["dead_dimension_fraction"]``, at frame level."""
        share = reading.metrics.get("dead_dimension_fraction", math.nan)
        if reading.level != "frame" or not reading.ok or not share > self.at_most:
            return None
        return Finding(
            f"{share:.0%} of the {reading.d} dimensions are dead",
            1.0 - share,
            can_be_critical=share >= self.critical_from,
        )


def _shrunk(share: float, before: float | None, below: float) -> bool:
    """Whether what isn't shared has come down to so little of what it was."""
    return before is not None and 1.0 - share < below * (1.0 - before)


def _rank_holds(reading: Reading, past: Series, below: float = 0.8, below_initial: float = 0.35) -> bool:
    """Whether the effective rank is near its reference or, until there is one, not far below its early readings."""
    reference = past.reference(IGNORED_READINGS)
    if reference is None:
        reference, below = past.initial_level(IGNORED_READINGS), below_initial
    return reading.ok and reference is not None and reading.effective_rank >= below * reference
