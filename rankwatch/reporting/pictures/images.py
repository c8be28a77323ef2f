"""Two kinds of picture: effective rank over layer and step, and the latest spectra.

Colour maps are viridis for depth and magma for rank, which people with colour blindness and grey-scale prints can read.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from rankwatch.readings.alarm import Alarm
from rankwatch.readings.reading import Reading
from rankwatch.readings.report import Report, RunHeader
from rankwatch.reporting.pictures.canvas import Image, canvas, pixels

_MISSING = "0.88"
_RANK_COLOURS = "magma"


def heatmap(report: Report, header: RunHeader, level: str, alarms: Iterable[Alarm] = ()) -> Image | None:
    """Effective rank of every layer over steps on the primary source.

    Grey is where there is no number; a triangle is where an alarm was raised. Depth goes upwards.

    Args:
        report: Its `history` is drawn.
        header: Labels of the layers.
        level: ``"frame"`` or ``"utterance"``.
        alarms: All alarms so far.

    Returns:
        Pixels of shape (height, width, 3), or None while there is nothing to draw.
    """
    source = header.sources[0]
    steps, rows = report.history.get((source, level), ((), ()))
    if not steps:
        return None
    with canvas(f"effective rank, {level} level, {source}") as (figure, ax):
        top = _mesh(ax, steps, np.asarray(rows, dtype=float))
        _colour_bar(figure, ax, top)
        _mark(ax, header, [a for a in alarms if (a.source, a.level) == (source, level)], steps)
        ax.set(xlabel="optimiser step")
        _layer_ticks(ax, header)
        return pixels(figure)


def spectra(report: Report, header: RunHeader, level: str) -> Image | None:
    """Singular values of every layer at the latest reading of the primary source.

    Straight and flat is a space in full use, a cliff is a collapse. Dark is shallow, bright is deep.

    Args:
        report: The `spectrum` of its readings is drawn.
        header: Labels of the layers.
        level: ``"frame"`` or ``"utterance"``.

    Returns:
        Pixels of shape (height, width, 3), or None while there is nothing to draw.
    """
    source = header.sources[0]
    depth = {row.layer: i for i, row in enumerate(header.layers)}
    here = [r for r in report.readings if (r.source, r.level) == (source, level) and r.layer in depth]
    curves = [(depth[r.layer], r) for r in here if any(value > 0.0 for value in r.spectrum)]
    if not curves:
        return None
    with canvas(f"spectra at step {report.step}, {level} level, {source}") as (figure, ax):
        colours = _depth_colours(len(header.layers))
        for i, reading in curves:
            values = np.asarray(reading.spectrum, dtype=float)
            values[~(values > 0.0)] = math.nan
            ax.plot(np.log10(_positions(reading)), np.log10(values), color=colours[i], linewidth=1.0)
        ax.set(xlabel="singular value number", ylabel="relative to the largest")
        _decades(ax)
        _depth_key(ax, header, colours)
        return pixels(figure)


def _mesh(ax: Any, steps: Sequence[int], values: npt.NDArray[np.float64]) -> float:
    """Cells as wide as the time until the next reading; the colours start at 0, so that dark is collapsed."""
    at = np.asarray(steps, dtype=float)
    last = at[-1] - at[-2] if len(at) > 1 else max(at[-1], 1.0)
    edges = np.append(at, at[-1] + last)
    finite = values[np.isfinite(values)]
    top = max(float(finite.max()), 1.0) if finite.size else 1.0
    ax.set_facecolor(_MISSING)
    shown = np.ma.masked_invalid(values)
    ax.pcolormesh(edges, np.arange(len(values) + 1), shown, cmap=_RANK_COLOURS, vmin=0.0, vmax=top)
    return top


def _colour_bar(figure: Any, ax: Any, top: float) -> None:
    """From 0 to `top`, as high as the panel."""
    box = ax.get_position()
    bar = figure.add_axes((box.x1 + 0.015, box.y0, 0.025, box.height))
    bar.imshow(
        np.linspace(0.0, top, 128)[:, None], cmap=_RANK_COLOURS, aspect="auto", origin="lower", extent=(0, 1, 0, top)
    )
    bar.yaxis.tick_right()
    bar.set_xticks([])
    bar.set_yticks([0.0, top / 2, top], labels=["0", f"{top / 2:.3g}", f"{top:.3g}"])
    bar.tick_params(length=2, width=0.5, pad=2)


def _mark(ax: Any, header: RunHeader, alarms: Sequence[Alarm], steps: Sequence[int]) -> None:
    rows = {row.layer: i for i, row in enumerate(header.layers)}
    points = [(a.step, rows[a.layer] + 0.5) for a in alarms if a.layer in rows and a.step >= steps[0]]
    if points:
        x, y = zip(*points, strict=True)
        size = min(26.0, 300.0 / len(rows))
        ax.scatter(x, y, marker="<", s=size, color="#d55e00", edgecolors="white", linewidths=0.4, zorder=3)


def _layer_ticks(ax: Any, header: RunHeader) -> None:
    ticks = _some(range(len(header.layers)), 13)
    ax.set_yticks([i + 0.5 for i in ticks], labels=[header.layers[i].label for i in ticks])
    ax.tick_params(length=2, width=0.5)


def _some(items: Sequence[int], most: int) -> list[int]:
    """At most so many, evenly spread, the first among them."""
    return list(items)[:: max(1, math.ceil(len(items) / most))]


def _depth_colours(layers: int) -> Any:
    from matplotlib import colormaps

    return colormaps["viridis"](np.linspace(0.0, 0.88, layers))  # the palest can't be seen on white


def _decades(ax: Any) -> None:
    """Both axes hold logarithms: ticks at powers of ten (matplotlib's own log axes take a second to draw)."""
    bottom = min(max(ax.get_ylim()[0], -6.0), -1.05)
    ax.set_ylim(bottom, 0.1)
    right = math.ceil(ax.get_xlim()[1])
    ax.set_xticks(range(right), labels=[f"{10**power}" for power in range(right)])
    down = range(math.ceil(bottom), 1, 1 + int(-bottom) // 4)
    ax.set_yticks(down, labels=["1" if power == 0 else f"1e{power}" for power in down])
    ax.grid(alpha=0.25, linewidth=0.4)
    ax.tick_params(length=2, width=0.5)


def _depth_key(ax: Any, header: RunHeader, colours: Any) -> None:
    """Labels of some layers in their colours, from the deepest down, to the right of the panel."""
    ticks = _some(range(len(header.layers)), 9)
    for place, i in enumerate(ticks):
        height = (place + 0.5) / len(ticks)
        label = header.layers[i].label
        ax.text(1.02, height, label, color=colours[i], transform=ax.transAxes, va="center", weight="bold")


def _positions(reading: Reading) -> npt.NDArray[np.float64]:
    """Where the points of `Reading.spectrum` stand: spaced geometrically from the first to the last."""
    return np.geomspace(1.0, reading.d, len(reading.spectrum))
