"""Scalars for any Lightning logger: CSV, Weights & Biases, MLflow, Comet, ..."""

from __future__ import annotations

from typing import Any, Protocol

from rankwatch.readings.report import Report, RunEnd, RunHeader
from rankwatch.reporting.chart_plan import CHART_LIMIT, plan_charts
from rankwatch.reporting.tags import Tags, scalars


class MetricsLogger(Protocol):
    """What is needed of a logger."""

    def log_metrics(self, metrics: Any, step: int) -> None:
        """Take flat names with values."""
        ...


class ScalarReporter:
    """Gives the planned charts' values to a logger: one flat dict per report, never a nested one.

    Args:
        logger: Anything with ``log_metrics(dict, step)``; the step counts optimiser steps.
        limit: Most names used, or None for all.
    """

    def __init__(self, logger: MetricsLogger, limit: int | None = CHART_LIMIT) -> None:
        self._logger = logger
        self._limit = limit
        self._drawn: tuple[str, ...] = ()

    def start(self, header: RunHeader) -> None:
        """Remember what the run is."""
        self._header, self._tags = header, Tags.of(header)

    def report(self, report: Report) -> None:
        """Log the values that there are."""
        self._drawn = plan_charts(self._header, report.summary, self._limit, self._drawn).drawn
        values = scalars(report, self._tags)
        self._logger.log_metrics({tag: values[tag] for tag in self._drawn if tag in values}, report.step)

    def settle(self) -> None:
        """Nothing was put off."""

    def end(self, end: RunEnd) -> None:
        """Nothing is left to do."""
