"""Records of runs that never happened, as files and in memory."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from reporting_fakes import fake_run

from rankwatch.reporting.jsonl_records import JsonlReporter
from rankwatch.reporting.recorded.recorded_run import RecordedRun
from rankwatch.reporting.recorded.run_reader import RunReader

MESSAGE = (
    "CRITICAL at step {step}: dimensional collapse (embeddings span few dimensions) in a (1 of 5 layers), frame level "
    "of evaluation set 'first_batches', since step {since}. Evidence in a: effective rank 25.4 is 27% of its "
    "reference. Likely causes: a teacher that is the student. What to do: lower the learning rate. (The frame level "
    "carries phone-like content.) Last healthy checkpoint: run/last_healthy.ckpt."
)


def write_records(
    path: Path,
    layers: int = 5,
    readings: int = 40,
    *,
    collapse: bool = True,
    run: str = "",
    append: bool = False,
    finished: bool = True,
    **header: object,
) -> Path:
    """Write what `reporting_fakes.fake_run` gives as `JsonlReporter` does."""
    top, reports, end = fake_run(layers, readings, collapse=collapse, **header)
    if not append:
        path.unlink(missing_ok=True)
    reporter = JsonlReporter(path)
    reporter.start(dataclasses.replace(top, run=run))
    for report in reports:
        words = {"step": report.step, "since": report.alarms[0].since} if report.alarms else {}
        message = MESSAGE.format(**words) if report.alarms else ""
        reporter.report(dataclasses.replace(report, message=message))
    if finished:
        reporter.end(end)
    return path


def recorded(folder: Path, name: str = "run", **options: object) -> RecordedRun:
    """The same, read again."""
    reader = RunReader(write_records(folder / f"{name}.jsonl", **options), name)
    reader.update()
    return reader.run()
