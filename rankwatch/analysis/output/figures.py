"""Figures of a profile: what each layer holds with intervals, and how alike layers are. Plotly graph objects."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import plotly.graph_objects as go

from rankwatch.analysis.decision.properties import TAGS
from rankwatch.analysis.measures.layer_measures import ACOUSTICS
from rankwatch.analysis.measures.layer_pairs import SEPARATOR
from rankwatch.analysis.measures.measurement import ABX, CCA, CKA, RANK, SIMILARITY, Measurement
from rankwatch.analysis.measures.profile import Profile
from rankwatch.analysis.rows.row_tables import FRAME, UTTERANCE, LayerInfo
from rankwatch.reporting.figures.depth_colours import RUN_COLOURS, translucent
from rankwatch.reporting.figures.figure_style import dress, panels, plain, with_legend

_DASHES = ("solid", "dash", "dot", "dashdot")
_MODEL_MARKS = ("circle", "square", "diamond", "cross")
_HEIGHT = 330

Models = Mapping[str, Sequence[LayerInfo]]


def holdings(profile: Profile, models: Models, theme: str = "light") -> go.Figure:
    """What each layer holds: the corrected share of directions, and what probes reach, over the layers.

    Args:
        profile: All measurements.
        models: Layers of each model, by its name.
        theme: ``"light"`` or ``"dark"``.

    Returns:
        Two panels; a colour for each property, a kind of line for each model, bands for 90 % intervals.
    """
    figure = panels(["share of what is asked about that a linear map reaches", "what a probe reaches"])
    names = [ACOUSTICS, *(target.name for target in profile.targets)]
    for number, name in enumerate(names):
        colour = RUN_COLOURS[number % len(RUN_COLOURS)]
        several = any(target.name == name and target.several for target in profile.targets)
        probe = "probe_r2" if name == ACOUSTICS else "probe_f1" if several else "probe_accuracy"
        for k, (model, layers) in enumerate(models.items()):
            for panel, measure in ((1, CCA), (2, probe)):
                found = profile.find(model=model, measure=measure, target=name)
                label = name if len(models) == 1 else f"{name}, {model}"
                named = {trace.name for trace in figure.data if trace.showlegend}
                _curve(figure, (1, panel), found, layers, plain(label), colour, k, legend=plain(label) not in named)
    told = dict.fromkeys((one.target, one.measure) for one in profile.measurements if one.measure in TAGS)
    for number, (tier, measure) in enumerate(told, len(names)):
        for k, (model, layers) in enumerate(models.items()):
            label = plain(f"{tier} {TAGS[measure]}" if len(models) == 1 else f"{tier} {TAGS[measure]}, {model}")
            found = profile.find(model=model, measure=measure, target=tier)
            _curve(figure, (1, 2), found, layers, label, RUN_COLOURS[number % len(RUN_COLOURS)], k, legend=True)
    figure.update_yaxes(range=[-0.03, 1.03])
    return with_legend(dress(figure, theme, _HEIGHT + 40, steps=False))


def abx_errors(profile: Profile, models: Models, theme: str = "light") -> go.Figure:
    """ABX errors over the layers.

    Args:
        profile: All measurements.
        models: Layers of each model, by its name.
        theme: ``"light"`` or ``"dark"``.

    Returns:
        A panel for each of within and across speakers (or whatever the speaker) that was measured; a colour for each
        tier, a kind of line for each model, bands for 90 % intervals.
    """
    measures = [measure for measure in ABX if any(one.measure == measure for one in profile.measurements)]
    tiers = list(dict.fromkeys(one.target for one in profile.measurements if one.measure in ABX))
    figure = panels([f"ABX error {ABX[measure]}".strip() for measure in measures])
    for panel, measure in enumerate(measures, 1):
        for number, tier in enumerate(tiers):
            for k, (model, layers) in enumerate(models.items()):
                found = profile.find(model=model, measure=measure, target=tier)
                label = plain(tier if len(models) == 1 else f"{tier}, {model}")
                colour = RUN_COLOURS[number % len(RUN_COLOURS)]
                _curve(figure, (1, panel), found, layers, label, colour, k, legend=panel == 1)
    figure.update_yaxes(range=[-0.01, 0.55])
    return with_legend(dress(figure, theme, _HEIGHT + 40, steps=False))


def ranks(profile: Profile, models: Models, theme: str = "light") -> go.Figure:
    """Effective rank of frames and of utterances over the layers.

    Args:
        profile: All measurements.
        models: Layers of each model, by its name.
        theme: ``"light"`` or ``"dark"``.

    Returns:
        Two panels, a colour for each model.
    """
    figure = panels(["effective rank of frames", "effective rank of utterance means"])
    for k, (model, layers) in enumerate(models.items()):
        for panel, level in ((1, FRAME), (2, UTTERANCE)):
            found = profile.find(model=model, measure=RANK, level=level)
            _curve(figure, (1, panel), found, layers, plain(model), RUN_COLOURS[k], k, legend=panel == 1)
    figure.update_yaxes(rangemode="tozero")
    done = dress(figure, theme, _HEIGHT, steps=False)
    return with_legend(done) if len(models) > 1 else done


def likeness(profile: Profile, models: Models, theme: str = "light") -> go.Figure:
    """How alike layers are: of each model, and of each pair of models that was compared.

    Args:
        profile: All measurements.
        models: Layers of each model, by its name.
        theme: ``"light"`` or ``"dark"``.

    Returns:
        A row of two heatmaps (similarity at resolution 0.1, CKA) for each model and pair.
    """
    pairs = [(model, model) for model in models]
    others = {one.target.rpartition(SEPARATOR)[0] for one in profile.measurements if SEPARATOR in one.target}
    pairs += [(model, other) for other in models if other in others for model in models if model != other]
    titles = [
        f"{word}: {model if model == other else f'{model} (up) and {other}'}"
        for model, other in pairs
        for word in ("similarity", "CKA")
    ]
    figure = panels(titles, rows=len(pairs), vertical_spacing=0.16 / len(pairs))
    for row, (model, other) in enumerate(pairs, 1):
        for column, measure in enumerate((SIMILARITY, CKA), 1):
            figure.add_trace(_heatmap(profile, models, model, other, measure), row=row, col=column)
    figure.update_layout(coloraxis={"colorscale": "Cividis", "cmin": 0.0, "cmax": 1.0, "colorbar": {"thickness": 10}})
    return dress(figure, theme, 280 * len(pairs) + 40, steps=False)


def _heatmap(profile: Profile, models: Models, model: str, other: str, measure: str) -> go.Heatmap:
    start = "" if model == other else f"{other}{SEPARATOR}"
    columns = {
        layer.label: profile.find(model=model, measure=measure, target=start + layer.label) for layer in models[other]
    }
    rows = [layer.label for layer in models[model]]
    values = [[_value(columns[column].get(row)) for column in columns] for row in rows]
    return go.Heatmap(
        z=np.array(values),
        x=list(columns),
        y=rows,
        coloraxis="coloraxis",
        customdata=[[_rests_on(columns[column].get(row)) for column in columns] for row in rows],
        hovertemplate="%{y} and %{x}: %{z:.3f}<br>%{customdata}<extra></extra>",
    )


def _value(one: Measurement | None) -> float:
    return math.nan if one is None else one.value


def _rests_on(one: Measurement | None) -> str:
    return "" if one is None else one.rests_on


def _curve(
    figure: go.Figure,
    place: tuple[int, int],
    found: Mapping[str, Measurement],
    layers: Sequence[LayerInfo],
    name: str,
    colour: str,
    model: int,
    *,
    legend: bool,
) -> None:
    """One curve over layers and, where its points have intervals, a band."""
    labels = [layer.label for layer in layers if layer.label in found and math.isfinite(found[layer.label].value)]
    if not labels:
        return
    row, column = place
    known = [label for label in labels if found[label].low is not None]
    if len(known) > 1:
        figure.add_trace(
            go.Scatter(
                x=[*known, *known[::-1]],
                y=[*(found[k].high for k in known), *(found[k].low for k in known[::-1])],
                mode="lines",
                fill="toself",
                fillcolor=translucent(colour, 0.16),
                line={"width": 0},
                hoverinfo="skip",
                showlegend=False,
                legendgroup=name,
            ),
            row=row,
            col=column,
        )
    doubts = [plain(", ".join(sorted(set(found[k].status) - {"imprecise"}))) for k in labels]
    rest = [found[k].rests_on for k in labels]
    figure.add_trace(
        go.Scatter(
            x=labels,
            y=[found[k].value for k in labels],
            customdata=list(zip(rest, doubts, strict=True)),
            name=name,
            legendgroup=name,
            showlegend=legend,
            mode="lines+markers",
            line={"color": colour, "width": 2, "dash": _DASHES[model % len(_DASHES)]},
            marker={
                "size": 7,
                "symbol": [_MODEL_MARKS[model % 4] + ("-open" if doubt else "") for doubt in doubts],
            },
            hovertemplate=f"{name}, %{{x}}: %{{y:.3g}}<br>%{{customdata[0]}}<br>%{{customdata[1]}}<extra></extra>",
        ),
        row=row,
        col=column,
    )
