"""Rank and a check over time, correlations layer by layer, and what each rule would have lost."""

from __future__ import annotations

import html
import importlib.util
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import plotly.graph_objects as go

from rankwatch.correlation.evidence.association import BEYOND_STEP, OVER_TIME, Association
from rankwatch.correlation.evidence.choice import BEST, CHANCE, CHECKPOINT, LAST, Choice
from rankwatch.correlation.evidence.findings import RANK, Finding
from rankwatch.correlation.inputs.run_series import LOSS, PROBE, RunSeries, Series
from rankwatch.correlation.output.sentences import check_name
from rankwatch.correlation.statistics.coefficients import PEARSON
from rankwatch.reporting.figures.depth_colours import NEUTRAL, RUN_COLOURS, Theme
from rankwatch.reporting.figures.figure_style import GRID, dress, panels, plain
from rankwatch.runtime.files.file_actions import write

_SCOPES = {BEYOND_STEP: (RUN_COLOURS[0], "beyond the step"), OVER_TIME: (NEUTRAL, "over time as it is")}


def correlation_figure(
    runs: Sequence[RunSeries],
    associations: Sequence[Association],
    choices: Sequence[Choice],
    finding: Finding,
    theme: Theme = "light",
) -> go.Figure:
    """Four panels about one check.

    Args:
        runs: The series.
        associations: All correlations.
        choices: All choices.
        finding: What follows for the check, and in which layer.
        theme: ``"light"`` or ``"dark"``.

    Returns:
        The figure.
    """
    check, where = check_name(finding), f" in {finding.layer}" if finding.layer else ""
    titles = [
        f"{check}{where}, over steps",
        f"effective rank{where}, {finding.level} level",
        "correlation with effective rank (90 % interval), layer by layer",
        f"lost by choosing the checkpoint by each rule{where} (90 % interval)",
    ]
    figure = panels(titles, 2, vertical_spacing=0.16, horizontal_spacing=0.12)
    for number, run in enumerate(runs):
        colour = RUN_COLOURS[number % len(RUN_COLOURS)]
        for column, series in enumerate((_check(run, finding), _rank(run, finding)), start=1):
            if series is not None:
                figure.add_trace(_line(series, run.name, colour, points=series.name == PROBE), row=1, col=column)
    _add_correlations(figure, [one for one in associations if not one.run], finding)
    _add_losses(figure, choices, finding)
    dress(figure, theme, 620, steps=False)
    figure.update_xaxes(title_text="step", row=1)
    figure.update_xaxes(exponentformat="none", separatethousands=True, row=1)
    figure.update_xaxes(range=[-1.05, 1.05], row=2, col=1)
    figure.update_yaxes(autorange="reversed", row=2)
    figure.update_layout(margin={"l": 110})
    figure.update_yaxes(automargin=True)
    return figure


def write_figures(folder: Path, figures: Sequence[go.Figure], paragraphs: Sequence[str]) -> None:
    """Write ``correlation.html``, which opens without a network, and pictures where kaleido is installed.

    Args:
        folder: Is made.
        figures: One for each check.
        paragraphs: What follows, in the same order.
    """
    parts = []
    for place, (figure, paragraph) in enumerate(zip(figures, paragraphs, strict=True)):
        parts.append(f"<p>{html.escape(paragraph)}</p>")
        parts.append(figure.to_html(full_html=False, include_plotlyjs=place == 0))
    style = "body{font:15px system-ui,sans-serif;max-width:1200px;margin:24px auto;padding:0 16px;line-height:1.5}"
    text = (
        f'<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><title>What rank is worth here</title>'
        f"<style>{style}</style></head><body><h1>What rank is worth here</h1>{''.join(parts)}</body></html>"
    )
    write(folder / "correlation.html", lambda file: file.write_text(text, encoding="utf-8"))
    if importlib.util.find_spec("kaleido") is not None:
        for place, figure in enumerate(figures):
            name = f"correlation{f'-{place + 1}' if len(figures) > 1 else ''}.png"
            write(folder / name, lambda file, one=figure: one.write_image(file, format="png", width=1200, scale=2))  # type: ignore[misc]


