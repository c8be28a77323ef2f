"""The reporters of a run: opened with its first reading, closed with its summary."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rankwatch._version import __version__
from rankwatch.arguments.settings import Settings
from rankwatch.monitor.monitor import Monitor
from rankwatch.readings.alarm import Alarm
from rankwatch.readings.report import Report, RunEnd
from rankwatch.reporting import reporters_for
from rankwatch.reporting.reporter import ReporterGroup
from rankwatch.run.run_state import RunIdentity
from rankwatch.run.startup_table import run_header
from rankwatch.runtime.diagnostics import log_info


class RunReporters:
    """Reports readings to the terminal, the JSONL file and the trainer's loggers; on the first process only.

    The other processes make the same calls, which report nothing.

    Args:
        settings: The user's arguments.
        monitor: Knows the layers and sources that are watched, and what watching has cost.
        records: The JSONL file, or None.
        identity: Which run this is.

    Attributes:
        loggers: The trainer's; also SummaryWriters.
    """

    def __init__(self, settings: Settings, monitor: Monitor, records: Path | None, identity: RunIdentity) -> None:
        self._settings = settings
        self._monitor = monitor
        self._records = records
        self._identity = identity
        self._reporters: ReporterGroup | None = None
        self.loggers: Sequence[Any] = ()

    def report(self, report: Report) -> None:
        """Report a reading; before the first one the start-up table, which is complete by then."""
        if self._reporters is None:
            self._reporters = self._open(report)
        self._reporters.report(report)

    def _open(self, report: Report) -> ReporterGroup:
        diagnostics = self._monitor.diagnostics
        first = self._monitor.world.rank == 0
        reporters = ReporterGroup(
            reporters_for(self.loggers, self._records, log_info) if first else [],
            lambda sentence: diagnostics.warn_once(sentence, sentence),
            strict=self._settings.strict,
        )
        header = run_header(self._settings, self._monitor.row_collector, __version__, report.cost)
        reporters.start(dataclasses.replace(header, run=self._identity.curves))
        return reporters

    def close(
        self, step: int, alarms: Sequence[Alarm], stopped: bool, checkpoint: Path | None, interrupted_by: str
    ) -> None:
        """Report the summary, once, if there was a reading before.

        Args:
            step: Optimiser steps taken.
            alarms: All that were raised in this run.
            stopped: Whether a collapse has ended the run.
            checkpoint: The last healthy checkpoint, or None.
            interrupted_by: The exception's name, where one has ended the run; else empty.
        """
        reporters, self._reporters = self._reporters, None
        if reporters is None:
            return
        monitor = self._monitor
        with monitor.stopwatch.part("reporting"), monitor.diagnostics.guarded("the last pictures"):
            reporters.settle()
        with monitor.diagnostics.guarded("the summary"):
            reporters.end(
                RunEnd(
                    step=step,
                    readings=monitor.readings_taken,
                    share=monitor.stopwatch.share,
                    seconds=monitor.stopwatch.spent,
                    alarms=alarms,
                    records=str(self._records or ""),
                    stopped=stopped,
                    checkpoint=str(checkpoint or ""),
                    notes=self._closing_notes(interrupted_by),
                )
            )

    def _closing_notes(self, interrupted_by: str) -> list[str]:
        notes = [f"the run was interrupted by {interrupted_by}"] if interrupted_by else []
        longest, every = self._monitor.longest_interval, self._settings.every_n_steps
        share = self._settings.max_overhead
        if share is not None and longest > every:
            notes.append(
                f"readings were up to {longest} steps apart instead of {every}, so that they take at most "
                f"max_overhead={share:g} of the run's time"
            )
        return notes
