"""Aggregates over layers, and the one number that says how the run is."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from rankwatch.monitor.detectors import Finding
from rankwatch.monitor.history import WARMUP, History, Key, Series, key_of
from rankwatch.monitor.reading import Reading

# Metrics of which more is worse; of all others less is.
_WORSE_WHEN_HIGH = frozenset({"mean_share", "first_direction_share", "dead_dimensions", "non_finite_share"})


def summarise(readings: Iterable[Reading], headline: str) -> dict[str, float]:
    """Minimum, median and worst over layers of every metric.

    Returns:
        ``"<level>/<metric>/<min|median|worst>"``, with ``"@source"`` behind the metric's name where the
        source isn't the headline. Layers without a number are left out.
    """
    values: dict[str, list[float]] = defaultdict(list)
    for reading in readings:
        at = "" if reading.source == headline else f"@{reading.source}"
        named = {"effective_rank": reading.effective_rank, "rankme": reading.rankme, **reading.metrics}
        for metric, value in named.items():
            if value is not None and math.isfinite(value):
                values[f"{reading.level}/{metric}{at}"].append(value)
    summary = {}
    for name, column in values.items():
        metric = name.split("/")[1].split("@")[0]
        summary[f"{name}/min"] = float(min(column))
        summary[f"{name}/median"] = float(np.median(column))
        summary[f"{name}/worst"] = float(max(column) if metric in _WORSE_WHEN_HIGH else min(column))
    return summary


def health(readings: Sequence[Reading], history: History, findings: Mapping[Key, Finding], *, headline: str) -> float:
    r"""One number for the run: several indicators, of the worst layer, at frame level of the headline set, in [0, 1].

    .. math:: \min_{layers} \; \text{finite} \cdot \text{alive} \cdot
        \tfrac12 \left(\frac{r}{r_{ref}} + \frac{p}{p_{ref}}\right)

    with the shares of finite rows and of dimensions that aren't dead, the effective rank r and the participation ratio
    p, both relative to the layer's own past and at most 1 (1 as long as there is none); a finding's own ratio where it
    is lower. NaN where nothing was measured.
    """
    levels = {reading.level for reading in readings}
    level = "frame" if "frame" in levels else "utterance"
    judged = [reading for reading in readings if (reading.source, reading.level) == (headline, level)]
    return min((_health(r, history.series(r), findings.get(key_of(r))) for r in judged), default=math.nan)


def _health(reading: Reading, past: Series, finding: Finding | None) -> float:
    ratios = []
    for value, usual in (
        (reading.effective_rank, past.reference(WARMUP)),
        (reading.metrics.get("participation_ratio", math.nan), past.usual("participation_ratio", WARMUP)),
    ):
        if usual is not None and math.isfinite(value):
            ratios.append(min(value / usual, 1.0))
    missing = [reading.metrics.get(name, 0.0) for name in ("non_finite_share", "dead_dimensions")]
    there = math.prod(1.0 - share for share in missing if math.isfinite(share))
    own = float(np.mean(ratios)) if ratios else 1.0
    return max(min(own * there, 1.0 if finding is None else finding.ratio), 0.0)
