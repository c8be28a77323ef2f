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
from rankwatch.reporting.reporter import Reporter, ReporterGroup
from rankwatch.reporting.reporter_selection import reporters_for
from rankwatch.run.run_state import RunIdentity
from rankwatch.run.startup_table import run_header
from rankwatch.runtime.diagnostics import log_info
from rankwatch.runtime.files.run_paths import RemotePath, RunPath
from rankwatch.runtime.files.uploaded_folder import UploadedFolder


class RunReporters:
    """Reports readings to the terminal, the JSONL file and the trainer's loggers; on the first process only.

    The other processes make the same calls, which report nothing.

    Args:
        settings: The user's arguments.
        monitor: Knows the layers and sources that are watched, and what watching has cost.
        records: The JSONL file, or None.
        identity: Which run this is.

    Attributes:
        local: Where reporters write their files: the run's folder or, where that isn't on this machine's disks, a
            folder here that is uploaded; None where no files are written.
    """

    def __init__(self, settings: Settings, monitor: Monitor, records: RunPath | None, identity: RunIdentity) -> None:
        self._settings = settings
        self._monitor = monitor
        self._records = records
        self._identity = identity
        self._reporters: ReporterGroup | None = None
        self._measured = False
        self._closed = self.replayed = False  # the latter where nothing is trained
        self._loggers: Sequence[Any] = ()
        self._uploads: UploadedFolder | None = None
        folder = records.parent if records is not None else None
        if isinstance(folder, RemotePath) and monitor.world.rank == 0:
            self._uploads = UploadedFolder(folder)
        self.local = self._uploads.local if self._uploads is not None else folder

    def own_writer(self) -> Any:
        """A SummaryWriter for trainers that bring no logger; None, with a warning, where none can be opened."""
        from torch.utils.tensorboard import SummaryWriter  # takes seconds, and Lightning brings its own

        writer: SummaryWriter | None = None
        with self._monitor.diagnostics.guarded("writing TensorBoard's event file"):
            writer = SummaryWriter(str(self.local))
        return writer

    def begin(self, loggers: Sequence[Any]) -> None:
        """Training begins: say where readings go, if that isn't where one would look for them.

        Args:
            loggers: The trainer's; also SummaryWriters.
        """
        self._loggers = loggers
        if self._records is None or self._monitor.world.rank != 0:
            return
        warn = self._monitor.diagnostics.warn_once
        if not loggers:
            warn("logger", f"the trainer has no logger, so readings are only written to {self._records}")
        if self._uploads is not None:
            warn(
                "remote folder",
                f"{self._uploads.remote} is not on this machine's disks, and object stores can't append to a file. "
                f"Records are written to the local folder {self._uploads.local}, and uploaded whenever they have grown "
                "by a tenth, at each alarm and at the end; if the process is killed, the newest are only there",
            )

    def report(self, report: Report) -> None:
        """Report a reading; before the first one the start-up table, which is complete by then."""
        if self._reporters is None:
            self._reporters = self._open(report)
        self._measured = self._measured or bool(report.readings or report.codebooks)
        self._reporters.report(report)

    def _open(self, report: Report) -> ReporterGroup:
        diagnostics = self._monitor.diagnostics
        first = self._monitor.world.rank == 0
        reporters = ReporterGroup(
            self._all_reporters() if first else [],
            lambda sentence: diagnostics.warn_once(sentence, sentence),
            strict=self._settings.strict,
        )
        header = run_header(
            self._settings,
            self._monitor.row_collector,
            __version__,
            None if self.replayed else report.cost,
            processes=self._monitor.world.size,
        )
        reporters.start(dataclasses.replace(header, run=self._identity.curves, replayed=self.replayed))
        return reporters

    def _all_reporters(self) -> list[Reporter]:
        local = self.local / self._records.name if self.local is not None and self._records is not None else None
        return reporters_for(self._loggers, local if isinstance(local, Path) else None, log_info, self._uploads)

    def close(
        self, step: int, alarms: Sequence[Alarm], stopped: bool, checkpoint: RunPath | None, interrupted_by: str
    ) -> None:
        """Report the summary, once; where there was no reading, that there was none.

        Args:
            step: Optimiser steps taken.
            alarms: All that were raised in this run.
            stopped: Whether a collapse has ended the run.
            checkpoint: The last healthy checkpoint, or None.
            interrupted_by: The exception's name, where one has ended the run; else empty.
        """
        closed, self._closed = self._closed, True
        reporters, self._reporters = self._reporters, None
        monitor = self._monitor
        if closed:
            return
        if reporters is None:
            if monitor.world.rank == 0:
                why = "; ".join(self._closing_notes(interrupted_by, step))
                name = self._settings.name
                what = "no checkpoint could be read: lines above say why" if self.replayed else ""
                watched = f"nothing was read up to step {step}, so this run was not watched: {why}"
                log_info(f"{name}: {what or watched}.")
            return
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
                    records=str(self._written_records() or ""),
                    stopped=stopped,
                    checkpoint=str(checkpoint or ""),
                    notes=self._closing_notes(interrupted_by, step),
                    measured=self._measured,
                )
            )

    def _written_records(self) -> RunPath | None:
        """The file, if there is one: where the disk is full or the store out of reach, it may be nowhere, or here."""
        if self.local is None or self._records is None:
            return None
        local = self.local / self._records.name
        if self._uploads is None or self._uploads.refused:
            return local if local.exists() else None
        return self._records

    def finish(self) -> None:
        """After all else: upload what isn't there yet, and remove the local folder of a run whose own is elsewhere."""
        if self._uploads is not None:
            with self._monitor.diagnostics.guarded("uploading the records"):
                self._uploads.close()

    def _closing_notes(self, interrupted_by: str, step: int) -> list[str]:
        notes = [f"the run was interrupted by {interrupted_by}"] if interrupted_by else []
        if not self._measured:
            attached = bool(self._identity.run)  # else no batch has built the lazy modules, or no layer was found
            notes += self._monitor.row_collector.disabled_sources.values() if attached else ["there were no layers"]
            notes.append("warnings above, if there are any, say what stood against it")
        longest, every = self._monitor.longest_interval, self._settings.every_n_steps
        share = self._settings.max_overhead
        if self._measured and every > step and not self.replayed:
            notes.append(
                f"every_n_steps={every} is more than the run's {step} optimiser steps: there was no regular reading, "
                "and hardly any collapse would have been seen"
            )
        if share is not None and longest > every:
            notes.append(
                f"readings were up to {longest} steps apart instead of {every}, so that they take at most "
                f"max_overhead={share:g} of the run's time"
            )
        return notes
