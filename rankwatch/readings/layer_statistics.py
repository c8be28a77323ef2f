"""Minimum, median and worst over layers of every metric."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable

import numpy as np

from rankwatch.readings.reading import Reading

# Metrics of which more is worse; of all others less is.
_WORSE_WHEN_HIGH = frozenset(
    {"mean_energy_fraction", "top1_explained_variance", "dead_dimension_fraction", "non_finite_fraction"}
)


def summarise_layers(readings: Iterable[Reading], primary: str) -> dict[str, float]:
    """Minimum, median and worst over layers of every metric.

    Returns:
        ``"<level>/<metric>/<min|median|worst>"``, with ``"@source"`` behind the metric's name where the
        source isn't the primary. Layers without a number are left out.
    """
    values: dict[str, list[float]] = defaultdict(list)
    for reading in readings:
        at = "" if reading.source == primary else f"@{reading.source}"
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
