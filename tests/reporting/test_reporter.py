"""Tests of the group: one reporter's failure is not another's."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from reporting_fakes import fake_run

from rankwatch.readings.report import Report, RunEnd, RunHeader
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
    """Raises at the first `times` calls of these names."""

    def __init__(self, *names: str, times: int = 1000) -> None:
        super().__init__()
        self.names, self.times = names, times

    def _call(self, name: str) -> None:
        self.calls.append(name)
        if name.split()[0] in self.names and self.times > 0:
            self.times -= 1
            raise OSError("disk full")

    def start(self, header: RunHeader) -> None:
        self._call("start")

    def report(self, report: Report) -> None:
        self._call(f"report {report.step}")


def test_a_failing_reporter_is_told_once_and_others_go_on() -> None:
    header, reports, end = fake_run(2, 3)
    before, bad, after, told = Recorder(), Failing("report"), Recorder(), list[str]()
    group = ReporterGroup([before, bad, after], told.append)
    group.start(header)
    for report in reports:
        group.report(report)
    group.settle()
    group.end(end)
    everything = ["start", *(f"report {r.step}" for r in reports), "settle", "end"]
    assert before.calls == after.calls == everything
    assert bad.calls == [call for call in everything if call != f"report {reports[2].step}"]
    assert len(told) == 1
    assert all(word in told[0] for word in ("Failing", "step 250", "OSError", "disk full"))


@pytest.mark.parametrize(
    ("times", "tried"), [(1, range(40)), (3, [0, 1, 3, *range(7, 40)]), (1000, [0, 1, 3, 7, 15, 31])]
)
def test_it_is_tried_again_ever_less_often_as_long_as_it_fails(times: int, tried: Iterable[int]) -> None:
    header, reports, _ = fake_run(2, 40)
    bad = Failing("report", times=times)
    group = ReporterGroup([bad], lambda sentence: None)
    group.start(header)
    for report in reports:
        group.report(report)
    assert bad.calls == ["start", *(f"report {reports[i].step}" for i in tried)]


def test_one_that_could_not_take_the_header_gets_it_before_anything_else() -> None:
    header, reports, end = fake_run(2, 2)
    bad = Failing("start", times=2)
    group = ReporterGroup([bad], lambda sentence: None)
    group.start(header)
    for report in reports:
        group.report(report)
    group.end(end)
    assert bad.calls == ["start", "start", "start", f"report {reports[1].step}", "end"]


def test_strict_raises_instead() -> None:
    header, reports, _ = fake_run(2, 1)
    group = ReporterGroup([Failing("report")], pytest.fail, strict=True)
    group.start(header)
    with pytest.raises(OSError, match="disk full"):
        group.report(reports[0])
