"""The figure of a comparison: how much larger one rank is than the other, layer by layer, with intervals."""

from __future__ import annotations

from collections.abc import Sequence

import plotly.graph_objects as go

from rankwatch.comparison.differences.difference import Difference
from rankwatch.reporting.figures.depth_colours import NEUTRAL, RUN_COLOURS, Theme, translucent
from rankwatch.reporting.figures.figure_style import dress, panels, plain, with_legend

_HEIGHT = 360


def ratio_figure(differences: Sequence[Difference], theme: Theme = "light") -> go.Figure:
    """Ratios of effective ranks over the layers.

    Args:
        differences: All of them.
        theme: ``"light"`` or ``"dark"``.

    Returns:
        A panel for each evaluation set and level, a colour for each pair; bars are the intervals that hold together,
        and the band is what is too small to matter.
    """
    places = list(dict.fromkeys((d.place.source, d.place.level) for d in differences))
    sources = {source for source, _ in places}
    titles = [f"{level} level" + (f", {source}" if len(sources) > 1 else "") for source, level in places]
    figure = panels(titles)
    pairs = list(dict.fromkeys((d.one, d.other) for d in differences))
    for column, place in enumerate(places, 1):
        here = [d for d in differences if (d.place.source, d.place.level) == place]
        margin = here[0].at_least
        figure.add_hrect(
            y0=1.0 / (1.0 + margin),
            y1=1.0 + margin,
            fillcolor=translucent(NEUTRAL, 0.15),
            line_width=0,
            row=1,
            col=column,
        )
        for k, pair in enumerate(pairs):
            of_pair = [d for d in here if (d.one, d.other) == pair]
            figure.add_trace(_trace(of_pair, pair, RUN_COLOURS[k % len(RUN_COLOURS)], column == 1), row=1, col=column)
    figure.update_yaxes(type="log")
    return with_legend(dress(figure, theme, _HEIGHT, steps=False))


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
        showlegend=legend,
        text=[plain(d.verdict) for d in of_pair],
        hovertemplate="%{x}: %{y:.3f}, %{text}<extra>" + name + "</extra>",
    )
