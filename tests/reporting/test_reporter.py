"""Tests of the group: one reporter's failure is not another's."""

from __future__ import annotations

import pytest
from reporting_fakes import fake_run

from rankwatch.monitor.report import Report, RunEnd, RunHeader
from rankwatch.reporting.reporter import ReporterGroup


class Recorder:
    def __init__(self) -> None:
        self.calls: list[str] = []

    def start(self, header: RunHeader) -> None:
        self.calls.append("start")

    def report(self, report: Report) -> None:
        self.calls.append(f"report {report.step}")

    def settle(self) -> None:
        self.calls.append("settle")

    def end(self, end: RunEnd) -> None:
        self.calls.append("end")


class Failing(Recorder):
    def report(self, report: Report) -> None:
        super().report(report)
        raise OSError("disk full")


def test_a_failing_reporter_is_told_once_and_goes_quiet_and_others_go_on() -> None:
    header, reports, end = fake_run(2, 3)
    before, bad, after, told = Recorder(), Failing(), Recorder(), list[str]()
    group = ReporterGroup([before, bad, after], told.append)
    group.start(header)
    for report in reports:
        group.report(report)
    group.settle()
    group.end(end)
    everything = ["start", *(f"report {r.step}" for r in reports), "settle", "end"]
    assert before.calls == after.calls == everything
    assert bad.calls == everything[:2]
    assert len(told) == 1
    assert all(word in told[0] for word in ("Failing", "step 250", "OSError", "disk full"))


def test_strict_raises_instead() -> None:
    header, reports, _ = fake_run(2, 1)
    group = ReporterGroup([Failing()], pytest.fail, strict=True)
    group.start(header)
    with pytest.raises(OSError, match="disk full"):
        group.report(reports[0])
