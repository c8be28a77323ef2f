"""Which reporters a run gets: a file, the terminal, and what each logger can show."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from rankwatch.readings.report import Report, RunEnd, RunHeader
from rankwatch.reporting.console import end_summary, start_table
from rankwatch.reporting.jsonl_records import JsonlReporter
from rankwatch.reporting.logger_pictures import PictureReporter, takes_pictures
from rankwatch.reporting.reporter import Reporter
from rankwatch.reporting.scalar_loggers import ScalarReporter
from rankwatch.reporting.tensorboard import TensorBoardReporter
from rankwatch.runtime.files.uploaded_folder import UploadedFolder


class ConsoleReporter:
    """The table at the start and the summary at the end.

    Alarms are Python warnings, which the session gives.

    Args:
        log: Prints a text.
    """

    def __init__(self, log: Callable[[str], None]) -> None:
        self._log = log

    def start(self, header: RunHeader) -> None:
        """Print the table."""
        self._header = header
        self._log(start_table(header))

    def report(self, report: Report) -> None:
        """A reading prints nothing: the progress bar is the user's."""

    def settle(self) -> None:
        """Nothing was put off."""

    def end(self, end: RunEnd) -> None:
        """Print the summary."""
        self._log(end_summary(end, self._header.name, replayed=self._header.replayed))


class UploadReporter:
    """Brings the files that other reporters have written on this machine to where the run's folder is.

    Args:
        uploads: The files.
    """

    def __init__(self, uploads: UploadedFolder) -> None:
        self._uploads = uploads

    def start(self, header: RunHeader) -> None:
        """There is nothing to bring yet."""

    def report(self, report: Report) -> None:
        """Whatever has grown by a tenth; at an alarm all."""
        self._uploads.upload(everything=bool(report.alarms or report.message))

    def settle(self) -> None:
        """Nothing was put off."""

    def end(self, end: RunEnd) -> None:
        """All."""
        self._uploads.upload(everything=True)


def reporters_for(
    loggers: Iterable[Any], records: Path | None, log: Callable[[str], None], uploads: UploadedFolder | None = None
) -> list[Reporter]:
    """The reporters of a run.

    Args:
        loggers: Lightning's, or SummaryWriters; TensorBoard gets pictures and layouts, all others scalars, and
            those that take pictures these, too.
        records: Where everything goes in full, or None.
        log: Prints a text.
        uploads: Where the records are, if they are to be brought somewhere else; or None.

    Returns:
        One for the console, one for the records, one for each logger, and last one for uploads.
    """
    reporters: list[Reporter] = [ConsoleReporter(log)]
    if records is not None:
        reporters.append(JsonlReporter(records))
    for logger in loggers:
        try:
            writer = getattr(logger, "experiment", logger)
        except Exception:  # a server that can't be reached now: its `log_metrics` is tried, and reported, in its turn
            writer = None
        if hasattr(writer, "add_custom_scalars") and hasattr(writer, "add_scalar"):
            reporters.append(TensorBoardReporter(writer))
        elif hasattr(logger, "log_metrics"):
            reporters.append(ScalarReporter(logger))
            put = takes_pictures(logger, writer)
            reporters += [PictureReporter(put)] if put is not None else []
    if uploads is not None:
        reporters.append(UploadReporter(uploads))
    return reporters
