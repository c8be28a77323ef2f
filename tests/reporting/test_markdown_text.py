"""Tests of the Markdown for TensorBoard's Text page."""

from __future__ import annotations

import dataclasses
import math

from reporting_fakes import fake_header, fake_reading, fake_run

from rankwatch.reporting.markdown_text import layers_text, protocols_text, readings_text, status_text, table
from rankwatch.reporting.tags import Tags
from rankwatch.runtime.plain_data import to_plain


def test_tables_have_as_many_cells_in_every_row_whatever_stands_in_them() -> None:
    lines = table(("a", "empty", "c"), [("x|y", "", "two\nlines"), (1, "", None)]).splitlines()
    assert len(lines) == 4
    assert {line.replace("\\|", "").count("|") for line in lines} == {3}


def test_every_label_is_told_with_its_module() -> None:
    header = fake_header(25)
    lines = layers_text(header).splitlines()
    for row in header.layers:
        assert any(row.label in line and f"`{row.layer}`" in line for line in lines)


def test_the_protocol_table_has_a_column_per_source_and_level_and_names_every_condition() -> None:
    header, reports, _ = fake_run(4, 1)
    text = protocols_text(reports[0].readings)
    for source in header.sources:
        for level in header.levels:
            assert f"{source}, {level} level" in text
    protocol = reports[0].readings[0].protocol
    assert all(f"| {name} |" in text for name in to_plain(protocol) if name not in ("source", "level"))
    assert "512, 768" in text, "layers of two widths share a column"


def test_the_status_names_what_is_wrong_first() -> None:
    header, reports, _ = fake_run(7, 40)
    tags = Tags.of(header)
    assert status_text(reports[0], tags).startswith("**No alarm.**")
    loud = next(report for report in reports if report.message)
    text = status_text(loud, tags)
    assert text.startswith("**CRITICAL.**")
    assert loud.message in text
    assert text.count("\n- ") + text.count("\n\n- ") >= len(loud.open_alarms)
    assert all(f"`{alarm.layer}`" in text for alarm in loud.open_alarms)


def test_a_reading_without_a_number_says_why() -> None:
    header, reports, _ = fake_run(3, 1)
    lost = fake_reading(header, 0, "frame", "first_batches", 250, math.nan)
    lost = dataclasses.replace(lost, status=frozenset({"non_finite_rows", "too_few_rows"}))
    text = readings_text(dataclasses.replace(reports[0], readings=[lost]), Tags.of(header))
    assert "none (non finite rows, too few rows)" in text
    assert "nan" not in text.replace("non", "")


def test_a_probes_accuracy_stands_beside_the_rank() -> None:
    header, reports, _ = fake_run(3, 1)
    one = reports[0].readings[0]
    probed = dataclasses.replace(one, metrics={**one.metrics, "probe_accuracy": 0.413, "probe_majority_accuracy": 0.1})
    text = readings_text(dataclasses.replace(reports[0], readings=[probed, *reports[0].readings[1:]]), Tags.of(header))
    assert text.count("; probe accuracy 0.41 (majority 0.10)") == text.count("probe accuracy") == 1
