"""Detectors: each looks at one reading and its curve's past, and says whether something is wrong.

A detector is stateless and sees readings, never tensors. How often it must say so before there is an
alarm is its `patience`, which `rankwatch.monitor.judge` counts.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

from rankwatch.monitor.history import Series
from rankwatch.monitor.reading import Reading


@dataclass(frozen=True)
class Finding:
    """What a detector saw in one reading.

    Attributes:
        evidence: One sentence with numbers, without the layer's name.
        ratio: How much is left of what should be there, in [0, 1]; the health of this layer.
        grave: Whether it may become critical; otherwise it stays a warning.
    """

    evidence: str
    ratio: float
    grave: bool = True


class Detector(Protocol):
    """What a detector must have.

    Attributes:
        kind: The alarm's kind; of several findings of one kind about a curve the first counts.
        patience: Readings in a row before it is an alarm, and clean ones before the alarm ends.
        causes: Likely causes, for the message.
    """

    @property
    def kind(self) -> str: ...  # noqa: D102
    @property
    def patience(self) -> int: ...  # noqa: D102
    @property
    def causes(self) -> str: ...  # noqa: D102

    def check(self, reading: Reading, past: Series) -> Finding | None:
        """A finding, or None where all is well or nothing can be said."""
        ...


@dataclass(frozen=True)
class NonFinite:
    """NaN or Inf in the embeddings.

    Attributes:
        grave_from: Share of rows from which it may be critical; fewer (one bad utterance) are a warning.
        patience: Readings in a row before it is an alarm.
    """

    grave_from: float = 0.5
    kind: str = "non_finite"
    patience: int = 1
    causes: str = "overflow in half precision, a learning rate too high, or broken audio in the batch"

    def check(self, reading: Reading, past: Series) -> Finding | None:
        """Look at ``metrics["non_finite_share"]``."""
        share = reading.metrics.get("non_finite_share", 0.0)
        if not share > 0.0:
            return None
        return Finding(f"{share:.1%} of the rows hold NaN or Inf", 1.0 - share, grave=share >= self.grave_from)


@dataclass(frozen=True)
class Constant:
    """All rows are one vector, up to the number format's rounding: complete collapse.

    The share of the second moment that is left around the mean is below `spread`. A centred rank can't see
    this (it reads the rounding noise), a std of normalised embeddings can. At utterance level only rows that are
    exactly alike count: means over many frames are naturally close to one another.

    Attributes:
        spread: Largest share of the second moment around the mean, 1 - mean_share, that counts as none.
            Rounding to bfloat16 leaves about 5e-6, to float32 1e-15.
        patience: Readings in a row before it is an alarm.
    """

    spread: float = 1e-5
    kind: str = "constant"
    patience: int = 2
    causes: str = "targets that the model can meet with a constant: no stop-gradient, a teacher that follows too fast"

    def check(self, reading: Reading, past: Series) -> Finding | None:
        """Look at ``metrics["mean_share"]`` and at the status."""
        share = reading.metrics.get("mean_share", math.nan)
        near = reading.level == "frame" and 1.0 - share < self.spread
        if "constant" not in reading.status.split("+") and not near:
            return None
        return Finding(f"all {reading.n} rows are the same vector (mean_share {share:.6f})", 0.0)


@dataclass(frozen=True)
class SharedVector:
    """Nearly all of every frame is one shared vector; what differs is a fiftieth of it.

    Not judged at utterance level, where means over many frames are naturally close to one another.

    Attributes:
        mean_share: Share of the second moment that the mean vector may take.
        patience: Readings in a row before it is an alarm.
    """

    mean_share: float = 0.9995
    kind: str = "shared_vector"
    patience: int = 3
    causes: str = "a bias or LayerNorm offset that has taken over; often the step before a complete collapse"

    def check(self, reading: Reading, past: Series) -> Finding | None:
        """Look at ``metrics["mean_share"]``."""
        share = reading.metrics.get("mean_share", math.nan)
        if reading.level != "frame" or not share > self.mean_share:
            return None
        return Finding(f"one shared vector makes up {share:.4%} of the embeddings' second moment", 0.0)


@dataclass(frozen=True)
class FewDimensions:
    """The cloud has hardly more than one dimension, whatever it had before.

    Attributes:
        at_most: Effective rank (its upper bound, where there is one) that is too low for any layer
            of at least `width` channels.
        width: Narrower layers are not judged.
        patience: Readings in a row before it is an alarm.
    """

    at_most: float = 2.5
    width: int = 16
    kind: str = "dimensional"
    patience: int = 3
    causes: str = "all embeddings lie on a line or a plane; a std of normalised embeddings would call it healthy"

    def check(self, reading: Reading, past: Series) -> Finding | None:
        """Look at the effective rank."""
        if not reading.ok or reading.d < self.width or reading.n <= self.width:
            return None
        rank = _upper(reading)
        if rank > self.at_most:
            return None
        return Finding(f"effective rank {reading.effective_rank:.1f} of {reading.d}", rank / reading.d)


@dataclass(frozen=True)
class Falling:
    """A lasting fall of the effective rank from the layer's own reference, after a warm-up.

    The breach is judged by the upper end of the reading's interval where there is one, so that an alarm
    is never within the reading's own error. A fall during the first readings, before there is a reference, is
    judged against the very start, and more leniently: some of it is normal.

    Attributes:
        below: Share of the reference below which it is a breach.
        warmup: Readings at the start that neither count nor serve as reference.
        below_start: Share of the median of those first readings below which it is a breach.
        start_counts: Readings for which the start counts; later a slow contraction may be normal.
        patience: Readings in a row before it is an alarm.
    """

    below: float = 0.65
    warmup: int = 4
    below_start: float = 0.35
    start_counts: int = 40
    kind: str = "dimensional"
    patience: int = 3
    causes: str = (
        "a teacher that is the student or follows it too fast, a missing stop-gradient, a learning rate or "
        "weight decay far too high, a loss term against collapse that is off"
    )

    def check(self, reading: Reading, past: Series) -> Finding | None:
        """Compare with ``past.reference`` and ``past.start``."""
        if not reading.ok:
            return None
        reference, start = past.reference(self.warmup), past.start(self.warmup)
        if reference is not None and _upper(reading) < self.below * reference:
            return self._finding(reading, reference, "its reference")
        if start is not None and past.taken < self.start_counts and _upper(reading) < self.below_start * start:
            return self._finding(reading, start, "its first readings'")
        return None

    def _finding(self, reading: Reading, reference: float, whose: str) -> Finding:
        ratio = reading.effective_rank / reference
        evidence = f"effective rank {_interval(reading)} is {ratio:.0%} of {whose} {reference:.1f}"
        return Finding(evidence, min(ratio, 1.0))


@dataclass(frozen=True)
class SlowSlide:
    """The effective rank has come down to less than half of a level that it once held, however slowly.

    Never more than a warning: a slow contraction late in training can even go with better results downstream.

    Attributes:
        below: Share of the highest level ever held below which it is a finding.
        patience: Readings in a row before it is an alarm.
    """

    below: float = 0.4
    kind: str = "slow_slide"
    patience: int = 3
    causes: str = "a contraction that goes on and on; compare with a small labelled check"

    def check(self, reading: Reading, past: Series) -> Finding | None:
        """Compare with ``past.lasting``."""
        if not reading.ok or not _upper(reading) < self.below * past.lasting:
            return None
        ratio = reading.effective_rank / past.lasting
        evidence = f"effective rank {_interval(reading)} is {ratio:.0%} of the {past.lasting:.1f} that it once held"
        return Finding(evidence, ratio, grave=False)


DEFAULT_DETECTORS: tuple[Detector, ...] = (
    NonFinite(),
    Constant(),
    SharedVector(),
    FewDimensions(),
    Falling(),
    SlowSlide(),
)


def _upper(reading: Reading) -> float:
    high = reading.effective_rank_high
    return reading.effective_rank if high is None or not math.isfinite(high) else high


def _interval(reading: Reading) -> str:
    low, high = reading.effective_rank_low, reading.effective_rank_high
    band = f" [{low:.1f}, {high:.1f}]" if low is not None and high is not None else ""
    return f"{reading.effective_rank:.1f}{band}"
