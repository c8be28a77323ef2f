"""What a reporter is, and a group of them in which one that fails doesn't take others along."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Protocol

from rankwatch.readings.report import Report, RunEnd, RunHeader


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


class _Member:
    """A reporter, and whether it is to be tried now.

    Attributes:
        reporter: What is called.
        started: Whether it took the header.
        reported: Whether its failure was reported.
        pause: Reports that it is spared after its next failure.
        spared: Reports that it is still spared.
    """

    def __init__(self, reporter: Reporter) -> None:
        self.reporter = reporter
        self.started = self.reported = False
        self.pause = self.spared = 0


class ReporterGroup:
    """Reporters side by side: one that raises is reported once, the others go on.

    A disk may be full and a server away for a while only, so it is tried again: at the next report, and as long as it
    goes on failing after 1, 3, 7, 15 ... further ones, so that one that waits for a server doesn't cost much. What it
    missed is not handed to it later.

    Args:
        reporters: Called in this order.
        on_failure: Is given one sentence per reporter that failed.
        strict: Raise instead.
    """

    def __init__(
        self, reporters: Iterable[Reporter], on_failure: Callable[[str], None], *, strict: bool = False
    ) -> None:
        self._members = [_Member(reporter) for reporter in reporters]
        self._on_failure = on_failure
        self._strict = strict
        self._header: RunHeader | None = None

    def start(self, header: RunHeader) -> None:
        """Hand the header to each."""
        self._header = header
        self._each("start", lambda reporter: None)

    def report(self, report: Report) -> None:
        """Hand the report to each."""
        for member in self._members:
            if member.spared:
                member.spared -= 1
            elif self._try(member, f"step {report.step}", lambda reporter: reporter.report(report)):
                member.pause = 0
            else:
                member.spared, member.pause = member.pause, 2 * member.pause + 1

    def settle(self) -> None:
        """Let each do what it has put off."""
        self._each("the last report", lambda reporter: reporter.settle())

    def end(self, end: RunEnd) -> None:
        """Hand the end to each."""
        self._each("end", lambda reporter: reporter.end(end))

    def _each(self, when: str, call: Callable[[Reporter], None]) -> None:
        for member in self._members:
            self._try(member, when, call)

    def _try(self, member: _Member, when: str, call: Callable[[Reporter], None]) -> bool:
        """Whether it worked; one that couldn't take the header is given it first."""
        try:
            if not member.started and self._header is not None:
                member.reporter.start(self._header)
                member.started = True
            call(member.reporter)
        except Exception as error:
            if self._strict:
                raise
            if not member.reported:
                member.reported = True
                self._on_failure(
                    f"{type(member.reporter).__name__} failed at {when} ({type(error).__name__}: {error}); it is tried "
                    "again at later readings, the others go on."
                )
            return False
        return True
