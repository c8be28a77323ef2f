"""A run from its records: all of it, a damaged file as far as it goes, one that grows, and bounded memory."""

from __future__ import annotations

import json
import math
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from recorded_runs import write_records

from rankwatch.reporting.jsonl_records import read_jsonl
from rankwatch.reporting.page.verdict import verdict_of
from rankwatch.reporting.recorded import kept_steps, record_lines
from rankwatch.reporting.recorded.run_reader import RunReader
from rankwatch.reporting.recorded.spectrum_codes import decode


def read(path: Path, name: str = "run") -> object:
    reader = RunReader(path, name)
    reader.update()
    return reader.run()


def test_every_number_is_that_of_read_jsonl(tmp_path: Path) -> None:
    path = write_records(tmp_path / "RankWatch.jsonl", 4, 30)
    run, readings = read(path), read_jsonl(path)
    assert len(readings) == 30 * 4 * 4
    assert run.problems == []
    for reading in readings:
        i = int(np.flatnonzero(run.steps == reading.step)[0])
        curve = run.curves[reading.key]
        found = (curve.values[i], curve.low[i], curve.high[i])
        wanted = (reading.effective_rank, reading.effective_rank_low, reading.effective_rank_high)
        np.testing.assert_allclose(found, wanted, rtol=1e-6)
        spectrum = decode(run.spectra[reading.key].codes[i])
        there = np.array(reading.spectrum) > 10**-6.3
        np.testing.assert_allclose(spectrum[there], np.array(reading.spectrum)[there], rtol=0.031)
    assert [row.label for row in run.layers] == ["L00", "L01", "L02", "L03"]
    assert run.end is not None
    assert run.end.step == 30 * 250
    assert len(run.alarms) == len(run.end.alarms) or not run.end.alarms


def test_a_cut_off_file_is_read_as_far_as_it_goes(tmp_path: Path) -> None:
    path = write_records(tmp_path / "a.jsonl", 3, 10)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(0.6 * len(whole))])
    run = read(path)
    assert 3 <= len(run.steps) < 10
    assert run.end is None
    assert any("last line has no end" in problem for problem in run.problems)


def test_damage_is_said_with_its_lines_and_the_rest_is_read(tmp_path: Path) -> None:
    path = write_records(tmp_path / "a.jsonl", 3, 10)
    lines = path.read_text().splitlines()
    lines[20] = lines[20][:40]
    lines[21] = "[1, 2]"
    lines[22] = "\x00\xff" * 10
    lines[23] = '{"record": "reading", "step": "x", "source": 3}'
    lines[24] = '{"record": "alarm", "step": -1}'
    lines[25] = "[" * 100_000
    lines[26] = '{"record": "reading", "step": ' + "9" * 5000 + "}"
    path.write_bytes("\n".join(lines).encode("latin-1"))
    run = read(path)
    said = " ".join(run.problems)
    assert len(run.steps) == 10
    assert "Lines 21, 23, 26 and others are cut off or broken" in said
    assert "Line 22 is no record" in said
    assert "1 records of kind 'reading'" in said
    assert "1 records of kind 'alarm'" in said


def test_a_line_of_any_length_takes_bounded_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(record_lines, "LONGEST_LINE", 50_000)
    path = write_records(tmp_path / "a.jsonl", 3, 10)
    with path.open("ab") as file:
        file.write(b'{"record": "alarm", "message": "' + b"x" * 10_000_000 + b'"}\n')
        file.write(b'{"record": "summary", "step": 2500, "health": 0.25, "alarm_level": 1}\n')
    tracemalloc.start()
    run = read(path)
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert most < 4_000_000
    assert any("longer than any record" in problem for problem in run.problems)
    assert run.health[-1] == pytest.approx(0.25)  # what comes after it is read


def test_a_long_run_is_thinned_out_evenly_and_keeps_alarms_and_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kept_steps, "MOST_STEPS", 50)
    monkeypatch.setattr(kept_steps, "MOST_ALARMED", 10)
    path = tmp_path / "a.jsonl"
    record = json.loads(next(line for line in write_records(path, 2, 2).open() if '"reading"' in line))
    with path.open("a") as file:
        for step in range(1000, 1701):
            file.write(json.dumps({**record, "step": step, "effective_rank": float(step)}) + "\n")
            if step == 1333:
                file.write(json.dumps({"record": "episode", "step": step, "message": "m", "open_alarms": []}) + "\n")
    run = read(path)
    values = run.curves["first_batches", "frame", record["layer"]].values
    assert run.n_readings == 2 + 701
    assert 25 <= len(run.steps) <= 62
    assert run.steps[-1] == 1700
    assert 1333 in run.steps
    late = run.steps >= 1000
    np.testing.assert_array_equal(values[late], run.steps[late])  # each number stands at its own step
    gaps = np.diff([step for step in run.steps[late] if step not in (1333, 1700)])
    assert len(set(gaps.tolist())) <= 2  # even, but for where a step was left out beside the alarm's


