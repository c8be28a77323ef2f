"""Tests of scalars for loggers other than TensorBoard's."""

from __future__ import annotations

import csv
from pathlib import Path

from pytorch_lightning.loggers import CSVLogger
from reporting_fakes import fake_run

from rankwatch.readings.report import SummaryKey
from rankwatch.reporting.scalar_loggers import ScalarReporter


class Logger:
    def __init__(self) -> None:
        self.logged: list[tuple[int, dict[str, float]]] = []

    def log_metrics(self, metrics: dict[str, float], step: int) -> None:
        self.logged.append((step, metrics))


def test_one_flat_dict_of_floats_per_report_at_the_optimiser_step() -> None:
    header, reports, end = fake_run(25, 4)
    logger = Logger()
    reporter = ScalarReporter(logger)
    reporter.start(header)
    for report in reports:
        reporter.report(report)
    reporter.end(end)
    assert [step for step, _ in logger.logged] == [report.step for report in reports]
    names = {name for _, metrics in logger.logged for name in metrics}
    assert len(names) <= 60
    assert all(isinstance(value, float) for _, metrics in logger.logged for value in metrics.values())
    assert logger.logged[-1][1]["RankWatch/health"] == reports[-1].health


def test_every_scalar_without_a_limit() -> None:
    header, reports, _ = fake_run(25, 1)
    logger = Logger()
    reporter = ScalarReporter(logger, limit=None)
    reporter.start(header)
    reporter.report(reports[0])
    assert len(logger.logged[0][1]) > 200


def test_a_real_csv_logger_takes_it(tmp_path: Path) -> None:
    header, reports, _ = fake_run(3, 2)
    logger = CSVLogger(tmp_path, flush_logs_every_n_steps=1)
    reporter = ScalarReporter(logger)
    reporter.start(header)
    for report in reports:
        reporter.report(report)
    logger.save()
    with (Path(logger.log_dir) / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [float(row["RankWatch/effective_rank_frame"]) for row in rows] == [
        report.summary[SummaryKey("frame", "effective_rank", "first_batches", "median")] for report in reports
    ]
