"""Figures show what was read: every number at its step, intervals, gaps, alarms, and text as text."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from recorded_runs import recorded

pytest.importorskip("plotly", reason="figures are drawn by plotly, which isn't installed")

from rankwatch.reporting.figures.further_figures import codebooks, cost, labelled
from rankwatch.reporting.figures.health_figure import health
from rankwatch.reporting.figures.heatmap_figure import heatmap
from rankwatch.reporting.figures.rank_figure import band, ranks
from rankwatch.reporting.figures.spectra_figure import spectra
from rankwatch.reporting.recorded.recorded_run import CodebookCurve, LossCurve, RecordedRun
from rankwatch.reporting.recorded.references import (
    CALM,
    CRITICALLY_LOW,
    EARLY,
    LOW,
    WARNED,
    health_states,
    references,
)

NASTY = "</script><img src=x onerror=alert(1)>%{x}$a$<b>"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RecordedRun:
    return recorded(tmp_path_factory.mktemp("run"))


def lines(figure: object, **about: object) -> list[object]:
    traces = [trace for trace in figure.data if trace.meta and trace.meta["role"] == "line"]
    return [trace for trace in traces if all(trace.meta[name] == value for name, value in about.items())]


def test_each_layer_is_a_line_for_each_level_and_set(run: RecordedRun) -> None:
    figure = ranks([run])
    assert len(lines(figure)) == 5 * 2 * 2
    for (source, level, layer), curve in run.curves.items():
        label = next(row.label for row in run.layers if row.layer == layer)
        (line,) = lines(figure, source=source, level=level, layer=label)
        np.testing.assert_array_equal(line.x, run.steps)
        np.testing.assert_allclose(line.y, curve.values, rtol=1e-6)
    titles = [note.text for note in figure.layout.annotations]
    assert titles[:2] == ["effective rank, frame level, on first_batches", "effective rank, frame level, on music"]


def test_a_relative_curve_is_in_per_cent_of_its_own_reference(run: RecordedRun) -> None:
    usual, figure = references(run), ranks([run], relative=True, layers=["L04"])
    (line,) = lines(figure, source="first_batches", level="frame")
    key = ("first_batches", "frame", run.layers[4].layer)
    np.testing.assert_allclose(line.y, 100 * run.curves[key].values / usual[key], rtol=1e-5)
    assert 80 < line.y[20] < 120  # in health
    assert line.y[-1] < 30  # collapsed


def test_the_reference_leaves_out_what_was_alarmed(run: RecordedRun) -> None:
    key = ("first_batches", "frame", run.layers[4].layer)
    calm = dataclasses.replace(run, alarms=[])
    values = run.curves[key].values
    assert references(run)[key] == pytest.approx(np.quantile(values[4:27], 0.8), rel=0.05)
    assert references(calm)[key] <= references(run)[key]


def test_a_collapse_at_frame_level_is_no_reference_at_utterance_level(run: RecordedRun) -> None:
    """However long it lasts, and though the utterance level has no alarm of its own."""
    frame_only = dataclasses.replace(run, alarms=[alarm for alarm in run.alarms if alarm.level == "frame"])
    key = ("first_batches", "utterance", run.layers[4].layer)
    assert references(frame_only)[key] == pytest.approx(np.quantile(run.curves[key].values[4:24], 0.8), rel=0.05)


def test_a_run_that_was_alarmed_from_its_start_is_compared_with_its_first_readings(run: RecordedRun) -> None:
    alarm = dataclasses.replace(run.alarms[0], since=0, step=0)
    early = dataclasses.replace(run, alarms=[alarm], alarm_level=np.full(len(run.steps), 2.0, np.float32))
    key = ("first_batches", "frame", run.layers[0].layer)
    assert references(early)[key] == pytest.approx(np.median(run.curves[key].values[:8]))


def test_intervals_have_gaps_where_numbers_are_missing() -> None:
    steps = np.arange(6)
    low = np.array([1.0, 1.0, np.nan, 2.0, 2.0, np.nan])
    x, y = band(steps, low, low + 1)
    np.testing.assert_array_equal(x, [0, 1, 1, 0, np.nan, 3, 4, 4, 3])
    np.testing.assert_array_equal(y, [1, 1, 2, 2, np.nan, 2, 2, 3, 3])
    assert band(steps, np.full(6, np.nan), low) is None


def test_intervals_of_many_layers_are_there_but_hidden(tmp_path: Path) -> None:
    many = recorded(tmp_path, layers=12, readings=5)
    figure = ranks([many], keep_hidden=True)
    bands = [trace for trace in figure.data if trace.meta["role"] == "band"]
    assert len(bands) == 12 * 2 * 2
    assert not any(trace.visible for trace in bands)
    assert all(trace.visible for trace in lines(figure))


def test_an_unknown_layer_is_refused_with_those_that_there_are(run: RecordedRun) -> None:
    with pytest.raises(ValueError, match=r"no layer 'L99': there are L00, L01"):
        ranks([run], layers=["L99"])


def test_several_runs_are_laid_over_each_other_layer_by_layer(run: RecordedRun, tmp_path: Path) -> None:
    other = recorded(tmp_path, "other", collapse=False)
    figure = ranks([run, other], layers=["L02"])
    pair = lines(figure, source="first_batches", level="frame")
    assert [line.meta["run"] for line in pair] == [0, 1]
    assert pair[0].line.color != pair[1].line.color
    assert {trace.meta["layer"] for trace in figure.data} == {"L02"}


def test_a_figure_alone_says_which_colour_is_which(run: RecordedRun, tmp_path: Path) -> None:
    key = [trace.name for trace in ranks([run]).data if trace.showlegend]
    assert key == ["L00", "L01", "L02", "L03", "L04"]
    both = ranks([run, recorded(tmp_path, "other", collapse=False)])
    assert [trace.name for trace in both.data if trace.showlegend] == ["run", "other"]
    many = recorded(tmp_path, "many", layers=49, readings=3)
    key = [trace.name for trace in ranks([many]).data if trace.showlegend]
    assert len(key) <= 14
    assert (key[0], key[-1]) == ("L00", "L48")


def test_the_heatmap_holds_every_layer_from_the_bottom_up(run: RecordedRun) -> None:
    frame, utterance = heatmap([run]).data
    assert list(frame.y) == ["L00", "L01", "L02", "L03", "L04"]
    for depth, row in enumerate(run.layers):
        np.testing.assert_array_equal(frame.z[depth], run.curves["first_batches", "frame", row.layer].values)
    assert utterance.meta["level"] == "utterance"


def test_spectra_at_a_step_stand_beside_usual_and_healthy_ones(run: RecordedRun) -> None:
    figure = spectra([run], layer="L04")
    by_role = {trace.meta["role"]: trace for trace in figure.data if trace.meta["level"] == "frame"}
    assert set(by_role) == {"others", "usual", "healthy", "now"}
    assert by_role["now"].y[40] < 0.1 * by_role["usual"].y[40]  # a cliff
    assert by_role["healthy"].y[40] > 2 * by_role["now"].y[40]
    early = spectra([run], layer="L04", step=int(run.steps[10]))
    now = next(trace for trace in early.data if trace.meta["role"] == "now")
    np.testing.assert_allclose(now.y[:50], by_role["usual"].y[:50], rtol=0.2)
    assert spectra([run]).layout.annotations[0].text.startswith("L0")  # that of the alarm


def test_an_alarm_is_a_bar_from_its_beginning_to_its_end(run: RecordedRun) -> None:
    figure = health([run])
    bars = [trace for trace in figure.data if trace.type == "bar"]
    first = min(alarm.since for alarm in run.alarms)
    assert min(bar.base[0] for bar in bars) == first
    assert max(bar.base[0] + bar.x[0] for bar in bars) == pytest.approx(float(run.steps[-1]), rel=0.01)
    said = bars[0].hovertemplate
    assert "dimensional collapse" in said
    assert "Likely causes" in said
    assert "last_healthy.ckpt" in said


def test_healths_colour_says_what_it_says(run: RecordedRun) -> None:
    """Every reading is a dot in the line of its own state, and each stretch of a line leads to such a dot."""
    health_at = np.full(len(run.steps), 1.0, np.float32)
    health_at[10:12] = 0.5  # without an alarm
    level = np.zeros(len(run.steps), np.float32)
    level[20:22], level[22:] = 1.0, 2.0
    changed = dataclasses.replace(run, health=health_at, alarm_level=level, alarms=[])
    states = health_states(changed)
    assert states[[5, 6, 7, 10, 11, 12, 20, 22]].tolist() == [EARLY, CALM, CALM, LOW, LOW, CALM, WARNED, CRITICALLY_LOW]
    seen = np.zeros(len(run.steps), int)
    colours = {}
    for trace in health([changed]).data:
        if trace.meta and trace.meta["role"] == "health":
            state = trace.meta["state"]
            colours[state] = (trace.line.color, trace.line.dash)
            own = np.array(trace.x)[np.array(trace.marker.size) > 0].astype(int)
            seen[np.isin(run.steps, own)] += 1
            assert set(states[np.isin(run.steps, own)]) == {state}
    assert set(seen) == {1}
    assert colours[EARLY][1] == "dash"
    assert len({colour for colour, _ in colours.values()}) == 4  # low and warned share theirs


def test_there_is_nothing_to_compare_with_until_two_readings_after_the_warm_up(run: RecordedRun) -> None:
    rate = np.minimum(np.arange(len(run.steps)) / 8.0, 1.0).astype(np.float32)
    calm = dataclasses.replace(run, alarms=[], alarm_level=np.zeros(len(run.steps)), health=np.ones(len(run.steps)))
    assert int(np.argmax(health_states(calm) == CALM)) == 6
    rising = health_states(dataclasses.replace(calm, learning_rate=rate))
    assert 14 <= int(np.argmax(rising == CALM)) <= 26  # one and a half times the warm-up, and its end is seen late


def test_without_an_alarm_that_is_said(tmp_path: Path) -> None:
    figure = health([recorded(tmp_path, collapse=False)])
    assert any("no alarm" in (note.text or "") for note in figure.layout.annotations)


def test_the_loss_stands_beside_health_where_there_is_one(run: RecordedRun) -> None:
    loss = LossCurve("train/loss", np.array([1, 2]), np.array([3.0, 2.0], np.float32))
    figure = health([dataclasses.replace(run, loss=loss)])
    roles = [trace.meta["role"] for trace in figure.data if trace.type == "scatter"]
    assert roles == ["health"] * (len(roles) - 1) + ["loss"]
    assert not any(trace.meta["role"] == "loss" for trace in health([run]).data if trace.meta)


def test_what_was_not_measured_has_no_figure(run: RecordedRun) -> None:
    assert codebooks([run]) is None
    assert labelled([run]) is None
    assert cost([dataclasses.replace(run, cost_share=np.full(len(run.steps), np.nan, np.float32))]) is None


def test_codebooks_labels_and_cost(run: RecordedRun) -> None:
    ones = np.ones(len(run.steps), np.float32)
    drawn = codebooks([dataclasses.replace(run, codebooks={"q": CodebookCurve(9 * ones, 0.5 * ones, 0.7 * ones, 18)})])
    assert [float(trace.y[0]) for trace in drawn.data] == [pytest.approx(0.5), pytest.approx(0.7)]
    key = ("first_batches", "frame", run.layers[0].layer)
    curve = dataclasses.replace(run.curves[key], accuracy=0.8 * ones, majority=0.1 * ones)
    checked = labelled([dataclasses.replace(run, curves={**run.curves, key: curve})])
    assert [float(trace.y[0]) for trace in checked.data] == [pytest.approx(0.8), pytest.approx(0.1)]
    share, *parts = cost([run]).data
    np.testing.assert_array_equal(share.y, run.cost_share)
    assert {trace.name for trace in parts} == {"forward", "exchange", "decomposition"}


def test_names_and_messages_are_shown_as_text(run: RecordedRun) -> None:
    rows = [dataclasses.replace(row, label=f"{row.label}{NASTY}") for row in run.layers]
    alarms = [dataclasses.replace(alarm, kind=NASTY, message=NASTY) for alarm in run.alarms]
    episodes = [dataclasses.replace(one, message=NASTY) for one in run.episodes]
    header = dataclasses.replace(run.header, layers=rows)
    bad = dataclasses.replace(run, name=NASTY, header=header, alarms=alarms, episodes=episodes)
    for figure in (health([bad]), ranks([bad]), heatmap([bad]), spectra([bad]), health([bad, bad])):
        for text in _texts(json.loads(figure.to_json())):
            assert "<img" not in text
            assert "</script" not in text
            assert "%{x}$" not in text
            assert "$a$" not in text


def _texts(value: object, name: str = "") -> list[str]:
    """Everything that plotly shows as text; `meta` is for programs."""
    if isinstance(value, dict):
        return [text for key, inner in value.items() if key != "meta" for text in _texts(inner, key)]
    if isinstance(value, list):
        return [text for inner in value for text in _texts(inner, name)]
    return [value] if isinstance(value, str) and name != "bdata" else []


@pytest.mark.parametrize("draw", [health, ranks, heatmap, spectra, cost])
def test_light_and_dark(draw: object, run: RecordedRun) -> None:
    light, dark = draw([run]), draw([run], theme="dark")
    assert light.layout.font.color != dark.layout.font.color
    assert light.layout.paper_bgcolor != dark.layout.paper_bgcolor
