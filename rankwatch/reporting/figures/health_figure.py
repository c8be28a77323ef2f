"""Is all well: health over steps, a bar for each alarm as long as it held, and the loss beside them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go

from rankwatch.readings.alarm import CRITICAL, INFO, WARNING
from rankwatch.reporting.figures.depth_colours import (
    CALM_COLOUR,
    CRITICAL_COLOUR,
    INFO_COLOUR,
    NEUTRAL,
    RUN_COLOURS,
    WARNING_COLOUR,
    Theme,
    translucent,
)
from rankwatch.reporting.figures.figure_style import TEXT, dress, panels, plain
from rankwatch.reporting.recorded.alarm_spans import AlarmSpan, alarm_spans
from rankwatch.reporting.recorded.recorded_run import RecordedRun
from rankwatch.reporting.recorded.references import CALM, CRITICALLY_LOW, EARLY, LOW, WARNED, WORRY, health_states

COLOUR_OF = {CRITICAL: CRITICAL_COLOUR, WARNING: WARNING_COLOUR, INFO: INFO_COLOUR}
_STATE_COLOUR = {
    EARLY: NEUTRAL,
    CALM: CALM_COLOUR,
    LOW: WARNING_COLOUR,
    WARNED: WARNING_COLOUR,
    CRITICALLY_LOW: CRITICAL_COLOUR,
}
_MOST_KINDS = 5
_MARKED = 60  # readings up to which each is a dot


def health(runs: Sequence[RecordedRun], *, theme: Theme = "light") -> go.Figure:
    """Health in [0, 1] with its alarms below, and the training loss beside it where a logger has one.

    Of one run the line's colour says what the health says (`rankwatch.reporting.recorded.references.health_states`),
    dashed and grey where there is no reference yet; of several it says which run it is. An alarm's bar begins, pale,
    with the first reading of the breach, gets its colour where it was raised and grows darker where it became critical;
    what was said about it is shown on hovering.

    Args:
        runs: One or several, under whatever protocols: each is compared with its own past.
        theme: ``"light"`` or ``"dark"``.

    Returns:
        The figure. Traces' ``meta`` has a ``role``: "health", "loss" or "alarm"; of one run's health, ``state``, too.
    """
    spans = [(number, span) for number, run in enumerate(runs) for span in alarm_spans(run)]
    has_loss = any(run.loss is not None for run in runs)
    titles = ["health: the worst layer relative to its own past", *(["training loss"] if has_loss else [])]
    kinds = _bar_rows(runs, spans)
    share = min(0.2 + 0.13 * len(set(kinds.values())), 0.62)
    figure = panels(
        [*titles, ""],
        2,
        columns=1 + has_loss,
        heights=[1 - share, share],
        specs=[[{}, {"rowspan": 2}], [{}, None]] if has_loss else [[{}], [{}]],
        vertical_spacing=0.06,
    )
    for number, run in enumerate(runs):
        if len(runs) > 1:
            _add_health(figure, run, number)
        else:
            _add_states(figure, run)
        if run.loss is not None:
            _add_loss(figure, run, number if len(runs) > 1 else None)
    for number, span in spans:
        _add_bar(figure, runs[number], span, kinds.get((number, span.kind), "others"))
    dress(figure, theme, 140 + 10 * len(set(kinds.values())))
    figure.update_layout(margin={"b": 22})
    _axes(figure, runs, kinds, has_loss, theme)
    return figure


def _bar_rows(runs: Sequence[RecordedRun], spans: Sequence[tuple[int, AlarmSpan]]) -> dict[tuple[int, str], str]:
    """In which row a run's kind of alarm stands, by its title; the most severe first, the last share a row."""
    rows: dict[tuple[int, str], str] = {}
    for number, span in spans:
        title = span.kind.replace("_", " ")
        if len(runs) > 1:
            title = f"{_short(runs[number].name)}: {title}"
        rows.setdefault((number, span.kind), title)
    kept = dict(list(rows.items())[:_MOST_KINDS])
    return kept if len(rows) <= _MOST_KINDS else {**kept, **dict.fromkeys(list(rows)[_MOST_KINDS:], "others")}


def _short(name: str) -> str:
    return name if len(name) <= 18 else "…" + name[-17:]


def _add_health(figure: go.Figure, run: RecordedRun, number: int) -> None:
    there = np.isfinite(run.health)
    colour = RUN_COLOURS[number % len(RUN_COLOURS)]
    if there.any():
        trace = _health_line(run, run.steps[there], run.health[there], colour)
        trace.meta = {"run": number, "role": "health"}
        figure.add_trace(trace, row=1, col=1)


def _add_states(figure: go.Figure, run: RecordedRun) -> None:
    """A line for each state, from the reading before to the one that is in it."""
    there = np.isfinite(run.health)
    steps, values, states = run.steps[there].astype(float), run.health[there], health_states(run)[there]
    for state in np.unique(states):
        inside = np.flatnonzero(states == state)
        x, y = [], []
        for stretch in np.split(inside, np.flatnonzero(np.diff(inside) > 1) + 1):
            first = max(int(stretch[0]) - 1, 0)
            x += [*steps[first : stretch[-1] + 1], np.nan]
            y += [*values[first : stretch[-1] + 1], np.nan]
        line = _health_line(run, np.array(x[:-1]), np.array(y[:-1]), _STATE_COLOUR[int(state)])
        own = np.isin(line.x, steps[inside])  # no dot where the state before ends
        line.marker.update(size=np.where(own, 4, 0), line={"width": 0})
        line.line.dash = "dash" if state == EARLY else "solid"
        line.meta = {"run": 0, "role": "health", "state": int(state)}
        figure.add_trace(line, row=1, col=1)


