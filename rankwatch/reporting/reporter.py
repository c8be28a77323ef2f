"""What a reporter is, and a group of them in which one that fails doesn't take others along."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Protocol

from rankwatch.monitor.report import Report, RunEnd, RunHeader


class Reporter(Protocol):
    """Shows or keeps what it is handed; called on one process only."""

    def start(self, header: RunHeader) -> None:
        """Called once per start of the run (again after a resume), before the first report."""
        ...

    def report(self, report: Report) -> None:
        """Called at each reading step, in order."""
        ...

    def settle(self) -> None:
        """Called once, after the last report: do what was put off, so that its time can be counted."""
        ...

    def end(self, end: RunEnd) -> None:
        """Called once, when the run is over or was interrupted."""
        ...


class ReporterGroup:
    """Reporters side by side: one that raises is reported once and goes quiet, the others go on.

    Args:
        reporters: Called in this order.
        on_failure: Is given one sentence per reporter that failed.
        strict: Raise instead.
    """

    def __init__(
        self, reporters: Iterable[Reporter], on_failure: Callable[[str], None], *, strict: bool = False
    ) -> None:
        self._alive = list(reporters)
        self._on_failure = on_failure
        self._strict = strict

    def start(self, header: RunHeader) -> None:
        """Hand the header to each."""
        self._each("start", lambda reporter: reporter.start(header))

    def report(self, report: Report) -> None:
        """Hand the report to each."""
        self._each(f"step {report.step}", lambda reporter: reporter.report(report))

    def settle(self) -> None:
        """Let each do what it has put off."""
        self._each("the last report", lambda reporter: reporter.settle())

    def end(self, end: RunEnd) -> None:
        """Hand the end to each."""
        self._each("end", lambda reporter: reporter.end(end))

    def _each(self, when: str, call: Callable[[Reporter], None]) -> None:
        for reporter in list(self._alive):
            try:
                call(reporter)
            except Exception as error:
                if self._strict:
                    raise
                self._alive.remove(reporter)
                self._on_failure(
                    f"{type(reporter).__name__} failed at {when} and stays quiet from now on "
                    f"({type(error).__name__}: {error}); the others go on."
                )
