"""Runs of which only event files are there: read as TensorBoard serves them, with what can't be had said."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from recorded_runs import MESSAGE
from reporting_fakes import fake_run
from tensorboard_app import App, lay_down

from rankwatch.reporting.page.verdict import verdict_of
from rankwatch.reporting.recorded.recorded_run import RecordedRun
from rankwatch.reporting.recorded.references import references
from rankwatch.reporting.tensorboard import TensorBoardReporter
from rankwatch.reporting.tensorboard_page.served_runs import MISSING, ServedData, read_served

LAYERS, READINGS = 3, 35


@pytest.fixture(scope="module")
def logs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Event files of a run that collapses, of one that doesn't, and of somebody else's."""
    from torch.utils.tensorboard import SummaryWriter

    root = tmp_path_factory.mktemp("logs")
    for name, collapse in {"broken": True, "healthy": False}.items():
        top, reports, end = fake_run(LAYERS, READINGS, collapse=collapse, sources=("first_batches", "music"))
        with SummaryWriter(str(root / name)) as writer:
            reporter = TensorBoardReporter(writer, limit=None, images=False)
            reporter.start(top)
            for report in reports:
                words = {"step": report.step, "since": report.alarms[0].since} if report.alarms else {}
                message = MESSAGE.format(**words) if report.alarms else ""
                reporter.report(dataclasses.replace(report, message=message))
                writer.add_scalar("train_loss", 1.0 / report.step, report.step)
            reporter.settle()
            if collapse:
                reporter.end(end)
    with SummaryWriter(str(root / "other")) as writer:
        writer.add_scalar("train_loss", 1.0, 1)
    return root


@pytest.fixture(scope="module")
def provider(logs: Path) -> Any:
    """What plugins are handed without the fast loader."""
    from tensorboard.backend.event_processing.data_provider import MultiplexerDataProvider
    from tensorboard.backend.event_processing.plugin_event_multiplexer import EventMultiplexer

    multiplexer = EventMultiplexer(tensor_size_guidance={"scalars": 1000, "text": 100})
    multiplexer.AddRunsFromDirectory(str(logs))
    multiplexer.Reload()
    return MultiplexerDataProvider(multiplexer, str(logs))


def read(provider: Any, name: str) -> RecordedRun:
    data = ServedData(provider)
    return read_served(next(run for run in data.runs() if run.run == name), data, name)


def test_runs_of_others_are_none_of_ours(provider: Any) -> None:
    assert sorted(run.run for run in ServedData(provider).runs()) == ["broken", "healthy"]


def test_ranks_intervals_and_loss_are_those_that_were_written(provider: Any) -> None:
    run = read(provider, "broken")
    _, reports, _ = fake_run(LAYERS, READINGS, sources=("first_batches", "music"))
    assert [row.label for row in run.layers] == ["L00", "L01", "L02"]
    assert run.sources == ["evaluation set", "music"]
    assert run.levels == ["frame", "utterance"]
    np.testing.assert_array_equal(run.steps, [report.step for report in reports])
    every = [one for report in reports for one in report.readings if one.level == "frame" and one.layer.endswith("s.1")]
    for source, name in {"first_batches": "evaluation set", "music": "music"}.items():
        wanted = [one.effective_rank for one in every if one.source == source]
        np.testing.assert_allclose(run.curves[name, "frame", "L02"].values, wanted, rtol=1e-6)
    lows = [one.effective_rank_low for one in every if one.source == "first_batches"]
    np.testing.assert_allclose(run.curves["evaluation set", "frame", "L02"].low, lows, rtol=1e-6)
    assert run.loss is not None
    assert run.loss.values[-1] == pytest.approx(1.0 / reports[-1].step)
    assert list(run.problems) == [MISSING]
    assert all(value > 0 for value in references(run).values())


def test_what_broke_since_when_and_what_to_do_is_read_from_the_texts(provider: Any) -> None:
    verdict = verdict_of(read(provider, "broken"))
    assert (verdict.level, verdict.title) == (
        "critical",
        "Dimensional collapse (embeddings span few dimensions) in L02 (1 of 3 layers)",
    )
    assert "the run ended" in verdict.lead
    assert ("What to do", "Lower the learning rate. Last healthy checkpoint: run/last_healthy.ckpt.") in verdict.facts
    assert verdict_of(read(provider, "healthy")).level == "healthy"


def test_an_alarm_whose_text_was_dropped_is_not_taken_for_health(
    provider: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ServedData, "texts", lambda self, run, tag: [])
    verdict = verdict_of(read(provider, "broken"))
    assert verdict.level == "critical"
    assert "no longer has the text of this alarm" in str(verdict.facts)


def test_the_page_shows_what_there_is_and_says_what_is_missing(logs: Path, provider: Any) -> None:
    pytest.importorskip("plotly", reason="the page is drawn by plotly, which isn't installed")
    app = App("gs://bucket/logs", provider=provider)
    assert app.plugin.is_active()
    assert app.names() == ["broken", "healthy"]
    found = app.ask("/data", run="broken")
    assert {figure["id"] for figure in found["data"]["figures"]} == {"health", "ranks", "heatmap", "cost"}
    assert found["data"]["runs"][0]["problems"] == [MISSING]
    assert "data" not in app.ask("/data", run="broken", state=found["state"])
    both = app.ask("/data", run=["broken", "healthy"])["data"]["comparison"]
    assert "no protocol is known of broken" in both["refusal"]


def test_records_come_before_event_files_of_the_same_run(logs: Path, provider: Any) -> None:
    lay_down(logs / "broken", layers=LAYERS)
    try:
        app = App(logs, provider=provider)
        assert {run["name"]: run["from"] for run in app.ask("/runs")["runs"]} == {
            "broken": "records",
            "healthy": "TensorBoard",
        }
        loss = ServedData(provider).loss(["no such run", "broken"])
        assert loss is not None
    finally:
        (logs / "broken" / "rankwatch" / "RankWatch.jsonl").unlink()


class Down:
    """A provider whose server is away."""

    def list_scalars(self, *about: Any, **words: Any) -> Any:
        raise ConnectionError("away")

    def list_plugins(self, *about: Any, **words: Any) -> Any:
        raise ConnectionError("away")


@pytest.mark.parametrize("away", [None, Down()], ids=["none", "down"])
def test_a_provider_that_is_not_there_or_cannot_answer_is_no_error(tmp_path: Path, away: Any) -> None:
    app = App(tmp_path)
    app.plugin._provider = away
    assert app.ask("/runs")["runs"] == []
    assert not app.plugin.is_active()
