"""What is shown below ranks and spectra: codebooks, labelled checks, and what watching costs."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go

from rankwatch.reporting.figures.depth_colours import NEUTRAL, RUN_COLOURS, Theme, depth_colours
from rankwatch.reporting.figures.figure_style import dress, panels, plain, with_legend
from rankwatch.reporting.recorded.recorded_run import RecordedRun

_PART_COLOURS = ("#0072b2", "#56b4e9", "#009e73", "#e69f00", "#cc79a7", "#8c6bb1", "#7f7f7f")


def codebooks(runs: Sequence[RecordedRun], *, theme: Theme = "light") -> go.Figure | None:
    """How evenly quantizers use their codes: perplexity and codes in use, as shares of all codes.

    Args:
        runs: One or several.
        theme: ``"light"`` or ``"dark"``.

    Returns:
        The figure, or None where no quantizer was read.
    """
    if not any(run.codebooks for run in runs):
        return None
    figure = panels(["codebooks: perplexity / number of codes", "codebooks: share of codes in use"])
    count = 0
    for run in runs:
        for name, curve in run.codebooks.items():
            colour = RUN_COLOURS[count % len(RUN_COLOURS)]
            count += 1
            of = f"{run.name}: {name}" if len(runs) > 1 else name
            for column, values in enumerate((curve.normalized, curve.active), start=1):
                there = np.isfinite(values)
                trace = go.Scatter(
                    x=run.steps[there],
                    y=values[there],
                    mode="lines",
                    line={"color": colour, "width": 1.7},
                    name=plain(of, most=80),
                    legendgroup=str(count),
                    showlegend=column == 1,
                    hovertemplate=f"{plain(of, most=80)}<br>step %{{x:,}}: <b>%{{y:.1%}}</b><extra></extra>",
                )
                figure.add_trace(trace, row=1, col=column)
    dress(figure, theme, 230)
    figure.update_yaxes(rangemode="tozero", tickformat=".0%")
    return with_legend(figure)


def labelled(runs: Sequence[RecordedRun], *, theme: Theme = "light") -> go.Figure | None:
    """Accuracy of a linear probe on labelled clips, of every layer, against always naming the most frequent label.

    Args:
        runs: One or several; of several the last layer of each.
        theme: ``"light"`` or ``"dark"``.

    Returns:
        The figure, or None where no set has labels.
    """
    places = dict.fromkeys(
        (source, level) for run in runs for (source, level, _), curve in run.curves.items() if len(curve.accuracy)
    )
    if not places:
        return None
    figure = panels([f"probe accuracy on {source}, {level} level" for source, level in places])
    for number, run in enumerate(runs):
        colours = depth_colours(len(run.layers), theme)
        for column, (source, level) in enumerate(places, start=1):
            for depth, row in enumerate(run.layers):
                curve = run.curves.get((source, level, row.layer))
                if curve is None or not len(curve.accuracy) or (len(runs) > 1 and depth < len(run.layers) - 1):
                    continue
                colour = RUN_COLOURS[number % len(RUN_COLOURS)] if len(runs) > 1 else colours[depth]
                of = f"{run.name}: {row.label}" if len(runs) > 1 else f"{row.label} {row.layer}"
                meta = {"run": number, "layer": row.label, "depth": depth, "role": "line", "level": level}
                there = np.isfinite(curve.accuracy)
                trace = go.Scatter(
                    x=run.steps[there],
                    y=curve.accuracy[there],
                    mode="lines",
                    line={"color": colour, "width": 1.6},
                    hovertemplate=f"{plain(of, most=80)}<br>step %{{x:,}}: <b>%{{y:.1%}}</b><extra></extra>",
                    meta=meta if len(runs) == 1 else None,
                )
                figure.add_trace(trace, row=1, col=column)
                if not depth or len(runs) > 1:
                    dashed = {"color": NEUTRAL, "width": 1, "dash": "dash"}
                    usual = go.Scatter(
                        x=run.steps[there], y=curve.majority[there], mode="lines", line=dashed, hoverinfo="skip"
                    )
                    figure.add_trace(usual, row=1, col=column)
    dress(figure, theme, 240)
    figure.update_yaxes(rangemode="tozero", tickformat=".0%")
    return figure


def cost(runs: Sequence[RecordedRun], *, theme: Theme = "light") -> go.Figure | None:
    """What watching takes: its share of the run's time so far, and each reading's seconds by part.

    Args:
        runs: One or several; seconds are those of the first.
        theme: ``"light"`` or ``"dark"``.

    Returns:
        The figure, or None where no cost was recorded.
    """
    if not any(np.isfinite(run.cost_share).any() for run in runs):
        return None
    of = f" of {runs[0].name}" if len(runs) > 1 else ""
    figure = panels(["watching's share of the run's time", f"seconds of each reading{of}, by part"])
    for number, run in enumerate(runs):
        there = np.isfinite(run.cost_share)
        line = go.Scatter(
            x=run.steps[there],
            y=run.cost_share[there],
            mode="lines",
            line={"color": RUN_COLOURS[number % len(RUN_COLOURS)], "width": 1.7},
            hovertemplate=f"{plain(run.name, most=60)}<br>step %{{x:,}}: <b>%{{y:.2%}}</b><extra></extra>",
            showlegend=False,
        )
        figure.add_trace(line, row=1, col=1)
    parts = sorted(runs[0].cost_seconds.items(), key=lambda part: -float(np.nansum(part[1])))
    for i, (name, seconds) in enumerate(parts):
        area = go.Scatter(
            x=runs[0].steps,
            y=np.nan_to_num(seconds),
            mode="lines",
            stackgroup="seconds",
            line={"width": 0.5, "color": _PART_COLOURS[i % len(_PART_COLOURS)]},
            name=plain(name),
            hovertemplate=f"{plain(name)}<br>step %{{x:,}}: <b>%{{y:.3f}} s</b><extra></extra>",
        )
        figure.add_trace(area, row=1, col=2)
    dress(figure, theme, 230)
    figure.update_yaxes(rangemode="tozero")
    figure.update_yaxes(tickformat=".1%", row=1, col=1)
    return with_legend(figure)
