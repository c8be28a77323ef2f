"""Minimum, median and worst over layers of every metric."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable

import numpy as np

from rankwatch.readings.codebook_reading import AnyReading
from rankwatch.readings.report import SummaryKey

# Metrics of which more is worse; of all others less is.
_WORSE_WHEN_HIGH = frozenset(
    {"mean_energy_fraction", "top1_explained_variance", "dead_dimension_fraction", "non_finite_fraction"}
)


def summarise_layers(readings: Iterable[AnyReading]) -> dict[SummaryKey, float]:
    """Minimum, median and worst over layers (and over quantizers) of every metric.

    Args:
        readings: All of one step. Those without a finite number are left out of that number's statistics.

    Returns:
        The statistics; ``"worst"`` is the maximum of metrics of which more is worse, and the minimum of all others.
    """
    columns: dict[tuple[str, str, str], list[float]] = defaultdict(list)
    for reading in readings:
        source, level, _ = reading.key
        for metric, value in reading.numbers.items():
            if value is not None and math.isfinite(value):
                columns[level, metric, source].append(value)
    summary: dict[SummaryKey, float] = {}
    for (level, metric, source), column in columns.items():
        worst = max(column) if metric in _WORSE_WHEN_HIGH else min(column)
        values = {"min": min(column), "median": np.median(column), "worst": worst}
        summary |= {SummaryKey(level, metric, source, name): float(value) for name, value in values.items()}
    return summary
