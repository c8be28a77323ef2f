"""Tests of what the terminal gets."""

from __future__ import annotations

import dataclasses

import pytest
from reporting_fakes import fake_header, fake_run

from rankwatch.reporting.console import alarm_line, end_summary, shorten, start_table


def test_the_table_names_every_layer_once_and_is_aligned() -> None:
    header = fake_header(13)
    lines = start_table(header).splitlines()
    titles = next(i for i, line in enumerate(lines) if "layout" in line)
    table = lines[titles : titles + 1 + len(header.layers)]
    for row, line in zip(header.layers, table[1:], strict=True):
        assert row.layer in line
        assert line.index(row.layout) == table[0].index("layout")
        assert line.index(f"to {row.projection}") == table[0].index("projection")
    assert any(header.notes[0] in line for line in lines)


@pytest.mark.parametrize("width", [90, 110])
def test_long_paths_lose_their_middle_and_no_line_is_too_long(width: int) -> None:
    header = fake_header(5)
    deep = "module.with.a.very.long.path." + "deeper." * 20 + "layers.11"
    note = "stays unprojected: k = 256 is not below its width of 64, " * 4
    rows = [dataclasses.replace(row, layer=deep, note=note, cost="1.0 MB, 3 ms") for row in header.layers]
    text = start_table(dataclasses.replace(header, layers=rows, notes=("long " * 60,)), width)
    assert max(len(line) for line in text.splitlines()) <= width
    assert "ers.11" in text
    assert text.count("1.0 MB, 3 ms") == len(rows)
    assert text.count("stays unprojected") == 4, "the note, said once for all layers, has the words four times"


@pytest.mark.parametrize("directories", range(1, 12))
def test_a_path_stands_in_one_piece_wherever_the_line_ends(directories: int) -> None:
    path = "/my-data/" + "long-run-" * directories + "1/step-30.ckpt"
    text = start_table(dataclasses.replace(fake_header(), notes=(f"the last healthy checkpoint is {path}",)), 90)
    assert path in text


def test_columns_without_content_are_left_out() -> None:
    assert "costs" not in start_table(fake_header(3))
    assert " note" not in start_table(fake_header(3))


def test_shortening_keeps_both_ends_and_the_width() -> None:
    text = "abcdefghijklmnopqrstuvwxyz"
    for width in range(5, 26):
        short = shorten(text, width)
        assert len(short) == width
        assert short[0] == "a"
        assert short[-1] == "z"
    assert shorten(text, 26) == text


def test_an_alarm_is_one_line_with_all_that_matters() -> None:
    _, _, end = fake_run(7, 40)
    alarm = dataclasses.replace(end.alarms[0], message="two\nlines")
    line = alarm_line(alarm)
    assert "\n" not in line
    for word in (alarm.kind, alarm.layer, alarm.level, alarm.source, str(alarm.step), str(alarm.since), "CRITICAL"):
        assert word in line


def test_the_summary_says_what_it_took_what_was_found_and_where_it_is() -> None:
    _, _, end = fake_run(7, 40, records="runs/version_0/rankwatch.jsonl")
    text = end_summary(dataclasses.replace(end, checkpoint="runs/healthy.ckpt"), "RankWatch")
    assert f"{100 * end.share:.2f} %" in text
    assert f"{len(end.alarms)} x critical dimensional" in text
    for words in ("40 readings", "runs/version_0/rankwatch.jsonl", "runs/healthy.ckpt", "stopped"):
        assert words in text
    summary = end_summary(dataclasses.replace(end, alarms=(), stopped=False, records=""), "RankWatch")
    assert "No alarms." in summary
    early = end_summary(dataclasses.replace(end, alarms=(), readings=2), "RankWatch")
    assert "No alarms, but with 4 readings or fewer it can't be told whether a rank falls" in " ".join(early.split())
    nothing = end_summary(dataclasses.replace(end, alarms=(), measured=False, notes=["x is not read"]), "RankWatch")
    assert "nothing could be read up to step" in nothing
    assert "x is not read" in nothing
    assert "No alarms" not in nothing
    assert "stopped" not in summary
