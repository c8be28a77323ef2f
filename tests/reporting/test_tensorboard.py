"""Tests of TensorBoard: real event files are written and read back."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from reporting_fakes import fake_run
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.custom_scalar import layout_pb2
from torch.utils.tensorboard import SummaryWriter

from rankwatch.readings.report import Report, RunEnd, RunHeader
from rankwatch.reporting.tensorboard import TensorBoardReporter

EVERYTHING = {"scalars": 0, "images": 0, "tensors": 0}


def write(folder: Path, runs: Sequence[tuple[RunHeader, list[Report], RunEnd]]) -> EventAccumulator:
    """Several callbacks on one writer, as two in one trainer are; then read it all back."""
    writer = SummaryWriter(str(folder))
    reporters = [TensorBoardReporter(writer) for _ in runs]
    for reporter, (header, reports, end) in zip(reporters, runs, strict=True):
        reporter.start(header)
        for report in reports:
            reporter.report(report)
        reporter.settle()
        reporter.end(end)
    writer.close()
    return EventAccumulator(str(folder), size_guidance=EVERYTHING).Reload()


def layout(events: EventAccumulator) -> dict[str, list[str]]:
    proto = layout_pb2.Layout()
    proto.ParseFromString(events.Tensors("custom_scalars__config__")[-1].tensor_proto.string_val[0])
    return {category.title: [chart.title for chart in category.chart] for category in proto.category}


def texts(events: EventAccumulator, tag: str) -> list[tuple[int, str]]:
    found = events.Tensors(f"RankWatch/{tag}/text_summary")
    return [(event.step, event.tensor_proto.string_val[0].decode()) for event in found]


@pytest.fixture(scope="module")
def run() -> tuple[RunHeader, list[Report], RunEnd]:
    return fake_run(25, 30)


@pytest.fixture(scope="module")
def events(run: tuple[RunHeader, list[Report], RunEnd], tmp_path_factory: pytest.TempPathFactory) -> EventAccumulator:
    return write(tmp_path_factory.mktemp("events"), [run])


def test_at_most_60_scalar_charts_8_on_top_and_only_flat_tags(events: EventAccumulator) -> None:
    tags = events.Tags()["scalars"]
    assert len(tags) <= 60
    assert sum(tag.startswith("RankWatch/") for tag in tags) <= 8
    assert {tag.split("/")[0] for tag in tags} <= {"RankWatch", "RankWatch_frame", "RankWatch_utterance"}


def test_curves_hold_every_reading_at_its_optimiser_step(
    events: EventAccumulator, run: tuple[RunHeader, list[Report], RunEnd]
) -> None:
    header, reports, _ = run
    last = header.layers[-1].layer
    wanted = [
        (reading.step, pytest.approx(reading.effective_rank, rel=1e-6))
        for report in reports
        for reading in report.readings
        if (reading.layer, reading.level, reading.source) == (last, "frame", "first_batches")
    ]
    assert [(event.step, event.value) for event in events.Scalars("RankWatch_frame/L24")] == wanted
    health = [event.value for event in events.Scalars("RankWatch/health")]
    assert health == pytest.approx([report.health for report in reports], rel=1e-6)


def test_the_layout_starts_with_the_overview_and_has_the_bands(events: EventAccumulator) -> None:
    found = layout(events)
    assert next(iter(found)) == "RankWatch: is all well?"
    assert "effective rank, frame level, all layers" in found["RankWatch: is all well?"]
    assert found["RankWatch: effective rank with its 90 % interval"] == ["L24, frame level", "L24, utterance level"]


def test_pictures_are_drawn_rarely_at_each_episode_and_at_the_end(
    events: EventAccumulator, run: tuple[RunHeader, list[Report], RunEnd]
) -> None:
    _, reports, end = run
    assert set(events.Tags()["images"]) == {
        "RankWatch/heatmap_frame",
        "RankWatch/spectra_frame",
        "RankWatch_utterance/heatmap",
        "RankWatch_utterance/spectra",
    }
    steps = [event.step for event in events.Images("RankWatch/heatmap_frame")]
    episodes = [report.step for report in reports if report.message]
    assert len(steps) <= 5 + len(episodes)
    assert set(episodes) <= set(steps)
    assert steps[-1] == end.step


@pytest.mark.parametrize(("apart", "drawn"), [(600.0, [3, 12, 22]), (5.0, [24]), (2.0, []), (20.0, [6, 16])])
def test_pictures_take_half_a_percent_of_the_run_at_most(tmp_path: Path, apart: float, drawn: list[int]) -> None:
    """With readings `apart` seconds from each other and 0.2 s a set (0.6 s are reckoned for the first)."""
    header, reports, _ = fake_run(3, 25, collapse=False)
    now = [0.0]

    class Writer(SummaryWriter):
        def add_text(self, tag: str, *args: object) -> None:
            now[0] += 0.2 * tag.endswith("readings")  # every set has this text

    reporter = TensorBoardReporter(Writer(str(tmp_path)), images=False, clock=lambda: now[0])
    reporter.start(header)
    sets = []
    for taken, report in enumerate(reports, 1):
        now[0] = taken * apart
        reporter.report(report)
        if now[0] > taken * apart:
            sets.append(taken)
    assert sets == drawn


def test_texts_name_alarms_layers_protocol_and_what_is_not_drawn(
    events: EventAccumulator, run: tuple[RunHeader, list[Report], RunEnd]
) -> None:
    header, reports, end = run
    first = reports[0].step
    (layers,) = texts(events, "layers")
    assert layers[0] == first
    assert all(row.layer in layers[1] for row in header.layers)
    assert "only in the JSONL file" in layers[1]
    assert [step for step, _ in texts(events, "protocol")] == [first]
    alarms = texts(events, "alarms")
    assert "No alarm" in alarms[0][1]
    steps = [step for step, _ in alarms]
    assert len(steps) == len(set(steps)) < len(reports) / 2
    assert {report.step for report in reports if report.message} <= set(steps)
    assert alarms[-1][0] == end.step
    assert "CRITICAL" in alarms[-1][1]
    ((step, summary),) = texts(events, "summary")
    assert step == end.step
    assert "critical dimensional" in summary


def test_the_end_of_all_alarms_is_written(tmp_path: Path) -> None:
    header, reports, end = fake_run(3, 30)
    clear = dataclasses.replace(reports[-1], open_alarms=[], alarm_level=0, step=end.step + 250)
    events = write(tmp_path, [(header, [*reports, clear], end)])
    step, text = texts(events, "alarms")[-1]
    assert step == clear.step
    assert "No alarm" in text


def test_two_callbacks_on_one_writer_keep_their_layouts_and_tags_apart(tmp_path: Path) -> None:
    events = write(tmp_path, [fake_run(2, 2), fake_run(2, 2, name="Teacher")])
    assert {title.split(":")[0] for title in layout(events)} == {"RankWatch", "Teacher"}
    tags = events.Tags()["scalars"]
    assert len(events.Scalars("RankWatch/health")) == len(events.Scalars("Teacher/health")) == 2
    assert {tag.replace("Teacher", "RankWatch") for tag in tags} == {tag for tag in tags if "RankWatch" in tag}


def test_intervals_that_appear_later_get_their_band(tmp_path: Path) -> None:
    header, without, _ = fake_run(3, 3, intervals=False)
    _, reports, end = fake_run(3, 6)
    events = write(tmp_path, [(header, [*without, *reports[3:]], end)])
    assert any("interval" in title for title in layout(events))


def test_a_resumed_run_goes_on_in_a_new_event_file(tmp_path: Path) -> None:
    header, reports, end = fake_run(3, 8)
    write(tmp_path, [(header, reports[:4], end)])
    events = write(tmp_path, [(header, reports[4:], end)])
    # Two files of one process and second are read in the order of their names, in which "10" comes before "9".
    assert sorted(event.step for event in events.Scalars("RankWatch/health")) == [report.step for report in reports]


def test_no_picture_where_none_is_wanted(tmp_path: Path) -> None:
    header, reports, end = fake_run(3, 4)
    writer = SummaryWriter(str(tmp_path))
    reporter = TensorBoardReporter(writer, images=False)
    reporter.start(header)
    reporter.report(reports[0])
    reporter.end(end)
    writer.close()
    assert EventAccumulator(str(tmp_path), size_guidance=EVERYTHING).Reload().Tags()["images"] == []


def test_a_number_that_does_not_exist_is_a_gap_and_not_the_last_good_one(tmp_path: Path) -> None:
    header, reports, end = fake_run(2, 2)
    lost = [dataclasses.replace(reading, effective_rank=float("nan")) for reading in reports[1].readings]
    events = write(tmp_path, [(header, [reports[0], dataclasses.replace(reports[1], readings=lost)], end)])
    values = [event.value for event in events.Scalars("RankWatch_frame/L01")]
    assert np.isfinite(values).tolist() == [True, False]
