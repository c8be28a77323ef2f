"""The figure of a comparison: how much larger one rank is than the other, layer by layer, with intervals."""

from __future__ import annotations

import math
from collections.abc import Sequence

import plotly.graph_objects as go

from rankwatch.comparison.differences.difference import Difference
from rankwatch.reporting.figures.depth_colours import NEUTRAL, RUN_COLOURS, Theme, translucent
from rankwatch.reporting.figures.figure_style import dress, panels, plain, with_legend

_AROUND, _ROW = 130, 250
"""Pixels of margins and legend, and of a row of panels."""

_BOTTOM = 74
"""Pixels for names of layers, which stand upright where there are many."""

_FINE = (0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.1, 1.25, 1.4, 1.6, 2.0)
_COARSE = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0)


def ratio_figure(differences: Sequence[Difference], theme: Theme = "light") -> go.Figure:
    """Ratios of effective ranks over the layers.

    Args:
        differences: All of them.
        theme: ``"light"`` or ``"dark"``.

    Returns:
        A panel for each evaluation set and level, two beside each other; a colour for each pair. Bars are the intervals
        that hold together, and the band is what is too small to matter.
    """
    places = list(dict.fromkeys((d.place.source, d.place.level) for d in differences))
    sources = {source for source, _ in places}
    titles = [f"{level} level" + (f", {source}" if len(sources) > 1 else "") for source, level in places]
    columns = min(2, len(places))
    figure = panels(titles, rows=-(-len(places) // columns), columns=columns)
    pairs = list(dict.fromkeys((d.one, d.other) for d in differences))
    for k, place in enumerate(places):
        here = [d for d in differences if (d.place.source, d.place.level) == place]
        where = {"row": k // columns + 1, "col": k % columns + 1}
        for i, pair in enumerate(pairs):
            of_pair = [d for d in here if (d.one, d.other) == pair]
            figure.add_trace(_trace(of_pair, pair, RUN_COLOURS[i % len(RUN_COLOURS)], k == 0), **where)
        margin = here[0].at_least
        band = {"fillcolor": translucent(NEUTRAL, 0.18), "line_width": 0, "layer": "below"}
        figure.add_hrect(y0=1.0 / (1.0 + margin), y1=1.0 + margin, **band, **where)  # after traces, or it is left out
        figure.add_hline(y=1.0, line={"color": NEUTRAL, "width": 1}, layer="below", **where)
        low, high, ticks = _axis(here)
        figure.update_yaxes(type="log", range=[math.log10(low), math.log10(high)], tickvals=ticks, **where)
    figure.update_yaxes(tickformat="~g")
    figure.update_xaxes(type="category")
    figure.update_layout(scattermode="group", scattergap=0.5)  # several pairs beside each other
    dress(figure, theme, _AROUND + _ROW * -(-len(places) // columns), steps=False)
    figure.update_layout(margin={"b": _BOTTOM})
    return with_legend(figure)


def _axis(here: Sequence[Difference]) -> tuple[float, float, list[float]]:
    """Ends of an axis of ratios that shows all intervals and the band, and its ticks."""
    margin = 1.0 + here[0].at_least
    ends = [value for d in here for value in (d.ratio, d.low, d.high) if value is not None and math.isfinite(value)]
    low, high = min(1.0 / margin, *ends, 1.0) / 1.04, max(margin, *ends, 1.0) * 1.04
    fine = low > _FINE[0] and high < _FINE[-1]
    return low, high, [tick for tick in (_FINE if fine else _COARSE) if low <= tick <= high]


def _trace(of_pair: Sequence[Difference], pair: tuple[str, str], colour: str, legend: bool) -> go.Scatter:
    known = [d.low is not None and d.high is not None for d in of_pair]
    name = plain(f"{pair[0]} / {pair[1]}")
    return go.Scatter(
        x=[plain(d.place.layer) for d in of_pair],
        y=[d.ratio for d in of_pair],
        error_y={
            "type": "data",
            "symmetric": False,
            "array": [(d.high or 0.0) - d.ratio if there else 0.0 for d, there in zip(of_pair, known, strict=True)],
            "arrayminus": [d.ratio - (d.low or 0.0) if there else 0.0 for d, there in zip(of_pair, known, strict=True)],
            "thickness": 1.5,
            "width": 3,
        },
        mode="markers",
        marker={
            "color": colour,
            "size": 8,
            "symbol": ["circle" if there else "circle-open" for there in known],
        },
        name=name,
        legendgroup=name,
        offsetgroup=name,
        showlegend=legend,
        text=[plain(d.verdict) for d in of_pair],
        hovertemplate="%{x}: %{y:.3f}, %{text}<extra>" + name + "</extra>",
    )
