"""Effective rank over layer and step, as colour."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import plotly.graph_objects as go

from rankwatch.reporting.figures.depth_colours import Theme
from rankwatch.reporting.figures.figure_style import dress, panels, plain
from rankwatch.reporting.recorded.recorded_run import RecordedRun
from rankwatch.reporting.recorded.references import references

COLOURS = "Magma"
"""Dark is few dimensions; readable with colour blindness and in grey prints, and unlike the colours that tell depth."""


def heatmap(
    runs: Sequence[RecordedRun], *, relative: bool = False, source: str | None = None, theme: Theme = "light"
) -> go.Figure:
    """Effective rank of every layer over steps: a panel for each level, and for each run.

    Args:
        runs: One or several, under whatever protocols; those of one level share their colours.
        relative: In per cent of each layer's own reference instead of dimensions.
        source: Name of the evaluation set; each run's primary one by default.
        theme: ``"light"`` or ``"dark"``.

    Returns:
        The figure. Depth goes upwards, and nothing is drawn where there is no number.
    """
    levels = list(dict.fromkeys(level for run in runs for level in run.levels))
    unit = "% of its usual rank" if relative else "effective rank"
    named = [f"{run.name}: " if len(runs) > 1 else "" for run in runs]
    titles = [f"{name}{unit}, {level} level" for name in named for level in levels]
    figure = panels(titles, len(runs))
    for number, run in enumerate(runs):
        for column, level in enumerate(levels):
            values = _table(run, source or run.primary, level, relative)
            trace = go.Heatmap(
                x=run.steps,
                y=[plain(row.label) for row in run.layers],
                z=values,
                coloraxis=f"coloraxis{column + 1 if column else ''}",
                hoverongaps=False,
                hovertemplate="<b>%{y}</b><br>step %{x:,}: <b>%{z:.1f}</b><extra></extra>",
                meta={"run": number, "source": source or run.primary, "level": level, "role": "heatmap"},
            )
            figure.add_trace(trace, row=number + 1, col=column + 1)
    most = max(len(run.layers) for run in runs)
    dress(figure, theme, len(runs) * (120 + min(max(16 * most, 100), 300)))
    for column, level in enumerate(levels):
        domain = next(figure.select_xaxes(row=1, col=column + 1)).domain
        figure.update_layout(
            **{f"coloraxis{column + 1 if column else ''}": _colour_axis(runs, level, domain, relative)}
        )
    figure.update_xaxes(title_text="optimiser step", row=len(runs))
    figure.update_yaxes(type="category", nticks=14, showgrid=False)
    return figure


def _table(run: RecordedRun, source: str, level: str, relative: bool) -> npt.NDArray[np.float32]:
    """Shape ``(layers, steps)``."""
    usual = references(run) if relative else {}
    rows = []
    for row in run.layers:
        key = (source, level, row.layer)
        curve = run.curves.get(key)
        values = np.full(len(run.steps), np.nan, np.float32) if curve is None else curve.values
        rows.append(values * (100.0 / usual[key]) if relative and key in usual else values)
    return np.array(rows, dtype=np.float32)


def _colour_axis(runs: Sequence[RecordedRun], level: str, domain: Sequence[float], relative: bool) -> dict[str, object]:
    tables = [_table(run, run.primary, level, False) for run in runs]
    found = [float(np.nanmax(table)) for table in tables if np.isfinite(table).any()]
    return {
        "colorscale": COLOURS,
        "cmin": 0.0,
        "cmax": 110.0 if relative else max(found, default=1.0),
        "colorbar": {
            "x": domain[1] + 0.002,
            "xpad": 0,
            "thickness": 7,
            "outlinewidth": 0,
            "ticklen": 2,
            "nticks": 4,
            "tickfont": {"size": 10},
        },
    }
