"""Tests of tag names and of what Lightning may monitor."""

from __future__ import annotations

import dataclasses
import math

from readings import codebook_reading
from reporting_fakes import fake_header, fake_run

from rankwatch.readings.report import SummaryKey, summarise_layers
from rankwatch.reporting.tags import Tags, monitored, monitored_defaults, scalars

RANK_FRAME = SummaryKey("frame", "effective_rank", "first_batches", "median")


def test_names_of_the_design() -> None:
    header = fake_header(25, sources=("first_batches", "music", "train"))
    tags, last = Tags.of(header), header.layers[-1].layer
    assert tags.top("health") == "RankWatch/health"
    assert tags.layer("frame", last, "first_batches") == "RankWatch_frame/L24"
    assert tags.layer("utterance", header.layers[0].layer, "music") == "RankWatch_utterance/L00@music"
    assert tags.layer("frame", last, "train") == "RankWatch_frame/L24@train"
    assert tags.layer("frame", last, "first_batches", "_low") == "RankWatch_frame/L24_low"
    assert tags.rank("frame", "music") == "RankWatch/effective_rank_frame@music"
    assert (
        tags.detail(SummaryKey("frame", "mean_energy_fraction", "first_batches", "worst"))
        == "RankWatch_detail/mean_energy_fraction_frame_worst"
    )


def test_the_callbacks_name_is_the_prefix_of_every_tag() -> None:
    header, reports, _ = fake_run(3, 2, name="Student")
    assert all(tag.startswith(("Student/", "Student_")) for tag in scalars(reports[-1], Tags.of(header)))


def test_training_pass_is_marked_even_where_it_is_the_headline() -> None:
    header, reports, _ = fake_run(3, 1, sources=("train",))
    values = scalars(reports[0], Tags.of(header))
    assert "RankWatch_frame/L02@train" in values
    assert "RankWatch_frame/L02" not in values
    assert "RankWatch/effective_rank_frame@train" in values


def test_values_come_from_the_report_unchanged() -> None:
    header, reports, _ = fake_run(3, 1)
    report = dataclasses.replace(reports[0], extra={"probe_accuracy": 0.75})
    values = scalars(report, Tags.of(header))
    for reading in report.readings:
        tag = Tags.of(header).layer(reading.level, reading.layer, reading.source)
        assert values[tag] == reading.effective_rank
        assert values[Tags.of(header).layer(reading.level, reading.layer, reading.source, "_high")] == (
            reading.effective_rank_high
        )
    assert values["RankWatch/health"] == report.health
    assert values["RankWatch/overhead_share"] == report.cost.share
    assert values["RankWatch/effective_rank_frame"] == report.summary[RANK_FRAME]
    assert (
        values["RankWatch_detail/mean_energy_fraction_utterance_worst@music"]
        == (report.summary[SummaryKey("utterance", "mean_energy_fraction", "music", "worst")])
    )
    assert values["RankWatch_detail/probe_accuracy"] == 0.75
    numbers = 3 + 3 * len(report.readings) + len(report.summary) + 4 + 1
    assert len(values) == numbers, "two numbers share a tag"


def test_an_interval_that_is_not_known_is_absent() -> None:
    header, reports, _ = fake_run(3, 1, intervals=False)
    assert not any(tag.endswith(("_low", "_high")) for tag in scalars(reports[0], Tags.of(header)))


def test_monitored_names_exist_before_any_reading_and_keep_their_names() -> None:
    for sources in (("first_batches", "music", "train"), ("train",)):
        header, reports, _ = fake_run(3, 1, sources=sources)
        defaults = monitored_defaults(header.name, header.levels, sources)
        assert defaults["RankWatch/health"] == 1.0
        assert defaults["RankWatch/alarm_level"] == 0.0
        assert defaults["RankWatch/effective_rank_utterance"] == 0.0
        assert set(monitored(reports[0], header.name, header.levels, sources)) == set(defaults)


def test_monitored_values_are_always_finite() -> None:
    header, reports, _ = fake_run(3, 1)
    summary = dict(reports[0].summary) | {RANK_FRAME: math.nan}
    report = dataclasses.replace(reports[0], summary=summary, health=math.inf)
    values = monitored(report, header.name, header.levels, header.sources)
    assert values["RankWatch/effective_rank_frame"] == 0.0
    assert values["RankWatch/health"] == 0.0
    assert values["RankWatch/effective_rank_frame@music"] == reports[0].summary[RANK_FRAME._replace(source="music")]


def test_a_source_not_read_at_this_step_keeps_what_was_monitored_before() -> None:
    header, reports, _ = fake_run(3, 1)
    summary = {key: value for key, value in reports[0].summary.items() if key.source != "music"}
    report = dataclasses.replace(reports[0], summary=summary)
    values = monitored(report, header.name, header.levels, header.sources)
    assert "RankWatch/effective_rank_frame" in values
    assert "RankWatch/effective_rank_frame@music" not in values


def test_of_codebooks_there_is_the_share_of_the_quantizer_with_the_least() -> None:
    header, reports, _ = fake_run(2, 1)
    codebooks = [codebook_reading(250, 12.8, quantizer="a"), codebook_reading(250, 64.0, quantizer="b")]
    summary = {**reports[0].summary, **summarise_layers(codebooks)}
    report = dataclasses.replace(reports[0], codebooks=codebooks, summary=summary)
    tags = Tags.of(header)
    new = {tag: value for tag, value in scalars(report, tags).items() if tag not in scalars(reports[0], tags)}
    assert new == {"RankWatch/codebook": 0.1}
    assert monitored(report, "RankWatch", header.levels, header.sources) == monitored(
        reports[0], "RankWatch", header.levels, header.sources
    )
