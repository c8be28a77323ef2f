"""Tests of the chart budget and of the Custom Scalars layout."""

from __future__ import annotations

import itertools
import re

import pytest
from reporting_fakes import fake_header, fake_run

from rankwatch.readings.report import Report, RunHeader, SummaryKey
from rankwatch.reporting.chart_plan import METRIC_ORDER, ChartPlan, custom_scalars, plan_charts
from rankwatch.reporting.tags import Tags, scalars


def summary_keys(header: RunHeader) -> list[SummaryKey]:
    """What a real run's summary holds: every metric on every source."""
    parts = itertools.product(header.levels, METRIC_ORDER, header.sources, ("min", "median", "worst"))
    return [SummaryKey(*part) for part in parts]


def plan(header: RunHeader, limit: int | None = 60) -> ChartPlan:
    return plan_charts(header, summary_keys(header), limit)


@pytest.mark.parametrize("layers", [1, 3, 7, 13, 25, 49])
@pytest.mark.parametrize("sources", [("first_batches",), ("train",), ("first_batches", "music", "noise", "train")])
def test_at_most_60_charts_and_8_on_top(layers: int, sources: tuple[str, ...]) -> None:
    drawn = plan(fake_header(layers, sources=sources)).drawn
    assert len(drawn) == len(set(drawn)) <= 60
    assert sum(tag.startswith("RankWatch/") for tag in drawn) <= 8


def test_24_layers_and_a_front_end_show_every_layer_and_the_last_ones_interval() -> None:
    header = fake_header(25)
    drawn = plan(header).drawn
    tags = Tags.of(header)
    for level in header.levels:
        assert all(tags.layer(level, row.layer, "first_batches") in drawn for row in header.layers)
        assert tags.layer(level, header.layers[-1].layer, "first_batches", "_high") in drawn
        assert tags.rank(level, "first_batches") in drawn
    assert {"RankWatch/health", "RankWatch/alarm_level", "RankWatch/overhead_share"} <= set(drawn)
    assert "RankWatch/effective_rank_frame@music" in drawn


def test_three_layers_show_every_layer_source_and_interval_and_the_worst_of_metrics() -> None:
    header = fake_header(3)
    drawn, tags = plan(header).drawn, Tags.of(header)
    for level in header.levels:
        for row in header.layers:
            wanted = [tags.layer(level, row.layer, source) for source in header.sources]
            wanted += [tags.layer(level, row.layer, "first_batches", end) for end in ("_low", "_high")]
            assert set(wanted) <= set(drawn)
        for metric in METRIC_ORDER:
            assert tags.detail(SummaryKey(level, metric, "first_batches", "worst")) in drawn


def test_nothing_is_lost_between_drawn_and_left_out() -> None:
    header, reports, _ = fake_run(7, 1)
    everything = set(scalars(reports[0], Tags.of(header)))
    bands = {tag for tag in everything if "_low" in tag or "_high" in tag}
    limited, full = plan_charts(header, reports[0].summary), plan_charts(header, reports[0].summary, None)
    assert full.left_out == ()
    assert set(limited.drawn) | set(limited.left_out) == set(full.drawn)
    shown_twice = {tag for tag in everything if "effective_rank" in tag and "_median" in tag}
    assert everything - set(full.drawn) == {tag for tag in bands if "@" in tag} | shown_twice
    assert "RankWatch_detail" in limited.sentence()
    assert "All" in full.sentence()


def test_what_is_drawn_stays_drawn_when_metrics_join_later() -> None:
    header = fake_header(13)
    first = plan_charts(header, [SummaryKey("frame", "stable_rank", "first_batches", "min")])
    later = plan_charts(header, summary_keys(header), drawn=first.drawn)
    assert later.drawn[: len(first.drawn)] == first.drawn
    assert len(later.drawn) == 60


