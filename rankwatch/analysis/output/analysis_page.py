"""The page of an analysis: what follows first, then the figures, then all numbers; one file without a network."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

from rankwatch.analysis.decision.decide import Decision
from rankwatch.analysis.decision.group_gaps import Gap, GroupGap
from rankwatch.analysis.decision.property_layers import ENOUGH, PropertyLayers
from rankwatch.analysis.measures.measurement import ABX
from rankwatch.analysis.measures.profile import Profile
from rankwatch.analysis.output.figures import abx_errors, holdings, likeness, ranks
from rankwatch.analysis.output.layer_table import layer_cells
from rankwatch.analysis.output.sample_sizes import sample_sizes
from rankwatch.analysis.rows.row_tables import LayerInfo
from rankwatch.reporting.page.html_page import shared_script, write_page

_CAPTIONS = {
    "What each layer holds": (
        "Left: 0 is nothing and 1 everything that could be said about the property from a frame, a phone or a word; "
        "corrected for the number of rows. The acoustics' 80 bands hold fewer directions than 80, so their curve ends "
        "below 1. Right: accuracy (F1 where there are several labels at once, R² for the acoustics) of "
        "a linear probe on utterances or speakers that it was not trained on. Bands are 90 % intervals; hollow "
        "marks have something standing against them. The mouse shows it, and what each value rests on."
    ),
    "ABX errors": (
        "How often a span is nearer to one of another label than to one of its own: 0.5 is chance, less is better. "
        "Bands are 90 % intervals over speakers, or where these are few over utterances."
    ),
    "Effective rank": (
        "How many directions a layer uses. It follows quality within a layer over training and does not say which "
        "layer is best."
    ),
    "How alike layers are": (
        "1 is alike up to rotation, scale and shift. Similarity counts all directions of some variance, CKA the "
        "largest alone."
    ),
}


def write_analysis_page(
    file: Path,
    title: str,
    profile: Profile,
    decision: Decision,
    models: Mapping[str, Sequence[LayerInfo]],
    conclusions: Sequence[str],
    protocol: Mapping[str, Any],
) -> None:
    """Write the page.

    Args:
        file: The page.
        title: What is analysed.
        profile: All measurements.
        decision: What follows from them.
        models: Layers of each model, by its name.
        conclusions: The sentences.
        protocol: How everything was measured.
    """
    makers = {"What each layer holds": holdings, "Effective rank": ranks, "How alike layers are": likeness}
    if any(one.measure in ABX for one in profile.measurements):
        makers = {"What each layer holds": holdings, "ABX errors": abx_errors, **makers}
    figures = [
        {
            "title": name,
            "caption": _CAPTIONS[name],
            "themes": {theme: json.loads(make(profile, models, theme).to_json()) for theme in ("light", "dark")},
        }
        for name, make in makers.items()
    ]
    data = {
        "title": title,
        "conclusions": list(conclusions),
        "notes": list(profile.notes),
        "decision": _decision_table(decision.properties, models),
        "figures": figures,
        "tables": [
            *({"title": f"All layers of {name}", **_layers(profile, name, layers)} for name, layers in models.items()),
            _groups(decision.gaps),
            sample_sizes(profile.measurements),
            {"title": "How it was measured", "head": ["what", "how"], "rows": _flat(protocol)},
        ],
    }
    write_page(file, data, script=analysis_script())


def analysis_script() -> str:
    """What shows sentences, figures and tables on a page."""
    return shared_script() + "\n" + _script()


def _script() -> str:
    return resources.files("rankwatch.analysis.output").joinpath("analysis_page.js").read_text(encoding="utf-8")


def _decision_table(properties: Sequence[PropertyLayers], models: Mapping[str, Sequence[LayerInfo]]) -> dict[str, Any]:
    head = ["property", "model", "best layer", "score", "can't be told apart", f"surely keeps {ENOUGH:.0%}", "needs"]
    rows = []
    for one in properties:
        best, cost = one.measured(one.best), {layer.label: layer.cost for layer in models[one.model]}
        interval = f" [{best.low:.2f}, {best.high:.2f}]" if best.low is not None else ""
        found = cost.get(one.enough) if one.enough is not None else None
        needs = f"{found.parameter_share:.0%} of parameters, {found.time_share:.0%} of time" if found else ""
        alike = ", ".join(layer for layer in one.alike if layer != one.best) if one.comparable else "not known"
        name = one.best if one.found is not False else f"none ({one.best})"
        score = f"{'error ' if one.less_is_better else ''}{best.value:.2f}{interval}"
        rows.append([one.target, one.model, name, score, alike, one.enough or "not known", needs])
    return {"title": "Which layer, and how much of the model", "head": head, "rows": rows, "open": True}


def _layers(profile: Profile, model: str, layers: Sequence[LayerInfo]) -> dict[str, Any]:
    head, *rows = layer_cells(profile, model, layers)
    return {"head": head, "rows": rows}


def _groups(gaps: Sequence[GroupGap]) -> dict[str, Any]:
    rows = []
    for one in gaps:
        sure = "yes" if one.sure else "not known"
        best, worst = (f"{name} ({score:.2f})" for name, score in (one.best, one.worst))
        mix = "too few labels in common" if one.same_mix is None else _interval(one.same_mix)
        rows.append([one.target, one.model, one.layer, one.grouping, best, worst, _interval(one.gap), sure, mix])
    head = ["property", "model", "layer", "groups by", "served best", "served worst", "gap", "more than chance"]
    head.append("gap with the same mix of labels")
    return {"title": "Groups", "head": head, "rows": rows}


def _interval(gap: Gap) -> str:
    value, low, high = gap
    return f"{value:.2f} [{low:.2f}, {high:.2f}]" if low is not None and high is not None else f"{value:.2f}"


def _flat(protocol: Mapping[str, Any], prefix: str = "") -> list[list[str]]:
    rows: list[list[str]] = []
    for name, value in protocol.items():
        if isinstance(value, Mapping):
            rows += _flat(value, f"{prefix}{name}, ")
        elif isinstance(value, (list, tuple)) and value and isinstance(value[0], Mapping):
            for one in value:
                rows.append([f"{prefix}{name}", ", ".join(f"{k} {v}" for k, v in one.items())])
        else:
            rows.append([f"{prefix}{name}", str(value)])
    return rows
