"""What goes down so slowly that the recent past doesn't show it: ranks, and how evenly codes are used."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from rankwatch.alarms.detectors.base import Finding, StepContext, changed_data, upper, with_interval
from rankwatch.alarms.history import Series
from rankwatch.readings.codebook_reading import CodebookReading
from rankwatch.readings.reading import Reading

_PARTS = 6
_FEWEST = 2  # readings, or means of several, in each part
_ERRORS = 5.0  # of a part's median


@dataclass(frozen=True)
class SlowRankDecline:
    """The effective rank has come down to a small share of a level that it once sustained, however slowly.

    Never more than a warning: a slow contraction late in training can even go with better results downstream.

    Attributes:
        below: Share of the highest level ever sustained below which it is a finding.
        utterance_below: The same at utterance level, where healthy layers lose more (a Barlow Twins came down to 36 %).
        recovered: What is added to both as long as the alarm holds (hysteresis).
        patience: Readings in a row before it is an alarm.
    """

    below: float = 0.4
    utterance_below: float = 0.25
    recovered: float = 0.1
    kind: str = "slow_rank_decline"
    patience: int = 3

    def check(self, reading: Reading, past: Series, context: StepContext) -> Finding | None:
        """Compare with ``past.best_sustained``."""
        if not reading.ok or changed_data(reading, context) or context.lr_warming_up:
            return None
        below = self.utterance_below if reading.level == "utterance" else self.below
        below += self.recovered * context.holds(self.kind, reading)
        if not upper(reading) < below * past.best_sustained:
            return None
        ratio = reading.effective_rank / past.best_sustained
        best = f"{past.best_sustained:.1f} that it once sustained"
        evidence = f"effective rank {with_interval(reading)} is {ratio:.0%} of the {best}"
        return Finding(evidence, ratio, can_be_critical=False)


@dataclass(frozen=True)
class SlowPerplexityDecline:
    r"""The perplexity slides slowly while as many codes as before are in use.

    The number of active codes doesn't show it, nor does a comparison with the recent past: online clustering (DinoSR)
    has lost half of its perplexity over hundreds of thousands of steps that way. All but the first tenth of the run so
    far, in which codebooks settle, is cut into six parts of equal length. With :math:`m_1 ... m_6` the medians of the
    perplexity in them, and :math:`f = m_1 - m_6`, it is a finding where

    .. math:: m_6 < \text{below} \cdot m_1, \quad \max_i (m_i - m_{i+1}) \le \text{at\_once} \cdot f, \quad
        \tfrac{1}{2} (m_3 + m_4) - m_6 \ge \text{goes\_on} \cdot f

    and where f is beyond the parts' own error: it is no sudden fall, and no settling that is over.

    Attributes:
        below: Share of the early level below which it is a finding.
        steps: Optimiser steps that the parts span at least.
        ignored: Share of the run so far that is left out at its beginning.
        at_once: Share of the fall from one part to the next at most.
        goes_on: Share of the fall in the second half at least.
        active: Share of the early number of active codes that is still in use at least.
        recovered: What is added to `below` as long as the alarm holds (hysteresis).
        patience: Readings in a row before it is an alarm.
    """

    below: float = 0.7
    steps: int = 150_000
    ignored: float = 0.1
    at_once: float = 0.45
    goes_on: float = 1.0 / 3.0
    active: float = 0.9
    recovered: float = 0.1
    kind: str = "slow_perplexity_decline"
    patience: int = 3
    reads: ClassVar[type] = CodebookReading

    def check(self, reading: CodebookReading, past: Series, context: StepContext) -> Finding | None:
        """Look at ``past.long_term``, which covers the whole run."""
        if not reading.ok:
            return None
        parts = self._parts([*past.long_term, [1, reading.step, reading.perplexity, reading.active_codes]])
        if parts is None:
            return None
        levels = np.array([np.median(part[:, 2]) for part in parts])
        before, now = (float(np.median(part[:, 3])) for part in (parts[0], parts[-1]))
        holds = context.holds(self.kind, reading)
        if not levels[-1] < (self.below + self.recovered * holds) * levels[0] or now < self.active * before:
            return None
        if not holds and not self._slides(levels, parts):
            return None
        evidence = f"perplexity {levels[-1]:.1f}, slowly down from {levels[0]:.1f} over {_span(parts):,.0f} steps"
        codes = "" if math.isnan(now) else f", while {now:.0f} codes are still in use, then {before:.0f}"
        return Finding(evidence + codes, levels[-1] / levels[0], can_be_critical=False)

    def _parts(self, rows: Sequence[Sequence[float]]) -> list[Any] | None:
        table = np.array(rows, dtype=np.float64)
        steps = table[:, 1]
        table = table[steps >= steps[0] + self.ignored * (steps[-1] - steps[0])]
        edges = np.linspace(table[0, 1], table[-1, 1], _PARTS + 1)[1:-1]
        parts = np.split(table, np.searchsorted(table[:, 1], edges))
        return parts if _span(parts) >= self.steps and min(map(len, parts)) >= _FEWEST else None

    def _slides(self, levels: Any, parts: Sequence[Any]) -> bool:
        """Whether the fall is slow, still goes on, and is beyond the levels' error (from the median deviation)."""
        fall = levels[0] - levels[-1]
        spread = [1.48 * np.median(np.abs(part[:, 2] - level)) for part, level in zip(parts, levels, strict=True)]
        error = 1.25 * np.median(spread) / math.sqrt(min(map(len, parts)))
        second_half = (levels[2] + levels[3]) / 2.0 - levels[-1]
        slow = np.max(levels[:-1] - levels[1:]) <= self.at_once * fall
        return bool(slow and second_half >= self.goes_on * fall and fall > _ERRORS * error)


def _span(parts: Sequence[Any]) -> float:
    return float(parts[-1][-1, 1] - parts[0][0, 1]) if len(parts[0]) and len(parts[-1]) else 0.0