def test_more_important_metrics_come_first_and_unknown_ones_last() -> None:
    metrics = ("zeta", "stable_rank", "mean_energy_fraction")
    drawn = plan_charts(fake_header(2), [SummaryKey("frame", m, "first_batches", "worst") for m in metrics]).drawn
    assert [tag.split("/")[1] for tag in drawn if "detail" in tag] == [
        "mean_energy_fraction_frame_worst",
        "stable_rank_frame_worst",
        "zeta_frame_worst",
    ]


PROBED = [
    SummaryKey(level, f"probe_{what}", "music", "median")
    for level in ("frame", "utterance")
    for what in ("accuracy", "majority_accuracy")
]


@pytest.mark.parametrize("layers", [3, 13, 25, 49])
def test_a_labelled_sets_accuracy_is_drawn_beside_its_majority_whatever_else_there_is(layers: int) -> None:
    header = fake_header(layers)
    drawn = plan_charts(header, [*summary_keys(header), *PROBED]).drawn
    wanted = {tag for tag in drawn if "probe_" in tag}
    assert len(drawn) <= 60
    assert wanted >= {
        f"RankWatch_detail/probe_{what}_{level}_median@music"
        for level in header.levels
        for what in ("accuracy", "majority_accuracy")
    }
    layout = custom_scalars(header, drawn)
    charts = next(iter(layout.values()))
    pair = charts["probe accuracy and majority, frame level, median over layers, on music"][1]
    assert [sum(bool(re.match(pattern, tag)) for tag in drawn) for pattern in pair] == [1, 1]
    assert not any("probe" in title for title in custom_scalars(header, plan(header).drawn)["RankWatch: is all well?"])


def multilines(report: Report, header: RunHeader) -> dict[str, list[str]]:
    layout = custom_scalars(header, list(scalars(report, Tags.of(header))))
    return {title: chart[1] for charts in layout.values() for title, chart in charts.items() if chart[0] == "Multiline"}


def test_one_chart_holds_all_layers_of_a_level_and_nothing_else() -> None:
    header, reports, _ = fake_run(7, 1)
    values = scalars(reports[0], Tags.of(header))
    for level in header.levels:
        patterns = multilines(reports[0], header)[f"effective rank, {level} level, all layers"]
        found = {tag for tag in values for pattern in patterns if re.match(pattern, tag)}
        assert found == {f"RankWatch_{level}/L{i:02}" for i in range(7)}


def test_bands_are_laid_out_only_where_the_interval_was_written() -> None:
    for intervals in (True, False):
        header, reports, _ = fake_run(3, 1, intervals=intervals)
        layout = custom_scalars(header, list(scalars(reports[0], Tags.of(header))))
        margins = [chart for charts in layout.values() for chart in charts.values() if chart[0] == "Margin"]
        assert len(margins) == (6 if intervals else 0)
        assert all(low == f"{value}_low" and high == f"{value}_high" for _, (value, low, high) in margins)


def test_overview_comes_first() -> None:
    header, reports, _ = fake_run(3, 1)
    layout = custom_scalars(header, list(scalars(reports[0], Tags.of(header))))
    first = next(iter(layout.values()))
    assert next(iter(first.values()))[1] == ["^RankWatch/health$", "^RankWatch/alarm_level$"]


CODES = [
    SummaryKey("codebook", m, "train", s)
    for m in ("normalized_perplexity", "perplexity")
    for s in ("min", "median", "worst")
]


@pytest.mark.parametrize("sources", [("first_batches",), ("first_batches", "music", "noise", "train")])
def test_codebooks_have_one_chart_where_there_are_some(sources: tuple[str, ...]) -> None:
    header = fake_header(25, sources=sources)
    without, drawn = plan(header).drawn, plan_charts(header, [*summary_keys(header), *CODES]).drawn
    assert [tag for tag in drawn if "codebook" in tag] == ["RankWatch/codebook"]
    assert not any("codebook" in tag for tag in without)
    assert len(drawn) == 60
    assert sum(tag.startswith("RankWatch/") for tag in drawn) <= 8
