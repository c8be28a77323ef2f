"""Pictures of a profile for those who can't show plotly's figures: curves over the layers, and how alike layers are."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from rankwatch.analysis.measures.layer_pairs import SEPARATOR
from rankwatch.analysis.measures.measurement import CKA, SIMILARITY, Measurement
from rankwatch.analysis.measures.profile import Profile
from rankwatch.analysis.rows.row_tables import LayerInfo
from rankwatch.reporting.figures.depth_colours import RUN_COLOURS
from rankwatch.reporting.pictures.canvas import Image, canvas, pixels

_KEY = 1.35
"""Inches to the right of the panel for the names of curves."""

_LONGEST, _TICKS, _NAMED = 20, 13, 14
"""Characters of a name, layers that are named on an axis, and curves that are."""


def curves(
    title: str, found: Mapping[str, Mapping[str, Measurement]], layers: Sequence[LayerInfo], *, share: bool
) -> Image | None:
    """Measures over the layers, with bands for their intervals.

    Args:
        title: Stands above.
        found: By the name of each curve, measurements by layer.
        layers: The model's layers in order.
        share: Whether values are shares, so that the axis goes from 0 to 1.

    Returns:
        Pixels of shape (height, width, 3), or None while there is nothing to draw.
    """
    place = {layer.label: i for i, layer in enumerate(layers)}
    drawn = {
        name: known
        for name, by_layer in found.items()
        if (known := [one for one in by_layer.values() if math.isfinite(one.value) and one.layer in place])
    }
    if not drawn:
        return None
    with canvas(title, right=_KEY) as (figure, ax):
        for k, (name, known) in enumerate(drawn.items()):
            colour = RUN_COLOURS[k % len(RUN_COLOURS)]
            x = [place[one.layer] for one in known]
            ax.plot(x, [one.value for one in known], color=colour, linewidth=1.2, marker="o", markersize=2.5)
            band = [(place[one.layer], one.low, one.high) for one in known if one.low is not None]
            if len(band) > 1:
                at, low, high = zip(*band, strict=True)
                ax.fill_between(at, low, high, color=colour, alpha=0.16, linewidth=0)
            if k < _NAMED:
                height = 1.0 - (k + 0.5) / max(len(drawn), 6)
                short = name if len(name) <= _LONGEST else f"{name[: _LONGEST - 1]}…"
                ax.text(1.02, height, short, color=colour, transform=ax.transAxes, va="center", parse_math=False)
        ax.set_ylim(*((-0.03, 1.03) if share else (0.0, None)))
        _name_layers(ax, layers, "x")
        ax.grid(alpha=0.25, linewidth=0.4)
        return pixels(figure)


def likeness_pictures(profile: Profile, models: Mapping[str, Sequence[LayerInfo]], model: str) -> dict[str, Image]:
    """How alike the layers of a model are, to each other and to those of the models that they were compared with.

    Args:
        profile: All measurements.
        models: Layers of each model, by its name.
        model: Whose layers go upwards.

    Returns:
        Pixels of shape (height, width, 3) by what they show, such as ``"cka"`` or ``"similarity_to_other"``.
    """
    found = {}
    for other in models:
        start = "" if other == model else f"{other}{SEPARATOR}"
        for measure in (SIMILARITY, CKA):
            columns = [profile.find(model=model, measure=measure, target=start + one.label) for one in models[other]]
            if any(columns):
                what = measure if other == model else f"{measure}_to_{other}"
                title = f"{measure} of {model}" + (f" (up) to {other}" if other != model else "")
                found[what] = _heatmap(title, columns, models[model], models[other])
    return found


def _heatmap(
    title: str, columns: Sequence[Mapping[str, Measurement]], up: Sequence[LayerInfo], right: Sequence[LayerInfo]
) -> Image:
    values = [[by[row.label].value if row.label in by else math.nan for by in columns] for row in up]
    with canvas(title, right=_KEY) as (figure, ax):
        shown = np.ma.masked_invalid(np.array(values, dtype=float))
        mesh = ax.imshow(shown, cmap="cividis", vmin=0.0, vmax=1.0, origin="lower", aspect="auto")
        box = ax.get_position()
        figure.colorbar(mesh, cax=figure.add_axes((box.x1 + 0.02, box.y0, 0.02, box.height)))
        _name_layers(ax, right, "x")
        _name_layers(ax, up, "y")
        return pixels(figure)


def _name_layers(ax: Any, layers: Sequence[LayerInfo], axis: str) -> None:
    ticks = range(0, len(layers), max(1, math.ceil(len(layers) / _TICKS)))
    ax.set(**{f"{axis}ticks": list(ticks), f"{axis}ticklabels": [layers[i].label for i in ticks]})
    ax.tick_params(length=2, width=0.5)