def _check(run: RunSeries, finding: Finding) -> Series | None:
    family = (finding.check, finding.check_source, finding.check_level)
    ours = [one for one in run.checks if (one.name, one.source, one.level) == family]
    return next((one for one in ours if one.layer in ("", finding.layer)), None)


def _rank(run: RunSeries, finding: Finding) -> Series | None:
    key = (RANK, finding.source, finding.level, finding.layer)
    return next((one for one in run.measures if one.key == key), None)


def _line(series: Series, name: str, colour: str, *, points: bool) -> go.Scatter:
    value = ".1%" if points else ".4g"
    return go.Scatter(
        x=series.steps,
        y=series.values,
        mode="lines+markers",
        line={"color": colour, "width": 1.6},
        marker={"color": colour, "size": 5},
        hovertemplate=f"{plain(name, most=60)}<br>step %{{x:,}}: <b>%{{y:{value}}}</b><extra></extra>",
    )


def _add_correlations(figure: go.Figure, pooled: Sequence[Association], finding: Finding) -> None:
    family = (finding.check, finding.check_source, finding.check_level)
    rank = (RANK, finding.source, finding.level)
    for shift, (scope, (colour, words)) in enumerate(_SCOPES.items()):
        ours = [
            one
            for one in pooled
            if (one.check, one.check_source, one.check_level) == family
            and (one.measure, one.source, one.level) == rank
            and (one.scope, one.coefficient) == (scope, PEARSON)
            and np.isfinite(one.value)
        ]
        known = [np.isfinite(one.low) for one in ours]
        figure.add_trace(
            go.Scatter(
                x=[one.value for one in ours],
                y=[one.layer or "model" for one in ours],
                mode="markers",
                marker={
                    "color": colour,
                    "size": 8 - 2 * shift,
                    "symbol": ["circle" if there else "circle-open" for there in known],
                },
                error_x={
                    "type": "data",
                    "symmetric": False,
                    "array": [one.high - one.value if there else 0.0 for one, there in zip(ours, known, strict=True)],
                    "arrayminus": [
                        one.value - one.low if there else 0.0 for one, there in zip(ours, known, strict=True)
                    ],
                    "color": colour,
                    "thickness": 2 - shift,
                },
                hovertemplate=f"%{{y}}, {words}: <b>%{{x:.2f}}</b><extra></extra>",
            ),
            row=2,
            col=1,
        )
    figure.add_vline(x=0.0, line={"color": GRID, "width": 2}, row=2, col=1)


def _add_losses(figure: go.Figure, choices: Sequence[Choice], finding: Finding) -> None:
    """Rank, the loss, the last checkpoint and chance; the points of single runs beside the mean."""
    family = (finding.check, finding.check_source, finding.check_level)
    rules = {RANK: "highest rank", LOSS: "lowest loss", LAST: "the last one", CHANCE: "one at random"}
    scale = 100.0 if finding.check == PROBE else 1.0
    for rule, words in rules.items():
        where = (finding.source, finding.level) if rule == RANK else ("", "")
        ours = [
            one
            for one in choices
            if (one.check, one.check_source, one.check_level) == family
            and (one.what, one.against, one.layer) == (CHECKPOINT, BEST, finding.layer)
            and (one.rule, one.source, one.level) == (rule, *where)
        ]
        for one in ours:
            interval = [scale * end for end in (one.low, one.high)] if np.isfinite(one.low) and not one.run else []
            if interval:
                line = {"color": RUN_COLOURS[0], "width": 2}
                figure.add_trace(
                    go.Scatter(x=interval, y=[words] * 2, mode="lines", line=line, hoverinfo="skip"), row=2, col=2
                )
            style = {"color": NEUTRAL, "size": 6, "symbol": "circle-open"}
            figure.add_trace(
                go.Scatter(
                    x=[scale * one.lost],
                    y=[words],
                    mode="markers",
                    marker=style if one.run else {"color": RUN_COLOURS[0], "size": 9},
                    hovertemplate=f"{plain(one.run or 'mean', most=60)}: <b>%{{x:.3g}}</b><extra></extra>",
                ),
                row=2,
                col=2,
            )
