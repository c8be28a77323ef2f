"""How far layers have moved: since the full reading before, and since the first one after the warm-up."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go

from rankwatch.readings.drift.layer_drift import FIRST, PREVIOUS
from rankwatch.reporting.figures.depth_colours import NEUTRAL, RUN_COLOURS, Theme, depth_colours, translucent
from rankwatch.reporting.figures.figure_style import dress, panels, plain
from rankwatch.reporting.figures.rank_figure import FEW, band
from rankwatch.reporting.recorded.recorded_run import DriftCurve, RecordedRun

_TITLES = {PREVIOUS: "drift since the full reading before", FIRST: "drift since the first one after the warm-up"}


def drift(runs: Sequence[RecordedRun], *, theme: Theme = "light") -> go.Figure | None:
    """Drift of every layer over steps: 0 where it hasn't moved, 1 where nothing of what it said is left.

    A value that something stands against, as its status in the records says, is a hollow grey mark beside the line.

    Args:
        runs: One or several; of several the last layer of each.
        theme: ``"light"`` or ``"dark"``.

    Returns:
        The figure, or None where no drift was read.
    """
    levels = [level for level in ("frame", "utterance") if any(_of(run, level) for run in runs)]
    if not levels:
        return None
    kinds = [kind for kind in (PREVIOUS, FIRST) if any(kind in of for run in runs for of in _all(run, levels))]
    titles = [f"{_TITLES[since]}, {level} level" for level in levels for since in kinds]
    figure = panels(titles, len(levels))
    for number, run in enumerate(runs):
        colours = depth_colours(len(run.layers), theme)
        for depth, row in enumerate(run.layers):
            if len(runs) > 1 and depth < len(run.layers) - 1:
                continue
            colour = RUN_COLOURS[number % len(RUN_COLOURS)] if len(runs) > 1 else colours[depth]
            of = f"{run.name}: {row.label}" if len(runs) > 1 else f"{row.label} {row.layer}"
            meta = {"run": number, "layer": row.label, "depth": depth}
            with_band = len(runs) > 1 or len(run.layers) <= FEW
            for i, level in enumerate(levels):
                for since, curve in _of(run, level).get(row.layer, {}).items():
                    about = {**meta, "level": level} if len(runs) == 1 else None
                    for trace in _traces(run, curve, colour, plain(of, most=80), about, with_band=with_band):
                        figure.add_trace(trace, row=i + 1, col=kinds.index(since) + 1)
    dress(figure, theme, 240 if len(levels) == 1 else 400)
    figure.update_yaxes(rangemode="tozero")
    return figure


def _of(run: RecordedRun, level: str) -> dict[str, Mapping[str, DriftCurve]]:
    """The primary set's drifts at a level, by layer."""
    return {
        layer: curve.drift
        for (source, at, layer), curve in run.curves.items()
        if (source, at) == (run.primary, level) and curve.drift
    }


def _all(run: RecordedRun, levels: Sequence[str]) -> Iterator[Mapping[str, DriftCurve]]:
    return (of for level in levels for of in _of(run, level).values())


def _traces(
    run: RecordedRun, curve: DriftCurve, colour: str, of: str, meta: dict[str, Any] | None, *, with_band: bool
) -> Iterator[go.Scatter]:
    """The interval, the line through what is to be trusted, and marks for the rest."""
    good = np.isfinite(curve.values) & curve.trusted
    outline = band(run.steps[good], curve.low[good], curve.high[good]) if with_band else None
    role = {} if meta is None else {"meta": {**meta, "role": "band"}}
    if outline is not None:
        fill = {"fill": "toself", "fillcolor": translucent(colour, 0.16), "line": {"width": 0}, "mode": "lines"}
        yield go.Scatter(x=outline[0], y=outline[1], hoverinfo="skip", **fill, **role)
    yield go.Scatter(
        x=run.steps[good],
        y=curve.values[good],
        mode="lines+markers",
        line={"color": colour, "width": 1.6},
        marker={"color": colour, "size": 4},
        hovertemplate=f"{of}<br>step %{{x:,}}: <b>%{{y:.3f}}</b><extra></extra>",
        meta=None if meta is None else {**meta, "role": "line"},
    )
    flagged = np.isfinite(curve.values) & ~curve.trusted
    if flagged.any():
        yield go.Scatter(
            x=run.steps[flagged],
            y=curve.values[flagged],
            mode="markers",
            marker={"color": NEUTRAL, "size": 6, "symbol": "circle-open"},
            hovertemplate=f"{of}<br>step %{{x:,}}: %{{y:.3f}}, not to be trusted: see its status in the records"
            "<extra></extra>",
            meta=None if meta is None else {**meta, "role": "untrusted"},
        )