def test_what_is_written_later_is_read_later(tmp_path: Path) -> None:
    path = write_records(tmp_path / "a.jsonl", 3, 10)
    whole = path.read_bytes()
    at = int(0.5 * len(whole))  # in the middle of a line
    path.write_bytes(whole[:at])
    reader = RunReader(path)
    assert reader.update()
    before = len(reader.run().steps)
    assert not reader.update()
    with path.open("ab") as file:
        file.write(whole[at:])
    assert reader.update()
    run, at_once = reader.run(), read(path)
    assert before < len(run.steps) == 10
    assert run.problems == []
    for key, curve in at_once.curves.items():
        np.testing.assert_array_equal(curve.values, run.curves[key].values)


def test_a_file_that_begins_anew_is_read_anew(tmp_path: Path) -> None:
    path = write_records(tmp_path / "a.jsonl", 3, 10)
    reader = RunReader(path)
    reader.update()
    write_records(path, 3, 4)
    reader.update()
    assert len(reader.run().steps) == 4


def test_a_longer_file_in_its_place_is_read_from_its_start(tmp_path: Path) -> None:
    path = write_records(tmp_path / "RankWatch.jsonl", 2, 4)
    reader = RunReader(path)
    reader.update()
    path.unlink()
    write_records(path, 3, 9, name="Other")
    assert reader.update()
    run = reader.run()
    assert (run.header.name, len(run.steps), len(run.layers)) == ("Other", 9, 3)
    assert run.problems == []


def test_a_file_that_begins_anew_is_shown_as_it_was_until_there_is_a_record(tmp_path: Path) -> None:
    path = write_records(tmp_path / "RankWatch.jsonl", 2, 9)
    reader = RunReader(path)
    reader.update()
    path.write_text("")
    assert not reader.update()
    assert len(reader.run().steps) == 9
    write_records(path, 2, 4)
    assert reader.update()
    assert len(reader.run().steps) == 4


def test_an_alarm_of_no_severity_that_is_known_is_left_out(tmp_path: Path) -> None:
    path = write_records(tmp_path / "RankWatch.jsonl", 2, 35)
    path.write_text(path.read_text().replace('"severity": "critical"', '"severity": "<b>"'))
    run = read(path)
    assert verdict_of(run).level == "healthy"
    assert not run.alarms
    assert any("records of kind 'alarm'" in problem for problem in run.problems)


def test_the_newest_of_several_runs_is_shown_and_a_resumed_one_is_one_run(tmp_path: Path) -> None:
    path = write_records(tmp_path / "a.jsonl", 3, 10, run="one")
    write_records(path, 3, 4, run="two", append=True)
    run = read(path)
    assert len(run.steps) == 4
    assert any("1 earlier runs" in problem for problem in run.problems)
    write_records(path, 3, 8, run="two", append=True)  # resumed: steps of before are read again
    again = read(path)
    assert len(again.steps) == 8
    assert again.n_readings == 8


def test_readings_beyond_the_checkpoint_that_a_run_was_resumed_from_are_left_out(tmp_path: Path) -> None:
    path = write_records(tmp_path / "a.jsonl", 2, 10, run="one")
    steps = read(path).steps.tolist()
    write_records(path, 2, 4, run="one", append=True)
    again = read(path)
    assert again.steps.tolist() == steps[:4]
    assert again.n_readings == 4
    assert any(f"resumed from a checkpoint before step {steps[0]};" in problem for problem in again.problems)


def test_a_file_without_its_header_numbers_the_layers(tmp_path: Path) -> None:
    path = write_records(tmp_path / "a.jsonl", 3, 10)
    path.write_text("".join(path.read_text().splitlines(keepends=True)[1:]))
    run = read(path)
    assert [row.label for row in run.layers] == ["L00", "L01", "L02"]
    assert any("header is missing" in problem for problem in run.problems)


def test_a_file_without_readings_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text("hello\n")
    with pytest.raises(ValueError, match=r"holds no reading.*Line 1 is cut off or broken"):
        read(path)


def test_null_is_no_number(tmp_path: Path) -> None:
    path = write_records(tmp_path / "a.jsonl", 2, 3)
    path.write_text(path.read_text().replace('"effective_rank_low": ', '"effective_rank_low": null, "was": '))
    run = read(path)
    assert all(math.isnan(value) for curve in run.curves.values() for value in curve.low)
