"""Aggregates over layers, and the one number that says how the run is."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from rankwatch.monitor.detectors import Finding
from rankwatch.monitor.history import History, Key, key_of
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


def health(
    readings: Sequence[Reading], history: History, findings: Mapping[Key, Finding], *, headline: str, warmup: int
) -> float:
    """The worst layer relative to its own reference, at frame level of the headline set, in [0, 1].

    1 as long as no layer has a reference; a finding's own ratio where it is lower; NaN where nothing was measured.
    """
    worst = math.nan
    levels = {reading.level for reading in readings}
    level = "frame" if "frame" in levels else "utterance"
    for reading in readings:
        if reading.source != headline or reading.level != level:
            continue
        worst = 1.0 if math.isnan(worst) else worst
        finding = findings.get(key_of(reading))
        reference = history.series(reading).reference(warmup)
        if finding is not None:
            worst = min(worst, finding.ratio)
        if reference is not None and reading.ok:
            worst = min(worst, reading.effective_rank / reference)
    return worst if math.isnan(worst) else max(worst, 0.0)
