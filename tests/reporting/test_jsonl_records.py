"""Tests of the file that holds everything."""

from __future__ import annotations

import dataclasses
import errno
import io
import json
import math
import pickle
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from reporting_fakes import fake_header, fake_reading, fake_run

from rankwatch.readings.reading import Reading
from rankwatch.readings.report import Report, RunEnd, RunHeader
from rankwatch.reporting.jsonl_records import JsonlReporter, read_jsonl, read_records


def write(path: Path, header: RunHeader, reports: list[Report], end: RunEnd | None = None) -> None:
    reporter = JsonlReporter(path)
    reporter.start(header)
    for report in reports:
        reporter.report(report)
    if end is not None:
        reporter.end(end)


def without_spectrum(readings: list[Reading]) -> list[Reading]:
    return [dataclasses.replace(reading, spectrum=()) for reading in readings]


def strict(text: str) -> Any:
    def refuse(constant: str) -> None:
        raise ValueError(f"{constant} is not JSON")

    return json.loads(text, parse_constant=refuse)


def test_readings_come_back_as_they_were_with_their_protocols(tmp_path: Path) -> None:
    header, reports, end = fake_run(4, 5)
    write(tmp_path / "run" / "rankwatch.jsonl", header, reports, end)
    back = read_jsonl(tmp_path / "run" / "rankwatch.jsonl")
    wanted = [reading for report in reports for reading in report.readings]
    assert without_spectrum(back) == without_spectrum(wanted)
    for got, was in zip(back, wanted, strict=True):
        assert got.spectrum == pytest.approx(was.spectrum, rel=1e-4)


def test_every_kind_of_record_and_each_protocol_once(tmp_path: Path) -> None:
    header, reports, end = fake_run(4, 40)
    write(tmp_path / "a.jsonl", header, reports, end)
    kinds = Counter(record["record"] for record in read_records(tmp_path / "a.jsonl"))
    readings = [reading for report in reports for reading in report.readings]
    assert kinds["run"] == kinds["end"] == 1
    assert kinds["protocol"] == len({reading.protocol for reading in readings})
    assert kinds["reading"] == len(readings)
    assert kinds["summary"] == kinds["cost"] == len(reports)
    assert kinds["alarm"] == len(end.alarms) > 0
    assert kinds["episode"] == sum(bool(report.message) for report in reports) > 0


def test_numbers_that_do_not_exist_are_null_and_every_line_is_strict_json(tmp_path: Path) -> None:
    header, (report,), _ = fake_run(2, 1)
    bad = dataclasses.replace(
        fake_reading(header, 0, "frame", "first_batches", 250, math.nan),
        metrics={"mean_energy_fraction": math.inf, "stable_rank": 2.0},
        status=frozenset({"too_few_rows", "non_finite_rows"}),
        spectrum=(1.0, math.nan),
    )
    write(tmp_path / "a.jsonl", header, [dataclasses.replace(report, readings=[bad], health=math.nan)])
    records = [strict(line) for line in (tmp_path / "a.jsonl").read_text().splitlines()]
    (record,) = [record for record in records if record["record"] == "reading"]
    assert record["effective_rank"] is None
    assert record["metrics"] == {"mean_energy_fraction": None, "stable_rank": 2.0}
    (back,) = read_jsonl(tmp_path / "a.jsonl")
    assert not back.ok
    assert record["status"] == ["non_finite_rows", "too_few_rows"]
    assert back.status == bad.status
    assert math.isnan(back.metrics["mean_energy_fraction"])
    assert back.effective_rank_low is None


def test_each_report_is_on_the_disk_when_it_was_made(tmp_path: Path) -> None:
    header, reports, _ = fake_run(2, 3)
    reporter = JsonlReporter(tmp_path / "a.jsonl")
    reporter.start(header)
    for i, report in enumerate(reports, start=1):
        reporter.report(report)
        assert len(read_jsonl(tmp_path / "a.jsonl")) == i * len(report.readings)
        reporter = pickle.loads(pickle.dumps(reporter))  # as a callback is, when processes are spawned


def test_a_resumed_run_appends_and_what_was_read_twice_counts_once(tmp_path: Path) -> None:
    header, reports, end = fake_run(3, 6)
    path = tmp_path / "a.jsonl"
    write(path, header, reports[:4])
    write(path, header, reports[2:], end)
    kinds = Counter(record["record"] for record in read_records(path))
    assert kinds["run"] == 2
    assert kinds["protocol"] == len({reading.protocol for reading in reports[0].readings})
    assert [r.step for r in read_jsonl(path)] == [r.step for report in reports for r in report.readings]


