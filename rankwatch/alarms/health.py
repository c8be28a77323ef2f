"""Aggregates over layers, and the one number that says how the run is."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from rankwatch.alarms.detectors import Finding
from rankwatch.alarms.history import IGNORED_READINGS, Series
from rankwatch.readings.reading import Key, Reading

_NORMAL_SHARE = 0.75
"""Share of a layer's usual rank and participation ratio that is as good as all of it: healthy ones contract."""
_LEAST_FOR_A_WARNING = 0.5
"""Health that a finding takes away at most where it can't become critical, or where nothing else bears it out: below it
the run itself is in doubt, which one indicator alone doesn't say."""


def health(
    readings: Sequence[Reading], series: Mapping[Key, Series], findings: Mapping[Key, Finding], *, primary: str
) -> float:
    r"""One number for the run: several indicators, of the worst layer, at frame level of the primary set, in [0, 1].

    .. math:: \min_{layers} \; \text{finite} \cdot \text{alive} \cdot
        \min\left(1, \frac{1}{0.75} \cdot \tfrac12 \left(\frac{r}{r_{ref}} + \frac{p}{p_{ref}}\right)\right)

    with the shares of finite rows and of dimensions that aren't dead, the effective rank r and the participation ratio
    p, both relative to the layer's own past and at most 1 (1 as long as there is none). Healthy layers contract by a
    quarter, so that three quarters count as whole. Where there is a finding, its own ratio if that is lower; one that
    can't become critical, or that nothing else bears out, takes half at most. The first readings are no past to
    compare with: a healthy HuBERT has lost half of their rank.

    Returns:
        The health; NaN where nothing was measured.
    """
    levels = {reading.level for reading in readings}
    level = "frame" if "frame" in levels else "utterance"
    judged = [reading for reading in readings if (reading.source, reading.level) == (primary, level)]
    return min((_health(r, series[r.key], findings.get(r.key)) for r in judged), default=math.nan)


def _health(reading: Reading, past: Series, finding: Finding | None) -> float:
    ratios = []
    for value, usual in (
        (reading.effective_rank, past.reference(IGNORED_READINGS)),
        (reading.metrics.get("participation_ratio", math.nan), past.usual("participation_ratio", IGNORED_READINGS)),
    ):
        if usual is not None and math.isfinite(value):
            ratios.append(min(value / usual, 1.0))
    missing = [reading.metrics.get(name, 0.0) for name in ("non_finite_fraction", "dead_dimension_fraction")]
    there = math.prod(1.0 - share for share in missing if math.isfinite(share))
    own = min(float(np.mean(ratios)) / _NORMAL_SHARE, 1.0) if ratios else 1.0
    return max(min(own * there, 1.0 if finding is None else _at_most(finding)), 0.0)


def _at_most(finding: Finding) -> float:
    if finding.can_be_critical and finding.corroborated:
        return finding.ratio
    return max(finding.ratio, _LEAST_FOR_A_WARNING)
