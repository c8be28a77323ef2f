"""What all figures share: their frame, their text, and how text of others gets into them."""

from __future__ import annotations

import html
import textwrap
from collections.abc import Sequence
from typing import Any

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from rankwatch.reporting.figures.depth_colours import Theme

GRID = "rgba(138,143,152,0.22)"
TEXT = {"light": "#1d2733", "dark": "#e4e8ee"}
_HOVER = {"light": "#ffffff", "dark": "#262c36"}
_FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Noto Sans', 'DejaVu Sans', sans-serif"
BACKGROUND = {"light": "#ffffff", "dark": "#14181f"}


def plain(text: str, width: int = 0, most: int = 1_200) -> str:
    """Text as text: plotly reads a few HTML tags, entities and links, of which nothing may come from a file.

    Args:
        text: Anything.
        width: Longest line, where it is to be broken; 0 to leave it.
        most: Longest text.

    Returns:
        What shows exactly `text`.

    Example:
        >>> plain("<b>run</b>")
        '&lt;b&gt;run&lt;/b&gt;'
    """
    clipped = text if len(text) <= most else text[: most - 1] + "…"
    lines = textwrap.wrap(clipped, width) if width else [" ".join(clipped.split())]
    # "%{" and "${" begin what plotly and MathJax would fill in.
    return "<br>".join(html.escape(line).replace("{", "&#123;").replace("$", "&#36;") for line in lines)


def panels(
    titles: Sequence[str],
    rows: int = 1,
    *,
    columns: int | None = None,
    heights: Sequence[float] | None = None,
    **options: Any,
) -> go.Figure:
    """Panels beside and below each other.

    Args:
        titles: Of each panel, row by row, as plain text.
        rows: How many rows they stand in.
        columns: How many columns; as many as the titles need by default.
        heights: Their shares of the height.
        options: Further ones of `plotly.subplots.make_subplots`.

    Returns:
        An empty figure.
    """
    return make_subplots(
        rows=rows,
        cols=columns or -(-len(titles) // rows),
        subplot_titles=[plain(title) for title in titles],
        row_heights=list(heights) if heights else None,
        **{"horizontal_spacing": 0.055, "vertical_spacing": min(0.16, 0.5 / rows), **options},
    )


def dress(figure: go.Figure, theme: Theme, height: int, *, steps: bool = True) -> go.Figure:
    """Give a figure its fonts, colours and margins.

    Args:
        figure: Is changed.
        theme: ``"light"`` or ``"dark"``.
        height: In pixels.
        steps: Whether all of its x axes are steps, which move together and are named so.

    Returns:
        The same figure.
    """
    figure.update_layout(
        template="none",
        font={"family": _FONT, "size": 12, "color": TEXT[theme]},
        paper_bgcolor=BACKGROUND[theme],
        plot_bgcolor="rgba(0,0,0,0)",
        height=height,
        margin={"l": 52, "r": 40, "t": 24, "b": 38},
        showlegend=False,
        hovermode="closest",
        hoverlabel={"bgcolor": _HOVER[theme], "font": {"color": TEXT[theme], "family": _FONT}, "align": "left"},
        hoverdistance=40,
        dragmode="zoom",
    )
    axis = {
        "gridcolor": GRID,
        "zeroline": False,
        "linecolor": GRID,
        "ticks": "outside",
        "tickcolor": GRID,
        "ticklen": 3,
    }
    figure.update_xaxes(**axis, showgrid=False, showline=True, title={"standoff": 3, "font": {"size": 11}})
    figure.update_yaxes(**axis, fixedrange=True)
    if steps:
        figure.update_xaxes(exponentformat="none", separatethousands=True)
        for axis_of_panel in list(figure.select_xaxes())[1:]:
            axis_of_panel.matches = "x"
    for note in figure.layout.annotations:
        note.update(font={"size": 12.5, "color": TEXT[theme]}, xanchor="left", yshift=1)
        note.x = _left_of(figure, note.x)
    return figure


def with_legend(figure: go.Figure) -> go.Figure:
    """Show the legend, above the panels' titles.

    Args:
        figure: Is changed.

    Returns:
        The same figure.
    """
    legend = {"orientation": "h", "x": 1.0, "xanchor": "right", "y": 1.0, "yanchor": "bottom", "font": {"size": 11}}
    pixels = figure.layout.height - figure.layout.margin.b - 46
    figure.update_layout(showlegend=True, legend={**legend, "y": 1 + 22 / pixels}, margin={"t": 46})
    return figure


def _left_of(figure: go.Figure, centre: float) -> float:
    """Where the panel begins whose centre this is: titles stand at the left."""
    domains = [axis.domain or (0.0, 1.0) for axis in figure.select_xaxes()]
    return float(next((d[0] for d in domains if d[0] <= centre <= d[1]), centre))