def test_of_several_runs_in_one_file_the_newest_is_read_with_all_of_its_restarts(tmp_path: Path) -> None:
    header, reports, _ = fake_run(3, 6)
    older, newer = (dataclasses.replace(header, run=name) for name in ("older", "newer"))
    path = tmp_path / "a.jsonl"
    write(path, older, reports)
    write(path, newer, reports[:2])
    assert {r.step for r in read_jsonl(path)} == {report.step for report in reports[:2]}
    write(path, newer, reports[2:3])
    assert {r.step for r in read_jsonl(path)} == {report.step for report in reports[:3]}
    write(path, older, reports[4:])  # restarted from one of its checkpoints
    assert {r.step for r in read_jsonl(path)} == {report.step for report in reports}


@pytest.mark.filterwarnings("error")
def test_a_line_cut_off_by_a_kill_costs_only_itself(tmp_path: Path) -> None:
    header, reports, end = fake_run(3, 2)
    path = tmp_path / "a.jsonl"
    write(path, header, reports[:1])
    with path.open("a") as file:
        file.write('{"record": "reading", "step": 5')
    write(path, header, reports[1:], end)
    with pytest.warns(UserWarning, match="cut off") as warned:
        back = read_jsonl(path)
    assert len(warned) == 1
    assert len(back) == sum(len(report.readings) for report in reports)


@pytest.mark.filterwarnings("ignore:.*cut off")
@pytest.mark.parametrize("written", [0, 300])
def test_a_disk_that_is_full_for_a_while_costs_one_report_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, written: int
) -> None:
    header, reports, end = fake_run(3, 3)
    reporter = JsonlReporter(tmp_path / "a.jsonl")
    reporter.start(header)
    room = [written]
    monkeypatch.setattr(Path, "open", lambda path, *_, **__: Full(path, room))
    with pytest.raises(OSError, match="No space left"):
        reporter.report(reports[0])  # the first: with the protocols, which all others name
    monkeypatch.undo()
    for report in reports[1:]:
        reporter.report(report)
    reporter.end(end)
    back = read_jsonl(tmp_path / "a.jsonl")
    assert [r for r in without_spectrum(back) if r.step > reports[0].step] == without_spectrum(
        [reading for report in reports[1:] for reading in report.readings]
    )


class Full(io.StringIO):
    """A file on a disk that has room for some characters only."""

    def __init__(self, path: Path, room: list[int]) -> None:
        super().__init__()
        self.path, self.room = path, room

    def write(self, text: str) -> int:
        with open(self.path, "a", encoding="utf-8") as file:  # noqa: PTH123 - the other one is this
            file.write(text[: self.room[0]])
        raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize("gone", ["file", "folder"])
def test_a_file_that_was_taken_away_begins_anew(tmp_path: Path, gone: str) -> None:
    header, reports, end = fake_run(3, 3)
    path = tmp_path / "run" / "a.jsonl"
    reporter = JsonlReporter(path)
    reporter.start(header)
    reporter.report(reports[0])
    path.unlink()
    if gone == "folder":
        path.parent.rmdir()
    for report in reports[1:]:
        reporter.report(report)
    reporter.end(end)
    assert [r.step for r in read_jsonl(path)] == [r.step for report in reports[1:] for r in report.readings]
    assert next(read_records(path))["record"] == "run"


def test_a_missing_protocol_is_named(tmp_path: Path) -> None:
    header, reports, _ = fake_run(2, 1)
    write(tmp_path / "a.jsonl", header, reports)
    lines = (tmp_path / "a.jsonl").read_text().splitlines(keepends=True)
    (tmp_path / "b.jsonl").write_text("".join(line for line in lines if '"record": "protocol"' not in line))
    with pytest.raises(ValueError, match="unknown protocol"):
        read_jsonl(tmp_path / "b.jsonl")


def test_the_header_is_kept_in_full(tmp_path: Path) -> None:
    write(tmp_path / "a.jsonl", fake_header(3), [])
    (record,) = read_records(tmp_path / "a.jsonl")
    assert [row["layer"] for row in record["layers"]] == [row.layer for row in fake_header(3).layers]
