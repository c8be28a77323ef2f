"""The table on the terminal: a line for each layer, a column for each thing that was asked."""

from __future__ import annotations

import math
from collections.abc import Sequence

from rankwatch.analysis.decision.properties import TAGS, abx_name
from rankwatch.analysis.measures.layer_measures import ACOUSTICS
from rankwatch.analysis.measures.measurement import ABX, CCA, RANK, SCORES
from rankwatch.analysis.measures.profile import Profile
from rankwatch.analysis.measures.published_measures import APART, PUBLISHED
from rankwatch.analysis.rows.row_tables import FRAME, UTTERANCE, LayerInfo


def layer_table(profile: Profile, model: str, layers: Sequence[LayerInfo]) -> list[str]:
    """What was measured of a model's layers, as text.

    Args:
        profile: All measurements.
        model: The model's name.
        layers: Its layers in order.

    Returns:
        Lines of equal columns, the first of them the header.
    """
    rows = layer_cells(profile, model, layers)
    widths = [max(len(row[k]) for row in rows) for k in range(len(rows[0]))]
    return ["  ".join(_set(row, widths)).rstrip() for row in rows]


def layer_cells(profile: Profile, model: str, layers: Sequence[LayerInfo]) -> list[list[str]]:
    """What was measured of a model's layers, as cells.

    Args:
        profile: All measurements.
        model: The model's name.
        layers: Its layers in order.

    Returns:
        Rows of equal length, the first of them the header.
    """
    columns: dict[str, dict[str, str]] = {
        "rank (frame)": _column(profile, model, RANK, "", FRAME, digits=0),
        "rank (utt.)": _column(profile, model, RANK, "", UTTERANCE, digits=0),
        "acoustics": _column(profile, model, CCA, ACOUSTICS, None, digits=2),
        **_published(profile, model, ACOUSTICS),
    }
    for target in profile.targets:
        columns[target.name] = _column(profile, model, CCA, target.name, None, digits=2)
        score = SCORES[2] if target.several else SCORES[0]
        columns[f"{target.name} probe"] = _column(profile, model, score, target.name, None, digits=2)
        columns |= _published(profile, model, target.name)
    for tier in dict.fromkeys(one.target for one in profile.measurements if one.measure in TAGS):
        for measure, word in TAGS.items():
            columns[f"{tier} {word}"] = _column(profile, model, measure, tier, None, digits=2)
    for tier, measure in dict.fromkeys((one.target, one.measure) for one in profile.measurements if one.measure in ABX):
        columns[abx_name(tier, measure)] = _column(profile, model, measure, tier, None, digits=3)
    for name in dict.fromkeys(one.target for one in profile.measurements if one.measure == PUBLISHED):
        columns |= _published(profile, model, name)  # also of tiers that have too few rows of each label for the rest
    shown = {name: cells for name, cells in columns.items() if cells}
    header = ["layer", "path", "width", "params", "time", *shown]
    rows = [header]
    for layer in layers:
        cost = layer.cost
        share = (f"{cost.parameter_share:.0%}", f"{cost.time_share:.0%}") if cost is not None else ("", "")
        rows.append(
            [
                layer.label,
                layer.path,
                str(layer.width),
                *share,
                *(cells.get(layer.label, "") for cells in shown.values()),
            ]
        )
    return rows


def _published(profile: Profile, model: str, target: str) -> dict[str, dict[str, str]]:
    """The published protocol's columns: as printed, and with utterances left out; empty where it wasn't asked for."""
    named = {f"{target} PWCCA": PUBLISHED, f"{target} PWCCA utt.": APART}
    return {name: _column(profile, model, measure, target, None, digits=2) for name, measure in named.items()}


def _set(row: Sequence[str], widths: Sequence[int]) -> list[str]:
    """Names to the left, numbers to the right."""
    pairs = enumerate(zip(row, widths, strict=True))
    return [cell.ljust(width) if k < 2 else cell.rjust(width) for k, (cell, width) in pairs]


def _column(
    profile: Profile, model: str, measure: str, target: str, level: str | None, *, digits: int
) -> dict[str, str]:
    """Cells by layer; a question mark stands where something stands against the number."""
    found = profile.find(model=model, measure=measure, target=target, level=level)
    return {
        layer: f"{one.value:.{digits}f}" + ("?" if set(one.status) - {"imprecise"} else "")
        for layer, one in found.items()
        if math.isfinite(one.value)
    }
