"""The figure of drift: each number at its step, and none shown as clean that something stands against."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from reporting_fakes import fake_run

pytest.importorskip("plotly", reason="figures are drawn by plotly, which isn't installed")

from rankwatch.readings.drift.layer_drift import LayerDrift
from rankwatch.reporting.figures.depth_colours import NEUTRAL
from rankwatch.reporting.figures.drift_figure import drift
from rankwatch.reporting.jsonl_records import JsonlReporter, read_jsonl
from rankwatch.reporting.page.page_data import page_data
from rankwatch.reporting.recorded.from_readings import run_from_readings
from rankwatch.reporting.recorded.recorded_run import RecordedRun
from rankwatch.reporting.recorded.run_reader import RunReader

FLAGGED = 5


def with_drift(reading, i):
    """Every second reading is a full one; number five is flagged."""
    if reading.source != "first_batches" or i % 2 == 0:
        return reading
    status = frozenset({"dependent_rows"} if i == FLAGGED else {"imprecise"})
    found = [LayerDrift(since, 0, value, value - 0.02, value + 0.02, status) for since, value in drifts(i)]
    return dataclasses.replace(reading, drift=tuple(found[: 2 if i > 3 else 1]))


def drifts(i):
    return [("previous", 0.5 / (i + 1)), ("first", 1.0 - 0.5 / (i + 1))]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RecordedRun:
    path = tmp_path_factory.mktemp("run") / "RankWatch.jsonl"
    top, reports, _ = fake_run(4, 12, collapse=False)
    reporter = JsonlReporter(path)
    reporter.start(top)
    for i, report in enumerate(reports):
        reporter.report(dataclasses.replace(report, readings=[with_drift(one, i) for one in report.readings]))
    reader = RunReader(path, "run")
    reader.update()
    assert not reader.problems()
    return reader.run()


def test_it_comes_through_the_records_and_from_memory_alike(run: RecordedRun) -> None:
    key = ("first_batches", "frame", run.layers[2].layer)
    curve = run.curves[key].drift["previous"]
    wanted = [drifts(i)[0][1] if i % 2 else np.nan for i in range(12)]
    np.testing.assert_allclose(curve.values, wanted, rtol=1e-6)
    np.testing.assert_allclose(curve.high - curve.low, [0.04 if i % 2 else np.nan for i in range(12)], rtol=1e-4)
    assert curve.trusted.tolist() == [bool(i % 2) and i != FLAGGED for i in range(12)]
    assert np.isfinite(run.curves[key].drift["first"].values).sum() == 4  # numbers 5, 7, 9, 11
    assert not run.curves["music", "frame", run.layers[2].layer].drift
    again = run_from_readings(read_jsonl(run.path)).curves[key].drift
    np.testing.assert_array_equal(again["previous"].values, curve.values)
    np.testing.assert_array_equal(again["first"].trusted, run.curves[key].drift["first"].trusted)


def test_each_layer_is_a_line_and_what_is_flagged_stands_beside_it(run: RecordedRun) -> None:
    figure = drift([run])
    lines = [t for t in figure.data if t.meta["role"] == "line" and t.meta["level"] == "frame" and t.mode != "markers"]
    assert len(lines) == 4 * 2
    steps = run.steps[[1, 3, 7, 9, 11]]
    np.testing.assert_array_equal(lines[0].x, steps)
    marks = [trace for trace in figure.data if trace.mode == "markers"]
    assert {tuple(mark.x) for mark in marks} == {(run.steps[FLAGGED],)}
    assert all("not to be trusted" in mark.hovertemplate for mark in marks)
    assert any(trace.meta["role"] == "band" for trace in figure.data)
    assert len({trace.meta["level"] for trace in figure.data}) == 2


def test_of_several_runs_the_last_layer_of_each(run: RecordedRun) -> None:
    lines = [trace for trace in drift([run, run]).data if trace.mode == "lines+markers"]
    assert len(lines) == 2 * 2 * 2


def test_it_stands_on_the_page_where_there_is_any(run: RecordedRun, tmp_path) -> None:
    names = [figure["id"] for figure in page_data([run])["figures"]]
    assert names.index("spectra") < names.index("drift")
    without = dataclasses.replace(
        run, curves={key: dataclasses.replace(curve, drift={}) for key, curve in run.curves.items()}
    )
    assert drift([without]) is None
    assert "drift" not in [figure["id"] for figure in page_data([without])["figures"]]


def test_what_there_is_none_of_has_no_panel_and_what_is_not_trusted_keeps_its_grey(run: RecordedRun) -> None:
    marks = [trace for trace in drift([run]).data if trace.meta["role"] == "untrusted"]
    assert {mark.marker.color for mark in marks} == {NEUTRAL}
    short = dataclasses.replace(
        run,
        curves={
            key: dataclasses.replace(curve, drift={k: v for k, v in curve.drift.items() if k == "previous"})
            for key, curve in run.curves.items()
        },
    )
    titles = [note.text for note in drift([short]).layout.annotations]
    assert titles == [f"drift since the full reading before, {level} level" for level in run.levels[: len(titles)]]