def _health_line(run: RecordedRun, x: np.ndarray[Any, Any], y: np.ndarray[Any, Any], colour: str) -> go.Scatter:
    return go.Scatter(
        x=x,
        y=y,
        mode="lines+markers" if len(run.steps) <= _MARKED else "lines",
        line={"color": colour, "width": 2.2},
        marker={"size": 4, "color": colour},
        name=plain(run.name, most=60),
        hovertemplate="step %{x:,}: health <b>%{y:.2f}</b><extra>" + plain(run.name, most=60) + "</extra>",
    )


def _add_loss(figure: go.Figure, run: RecordedRun, number: int | None) -> None:
    if run.loss is None:
        return
    trace = go.Scatter(
        x=run.loss.steps,
        y=run.loss.values,
        mode="lines",
        line={"color": NEUTRAL if number is None else RUN_COLOURS[number % len(RUN_COLOURS)], "width": 1.3},
        name=plain(run.name, most=60),
        hovertemplate="step %{x:,}: " + plain(run.loss.name, most=60) + " <b>%{y:.4g}</b><extra></extra>",
        meta={"run": number or 0, "role": "loss"},
    )
    figure.add_trace(trace, row=1, col=2)


def _add_bar(figure: go.Figure, run: RecordedRun, span: AlarmSpan, row: str) -> None:
    colour = COLOUR_OF.get(span.severity, WARNING_COLOUR)
    shortest = 0.006 * float(max(run.steps[-1] - run.steps[0], 1))
    until = max(float(span.until), span.raised + shortest)
    critical = until if span.critical is None else min(float(span.critical), until)
    parts = [
        (float(span.since), float(span.raised), translucent(colour, 0.3)),
        (float(span.raised), critical, translucent(WARNING_COLOUR if span.critical is not None else colour, 0.75)),
        (critical, until, CRITICAL_COLOUR),
    ]
    for first, last, fill in parts:
        if last > first:
            bar = go.Bar(
                base=[first],
                x=[last - first],
                y=[plain(row)],
                orientation="h",
                width=0.62,
                marker={
                    "color": fill,
                    "line": {"width": 0},
                    "pattern": {"shape": "/" if _muted(run, first, last) else ""},
                },
                hovertemplate=_hover(run, span) + "<extra></extra>",
                meta={"role": "alarm"},
            )
            figure.add_trace(bar, row=2, col=1)


def _muted(run: RecordedRun, first: float, last: float) -> bool:
    within = (run.steps >= first) & (run.steps <= last)
    return bool((np.nan_to_num(run.muted[within]) > 0).all()) if within.any() and len(run.muted) else False


def _hover(run: RecordedRun, span: AlarmSpan) -> str:
    labels = {row.layer: row.label for row in run.layers}
    where = dict.fromkeys(f"{labels.get(a.layer, a.layer)} ({a.level}, {a.source})" for a in span.alarms)
    named = ", ".join(list(where)[:6]) + (f" and {len(where) - 6} more" if len(where) > 6 else "")
    until = "still open at the last reading" if span.is_open else f"ended at step {span.until:,}"
    critical = f", critical at {span.critical:,}" if span.critical is not None else ""
    muted = "<br>(muted)" if _muted(run, span.raised, span.until) else ""
    return (
        f"<b>{plain(span.severity)}: {plain(span.kind.replace('_', ' '))}</b>{muted}<br>"
        f"since step {span.since:,}, raised at {span.raised:,}{critical}, {until}<br>"
        f"{plain(named, 90)}<br><br>{plain(span.message or span.alarms[0].message, 90)}"
    )


def _axes(
    figure: go.Figure, runs: Sequence[RecordedRun], kinds: dict[tuple[int, str], str], has_loss: bool, theme: Theme
) -> None:
    figure.update_layout(barmode="overlay", bargap=0.2)
    figure.update_yaxes(range=[0, 1.06], tickvals=[0, 0.5, 1], row=1, col=1)
    figure.add_hline(WORRY, line={"color": NEUTRAL, "width": 1, "dash": "dot"}, row=1, col=1)
    figure.add_annotation(
        x=0.0,
        xref="x domain",
        y=WORRY,
        yref="y",
        text=f" below {WORRY:g}: have a look",
        showarrow=False,
        xanchor="left",
        yanchor="top",
        font={"size": 10, "color": TEXT[theme]},
    )
    figure.update_xaxes(showticklabels=False, row=1, col=1)
    rows = [plain(row) for row in dict.fromkeys(kinds.values())][::-1] or ["no alarm"]
    figure.update_yaxes(type="category", categoryorder="array", categoryarray=rows, row=2)
    figure.update_yaxes(range=[-0.6, len(rows) - 0.4], showticklabels=False, ticklen=0, showgrid=False, row=2)
    for place, row in enumerate(rows):
        figure.add_annotation(
            x=0.0,
            xref="x domain",
            y=place,
            yref="y3" if has_loss else "y2",
            text=f" {row}",
            showarrow=False,
            xanchor="left",
            font={"size": 11, "color": TEXT[theme]},
        )
    if not kinds:
        last = max(float(run.steps[-1]) for run in runs)
        figure.add_trace(go.Bar(base=[0], x=[last], y=rows, orientation="h", opacity=0, hoverinfo="skip"), row=2, col=1)
    if has_loss:
        figure.update_yaxes(fixedrange=False, row=1, col=2)
