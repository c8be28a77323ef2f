"""Detectors that compare a layer with its own past: after a warm-up, beyond the reading's own error."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from rankwatch.alarms.detectors.base import (
    Finding,
    StepContext,
    changed_data,
    ends_shared_vector,
    lower,
    other_curve,
    upper,
    utterances_alike,
    with_interval,
)
from rankwatch.alarms.history import IGNORED_READINGS, Series
from rankwatch.readings.reading import Key, Reading

_AGREES = 0.8  # what is left of an indicator that agrees, at most


@dataclass(frozen=True)
class RankDecline:
    r"""A lasting fall of the effective rank from the layer's own reference.

    .. math:: \text{upper end of the interval} < \text{below} \cdot \text{reference}

    with the reference of `Series.reference`, a high quantile of the layer's own recent past. During the first readings,
    in the learning rate's first warm-up, and as long as there is no reference after it, the rank is compared with
    `Series.initial_level` instead, more leniently and at frame level alone: some fall is normal then, and at utterance
    level healthy layers have come down to a quarter. While the rank is on its way back from there, it is a warning:
    healthy recurrent encoders have fallen to an eighth.

    It can become critical where another indicator corroborates it, and where what it has fallen from means something:

    * A fall from the reference is corroborated where the participation ratio, or another level, source or layer has
      fallen too. It must also lie below `of_latest` of the newest clean readings: a layer that contracts slowly, and
      stays where it crossed the line, is warned of. And a reference that was the rank of a remainder, while nearly all
      of the energy was one shared vector, is none once that vector has gone (`ends_shared_vector`).
    * A random network's rank is no level to return to: deep layers of healthy runs have come down to a sixth of it
      while probes improved. The first watched layer has not (to two thirds at most), since all others depend on
      what it holds. So a fall from the initial level is corroborated where the first layer has lost half too, or
      utterances have become alike; one to less than `certain` of it needs no corroboration.

    Attributes:
        below: Share of the reference below which it is a breach.
        utterance_below: The same at utterance level, where healthy layers lose more.
        ignored_readings: Readings at the start that neither count nor serve as reference.
        below_initial: Share of `Series.initial_level` below which it is a breach.
        certain: Share of it below which nothing else need agree.
        first_layer_below: Share of its own initial level that the first watched layer keeps at most, to corroborate.
        of_latest: Share of the median of the newest three clean readings below which it can become critical.
        recovering: Multiple of the lowest rank so far from which on (the interval's lower end) it is on its way back.
        initial_counts_for: Readings for which the start counts; later a slow contraction may be normal.
        recovered: What is added to `below` as long as the alarm holds (hysteresis).
        patience: Readings in a row before it is an alarm.
    """

    below: float = 0.6
    utterance_below: float = 0.5
    ignored_readings: int = IGNORED_READINGS
    below_initial: float = 0.35
    certain: float = 0.15
    first_layer_below: float = 0.5
    of_latest: float = 0.8
    recovering: float = 1.25
    initial_counts_for: int = 40
    recovered: float = 0.1
    kind: str = "dimensional_collapse"
    patience: int = 3

    def check(self, reading: Reading, past: Series, context: StepContext) -> Finding | None:
        """Compare with ``past.reference`` and ``past.initial_level``."""
        if not reading.ok or changed_data(reading, context):
            return None
        below = self.utterance_below if reading.level == "utterance" else self.below
        below += self.recovered * context.holds(self.kind, reading)
        reference, start = self.before(reading, past, context), past.initial_level(self.ignored_readings)
        if reference is not None and upper(reading) < below * reference:
            return self._from_reference(reading, past, context, reference)
        # Without a reference it goes on counting: else a collapse of the warm-up would end by itself, and become one.
        early = past.n_readings < self.initial_counts_for or context.lr_warming_up or reference is None
        if reading.level != "frame" or start is None or not early or not upper(reading) < self.below_initial * start:
            return None
        return self._from_initial_level(reading, past, context, start)

    def _from_reference(self, reading: Reading, past: Series, context: StepContext, reference: float) -> Finding:
        asked = list(self._since_reference(reading, past, context))
        found = _finding(reading, reference, f"its usual {reference:.1f}", asked)
        latest = past.latest_clean()
        contracts = bool(latest) and not upper(reading) < self.of_latest * float(np.median(latest))
        uncertain = contracts or ends_shared_vector(reading, past, self.ignored_readings)
        return replace(found, corroborated=False) if uncertain else found

    def _from_initial_level(self, reading: Reading, past: Series, context: StepContext, start: float) -> Finding:
        first = next((key for key in context.readings if key[:2] == reading.key[:2]), reading.key)
        left = context.ratio_to_initial(first, self.ignored_readings)
        bears_out = left < self.first_layer_below and bool(context.others(reading))  # a single layer is first, and last
        asked = [(other_curve(first, reading), left)] if bears_out else []
        found = _finding(reading, start, f"the {start:.1f} of its early readings", asked)
        lowest = min((value for value in past.values if np.isfinite(value)), default=np.inf)
        on_its_way_back = lower(reading) >= self.recovering * lowest
        is_certain = bool(asked) or found.ratio < self.certain
        if utterances_alike(reading, past):
            found, is_certain = replace(found, evidence=f"{found.evidence}; utterances have become alike, too"), True
        return replace(found, corroborated=is_certain and not on_its_way_back)

    def before(self, reading: Reading, past: Series, context: StepContext) -> float | None:
        """What the reading is compared with; None as long as there is nothing."""
        return None if context.lr_warming_up else past.reference(self.ignored_readings)

    def _since_reference(self, reading: Reading, past: Series, context: StepContext) -> Iterator[tuple[str, float]]:
        """What else can be asked, as the subject of a sentence, and what is left of it."""
        usual, now = (
            past.usual("participation_ratio", self.ignored_readings),
            reading.metrics.get("participation_ratio"),
        )
        if usual is not None and now is not None:
            yield "its participation ratio", now / usual
        yield from (
            (other_curve(key, reading), context.ratio(key, self.ignored_readings))
            for key in self._corroborating_curves(reading, context)
        )

    @staticmethod
    def _corroborating_curves(reading: Reading, context: StepContext) -> Iterator[Key]:
        """Other levels and sources of the layer, and the level's and source's other layers."""
        for key, other in context.readings.items():
            near = key[2] == reading.layer or key[:2] == (reading.source, reading.level)
            if near and key != reading.key and other.protocol.mode == "eval":
                yield key


def _finding(reading: Reading, reference: float, whose: str, asked: Sequence[tuple[str, float]]) -> Finding:
    """A fall below a level, with what has lost most of all that was asked; corroborated where nothing could be."""
    ratio = reading.effective_rank / reference
    evidence = f"effective rank {with_interval(reading)} is {ratio:.0%} of {whose}"
    known = [(left, subject) for subject, left in asked if np.isfinite(left)]
    left, subject = min(known, default=(np.inf, ""))
    if left < _AGREES and subject != "its rank":  # one that agrees is enough, and the one that has lost most is named
        evidence += f"; {subject} is down to {left:.0%}, too"
    return Finding(evidence, min(ratio, 1.0), corroborated=not known or left < _AGREES)


@dataclass(frozen=True)
class SuddenRankDrop:
    """Within one interval, after the learning rate's warm-up, the effective rank has come down to less than half.

    A drop in which a vector goes that nearly all of the energy was in stays a warning; see `ends_shared_vector`.

    Attributes:
        below: Share of the median of the newest three clean readings before the drop; in the warm-up many lose most.
        ignored_readings: Readings at the start that aren't judged.
        patience: Readings in a row before it is an alarm.
    """

    below: float = 0.5
    ignored_readings: int = IGNORED_READINGS + 2
    kind: str = "sudden_rank_drop"
    patience: int = 2

    def check(self, reading: Reading, past: Series, context: StepContext) -> Finding | None:
        """Compare with the newest sound readings."""
        before = self.before(reading, past, context)
        if before is None or not reading.ok or reading.level != "frame" or changed_data(reading, context):
            return None
        if not upper(reading) < self.below * before:
            return None
        ratio = reading.effective_rank / before
        evidence = f"effective rank {with_interval(reading)}, {ratio:.0%} of {before:.1f} just before"
        return Finding(evidence, ratio, corroborated=not ends_shared_vector(reading, past, self.ignored_readings))

    def before(self, reading: Reading, past: Series, context: StepContext) -> float | None:
        """What the reading is compared with; None as long as there is nothing, or nothing that is recent."""
        before = past.latest_clean(within=None if context.holds(self.kind, reading) else self.patience + 2)
        early = past.n_readings < self.ignored_readings or context.lr_warming_up
        return None if early or len(before) < 3 else float(np.median(before))


@dataclass(frozen=True)
class UnstableRank:
    r"""The effective rank jumps up and down: the same utterances are placed anew from one reading to the next.

    .. math:: |\log r_{i+1} - 2 \log r_i + \log r_{i-1}| > \text{above for most } i

    A trend, however steep, is no jump, and a dip and its end are few. A learning rate that is too high for anything to
    last does this. Never more than a warning.

    Attributes:
        above: Jump, in natural logarithms, that is too much.
        most: Share of the jumps over the newest readings that must be as large.
        readings: How many are looked at.
        ignored_readings: Readings at the start that aren't.
        patience: Readings in a row before it is an alarm.
    """

    above: float = 0.1
    most: float = 0.625
    readings: int = 10
    ignored_readings: int = IGNORED_READINGS
    kind: str = "unstable_rank"
    patience: int = 3

    def check(self, reading: Reading, past: Series, context: StepContext) -> Finding | None:
        """Compare with the newest readings, at frame level of the primary set."""
        if reading.source != context.primary or reading.level != "frame" or context.lr_warming_up:
            return None
        values = np.array([*past.values[-self.readings + 1 :], reading.effective_rank])
        if past.n_readings < max(self.ignored_readings, past.n_lr_warmup) + self.readings or not np.all(values > 0.0):
            return None
        jumps = np.abs(np.diff(np.log(values), 2))
        if not np.mean(jumps > self.above) >= self.most:
            return None
        to_and_fro = np.expm1(np.median(jumps) / 2.0)  # up and down by x is a second difference of 2 log(1 + x)
        evidence = f"over {self.readings} readings the effective rank jumps up and down by {to_and_fro:.0%} (median)"
        return Finding(evidence, 1.0, can_be_critical=False)
