"""Effective rank of every layer over steps, with its interval: a panel for each level and evaluation set."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import plotly.graph_objects as go

from rankwatch.readings.report import LayerRow
from rankwatch.reporting.figures.comparison import require_comparable
from rankwatch.reporting.figures.depth_colours import RUN_COLOURS, Theme, depth_colours, translucent
from rankwatch.reporting.figures.figure_style import dress, panels, plain
from rankwatch.reporting.recorded.recorded_run import Curve, RecordedRun
from rankwatch.reporting.recorded.references import references

FEW = 8
"""Layers up to which all of their intervals are shown; those of more would only cover each other."""

_NAMED = 13  # layers in the key
_MARKED = 60  # readings up to which each is a dot


def ranks(
    runs: Sequence[RecordedRun],
    *,
    layers: Sequence[str] | None = None,
    relative: bool = False,
    theme: Theme = "light",
    keep_hidden: bool = False,
) -> go.Figure:
    """Effective rank over steps.

    Of one run all layers in the colours of their depth; levels stand beside each other, or with several evaluation sets
    below each other and the sets beside each other. Several runs are laid over each other in colours of their own.

    Args:
        runs: One or several.
        layers: Short names (``"L07"``) or paths of the layers that are shown; by default all of one run, the last of
            several.
        relative: In per cent of each layer's own reference instead of dimensions.
        theme: ``"light"`` or ``"dark"``.
        keep_hidden: Whether layers that aren't shown are in the figure all the same, to be switched on in a page.

    Returns:
        The figure. Each trace's ``meta`` says of what run, source, level and layer it is. Runs that were read under
        different protocols, and a layer that none has, raise ValueError.
    """
    require_comparable(runs)
    places = panel_places(runs)
    several = len({source for source, _ in places}) > 1
    unit = "% of its usual rank" if relative else "effective rank"
    titles = [f"{unit}, {level} level" + (f", on {source}" if several else "") for source, level in places]
    n_levels = len({level for _, level in places})
    rows = n_levels if several else 1
    figure = panels(titles, rows, shared_yaxes=bool(several))
    columns = len(places) // rows
    shown = shown_layers(runs, layers)
    for number, run in enumerate(runs):
        usual = references(run)
        for depth, row in enumerate(run.layers):
            if row.label not in shown and not keep_hidden:
                continue
            for i, (source, level) in enumerate(places):
                curve = run.curves.get((source, level, row.layer))
                if curve is None or np.isnan(curve.values).all():
                    continue
                factor = 100.0 / usual[source, level, row.layer] if relative else 1.0
                where = {"row": i // columns + 1, "col": i % columns + 1}
                few = len(shown) * len(runs) <= FEW
                meta = {"run": number, "source": source, "level": level, "layer": row.label, "depth": depth}
                for trace in _traces(run, row, curve, factor, _colour(runs, number, depth, theme), meta):
                    is_shown = row.label in shown and (few or trace.meta["role"] == "line")
                    trace.visible = is_shown
                    if is_shown or keep_hidden:
                        figure.add_trace(trace, **where)
    dress(figure, theme, 252 if rows == 1 else 148 * rows + 16)
    figure.update_yaxes(rangemode="tozero", autorange=True, ticksuffix="%" if relative else "")
    figure.update_xaxes(title_text="optimiser step", row=rows)
    return figure if keep_hidden else _with_key(figure, runs, shown, places[0])


def _with_key(
    figure: go.Figure, runs: Sequence[RecordedRun], shown: Sequence[str], place: tuple[str, str]
) -> go.Figure:
    """Say at the right which colour is which layer, of many layers some, or which run; a page says it by itself."""
    named = set(shown[:: max(1, -(-len(shown) // _NAMED))]) | set(shown[-1:])
    for trace in figure.data:
        meta = trace.meta
        first = (meta["source"], meta["level"]) == place and meta["role"] == "line"
        label, name = meta["layer"], plain(runs[meta["run"]].name, most=40)
        trace.legendgroup = plain(f"{meta['run']} {label}")
        trace.showlegend = first and (label in named if len(runs) == 1 else label == shown[-1])
        if trace.showlegend:
            trace.name = plain(label) if len(runs) == 1 else name
    legend = {"traceorder": "reversed", "font": {"size": 11}, "x": 1.01, "y": 1.0}
    return figure.update_layout(showlegend=True, legend=legend, margin={"r": 90})


def panel_places(runs: Sequence[RecordedRun]) -> list[tuple[str, str]]:
    """(source, level) of each panel: levels below each other, sources beside each other, the primary first."""
    sources = list(dict.fromkeys(source for run in runs for source in run.sources))
    levels = list(dict.fromkeys(level for run in runs for level in run.levels))
    return [(source, level) for level in levels for source in sources]


def shown_layers(runs: Sequence[RecordedRun], layers: Sequence[str] | None) -> list[str]:
    """Short names of the layers that are asked for.

    Args:
        runs: Whose layers may be meant.
        layers: Short names or paths; None for all of one run and the last of several.

    Returns:
        Short names, in the order of depth.

    Raises:
        ValueError: If no run has one of them.
    """
    labels = list(dict.fromkeys(row.label for run in runs for row in run.layers))
    if layers is None:
        return labels if len(runs) == 1 else labels[-1:]
    by_path: Mapping[str, str] = {row.layer: row.label for run in runs for row in run.layers}
    unknown = [layer for layer in layers if layer not in by_path and layer not in labels]
    if unknown:
        raise ValueError(f"no layer {unknown[0]!r}: there are {', '.join(labels)}")
    wanted = {by_path.get(layer, layer) for layer in layers}
    return [label for label in labels if label in wanted]


def _colour(runs: Sequence[RecordedRun], number: int, depth: int, theme: Theme) -> str:
    if len(runs) > 1:
        return RUN_COLOURS[number % len(RUN_COLOURS)]
    return depth_colours(len(runs[number].layers), theme)[depth]


def _traces(
    run: RecordedRun, row: LayerRow, curve: Curve, factor: float, colour: str, meta: Mapping[str, Any]
) -> list[go.Scatter]:
    """The interval behind the line, where there is any."""
    steps, there = _short(run.steps), np.isfinite(curve.values)
    x, y = steps[there], (curve.values[there] * factor).astype(np.float32)
    marked = len(x) <= _MARKED
    line = go.Scatter(
        x=x,
        y=y,
        mode="lines+markers" if marked else "lines",
        line={"color": colour, "width": 1.7},
        marker={"color": colour, "size": 4},
        name=plain(f"{row.label} {row.layer}"),
        hovertemplate=f"<b>{plain(row.label)}</b> {plain(row.layer)}<br>step %{{x:,}}: <b>%{{y:.1f}}</b><extra>"
        f"{plain(run.name, most=60)}</extra>",
        meta={**meta, "role": "line"},
    )
    outline = band(steps, curve.low * factor, curve.high * factor)
    if outline is None:
        return [line]
    fill = {"fill": "toself", "fillcolor": translucent(colour, 0.16), "line": {"width": 0}, "mode": "lines"}
    return [go.Scatter(x=outline[0], y=outline[1], hoverinfo="skip", meta={**meta, "role": "band"}, **fill), line]


def band(
    steps: npt.NDArray[Any], low: npt.NDArray[Any], high: npt.NDArray[Any]
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]] | None:
    """The outline of an interval over steps: one closed polygon for each stretch without gaps.

    Args:
        steps: Shape ``(n,)``.
        low: Lower ends, shape ``(n,)``; NaN where there is no interval.
        high: Upper ends, likewise.

    Returns:
        x and y of the outline, with NaN between polygons; None where there is no interval at all.

    Example:
        >>> x, y = band(np.array([1, 2, 3]), np.array([1.0, 2.0, np.nan]), np.array([3.0, 4.0, np.nan]))
        >>> x.tolist(), y.tolist()
        ([1.0, 2.0, 2.0, 1.0], [1.0, 2.0, 4.0, 3.0])
    """
    there = np.isfinite(low) & np.isfinite(high)
    if not there.any():
        return None
    edges = np.flatnonzero(np.diff(there.astype(np.int8), prepend=0, append=0))
    xs: list[npt.NDArray[Any]] = []
    ys: list[npt.NDArray[Any]] = []
    for first, last in zip(edges[::2], edges[1::2], strict=True):
        gap = [np.array([np.nan])] if xs else []
        xs += [*gap, steps[first:last], steps[first:last][::-1]]
        ys += [*gap, low[first:last], high[first:last][::-1]]
    return np.concatenate(xs).astype(np.float32), np.concatenate(ys).astype(np.float32)


def _short(steps: npt.NDArray[np.int64]) -> npt.NDArray[Any]:
    """Four bytes each where they suffice."""
    return steps.astype(np.int32) if not len(steps) or steps[-1] < 2**31 else steps.astype(np.float64)
