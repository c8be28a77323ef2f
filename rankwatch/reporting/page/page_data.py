"""Everything that a page shows, as plain data: figures as plotly's JSON, tables, words, and spectra as bytes."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from datetime import datetime, timezone
from typing import Any

import numpy as np
import plotly.graph_objects as go

from rankwatch.reporting.figures.comparison import differing_protocols, last_common_step
from rankwatch.reporting.figures.depth_colours import RUN_COLOURS, depth_colours
from rankwatch.reporting.figures.drift_figure import drift
from rankwatch.reporting.figures.figure_style import TEXT
from rankwatch.reporting.figures.further_figures import codebooks, cost, labelled
from rankwatch.reporting.figures.health_figure import health
from rankwatch.reporting.figures.heatmap_figure import heatmap
from rankwatch.reporting.figures.rank_figure import ranks
from rankwatch.reporting.figures.spectra_figure import focus_layer, spectra, usual_codes
from rankwatch.reporting.page.page_tables import Table, comparison_tables, hyperparameter_table, run_tables
from rankwatch.reporting.page.page_words import (
    DRIFT,
    HEALTH,
    HEALTH_OF_SEVERAL,
    HEATMAP,
    SPECTRA,
    ranks_caption,
    words_table,
)
from rankwatch.reporting.page.verdict import verdict_of
from rankwatch.reporting.recorded.alarm_spans import last_healthy_step
from rankwatch.reporting.recorded.recorded_run import RecordedRun
from rankwatch.reporting.recorded.references import EARLY, health_states, references
from rankwatch.reporting.recorded.spectrum_codes import MISSING

SPECTRA_BYTES = 6_000_000
"""Of all runs together; where there are more, steps are left out evenly."""

_AT_FIRST = ("health", "ranks")


def page_data(runs: Sequence[RecordedRun], *, refresh: int = 0) -> dict[str, Any]:
    """What `rankwatchPage.show` in ``page.js`` builds the page from.

    Args:
        runs: One or several. Where they can't be compared they are shown apart, with the reason.
        refresh: Seconds after which the page loads itself anew; 0 for never.

    Returns:
        Dicts, lists, strings, numbers and None: valid JSON.
    """
    refusal = differing_protocols(runs) if len(runs) > 1 else ""
    several = len(runs) > 1
    first = _most_alarming(runs)
    data: dict[str, Any] = {
        "title": " · ".join(run.name for run in runs),
        "generated": datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
        "refresh": refresh,
        "text": TEXT,
        "palette": {theme: depth_colours(len(_layers(runs)), theme) for theme in TEXT},
        "layers": _layers(runs),
        "focus": focus_layer(first),
        "steps": _steps(runs),
        "step": last_common_step(runs),
        "references": _references(runs),
        "runs": [_run_data(run, number, len(runs)) for number, run in enumerate(runs)],
        "figures": _figures(runs, refusal),
        "comparison": {"refusal": refusal, "tables": []},
        "tables": [table.to_plain() for table in _tables(runs)],
    }
    if several:
        tables = [] if refusal else comparison_tables(runs)
        differing = hyperparameter_table(runs)
        tables += [differing] if differing else []
        data["comparison"]["tables"] = [table.to_plain() for table in tables]
    return data


def _tables(runs: Sequence[RecordedRun]) -> list[Table]:
    several = len(runs) > 1
    return [words_table(runs), *(table for run in runs for table in run_tables(run, run.name if several else ""))]


def _most_alarming(runs: Sequence[RecordedRun]) -> RecordedRun:
    return max(runs, key=lambda run: float(np.nan_to_num(run.alarm_level[-1])) if len(run.alarm_level) else 0.0)


def _layers(runs: Sequence[RecordedRun]) -> list[dict[str, str]]:
    rows: dict[str, str] = {}
    for run in runs:
        for row in run.layers:
            rows.setdefault(row.label, row.layer)
    return [{"label": label, "layer": layer} for label, layer in rows.items()]


def _steps(runs: Sequence[RecordedRun]) -> list[int]:
    return [int(step) for step in np.unique(np.concatenate([run.steps for run in runs]))]


def _references(runs: Sequence[RecordedRun]) -> dict[str, float]:
    found = {}
    for number, run in enumerate(runs):
        labels = {row.layer: row.label for row in run.layers}
        for (source, level, layer), value in references(run).items():
            if np.isfinite(value) and value > 0:
                found[f"{number}|{source}|{level}|{labels.get(layer, layer)}"] = float(f"{value:.6g}")
    return found


def _run_data(run: RecordedRun, number: int, n_runs: int) -> dict[str, Any]:
    return {
        "name": run.name,
        "colour": RUN_COLOURS[number % len(RUN_COLOURS)],
        "labels": [row.label for row in run.layers],
        "steps": [int(step) for step in run.steps],
        "health": [float(f"{value:.4g}") if np.isfinite(value) else None for value in run.health],
        "early": [bool(early) for early in health_states(run) == EARLY],
        "levels_of_alarm": [int(value) for value in np.nan_to_num(run.alarm_level)],
        "verdict": verdict_of(run).to_plain(),
        "problems": list(run.problems),
        "healthy": last_healthy_step(run),
        "ended": run.end is not None,
        "spectra": _spectra_data(run, SPECTRA_BYTES // n_runs),
    }


def _spectra_data(run: RecordedRun, budget: int) -> dict[str, Any]:
    """Those of the primary set, at the same steps for all layers."""
    mine = {key: found for key, found in run.spectra.items() if key[0] == run.primary}
    if not mine:
        return {"steps": [], "curves": {}}
    steps = np.unique(np.concatenate([found.steps for found in mine.values()]))
    each = sum(found.codes.shape[1] for found in mine.values())
    stride = max(1, -(-len(steps) * each // budget))
    kept = np.unique(np.append(np.arange(0, len(steps), stride), len(steps) - 1))
    healthy = last_healthy_step(run)
    if healthy is not None:
        kept = np.unique(np.append(kept, np.clip(np.searchsorted(steps, healthy), 0, len(steps) - 1)))
    steps = steps[kept]
    labels = {row.layer: row.label for row in run.layers}
    curves = {}
    for key, found in mine.items():
        codes = np.full((len(steps), found.codes.shape[1]), MISSING, np.uint8)
        place = np.searchsorted(found.steps, steps).clip(0, len(found.steps) - 1)
        there = found.steps[place] == steps
        codes[there] = found.codes[place[there]]
        usual = usual_codes(run, key)
        curves[f"{key[1]}|{labels.get(key[2], key[2])}"] = {
            "width": found.width,
            "points": int(codes.shape[1]),
            "codes": _text(codes),
            "usual": "" if usual is None else _text(usual),
        }
    return {"steps": [int(step) for step in steps], "curves": curves}


def _text(codes: np.ndarray[Any, np.dtype[np.uint8]]) -> str:
    return base64.b64encode(np.ascontiguousarray(codes).tobytes()).decode("ascii")


def _figures(runs: Sequence[RecordedRun], refusal: str) -> list[dict[str, Any]]:
    """In the order of the page; ranks of runs that can't be compared below each other."""
    about = HEALTH if len(runs) == 1 else HEALTH_OF_SEVERAL
    drawn: list[tuple[str, str, go.Figure | None]] = [("health", about, health(runs))]
    if refusal:
        drawn += [
            ("ranks", f"{run.name}. {ranks_caption([run])}", _ranks([run], number)) for number, run in enumerate(runs)
        ]
    else:
        drawn += [("ranks", ranks_caption(runs), _ranks(runs))]
    drawn += [
        ("heatmap", HEATMAP, heatmap(runs)),
        ("spectra", SPECTRA, spectra(runs)),
        ("drift", DRIFT, drift(runs)),
        ("codebooks", "", codebooks(runs)),
        ("labelled", "", labelled(runs)),
        ("cost", "", cost(runs)),
    ]
    for _, _, figure in drawn:
        if figure is not None:
            _same_steps(figure, runs)
    return [
        {
            "id": name,
            "caption": caption,
            "first": name in _AT_FIRST,
            "steps": name != "spectra",
            "figure": json.loads(figure.to_json()),
        }
        for name, caption, figure in drawn
        if figure is not None and len(figure.data)
    ]


def _same_steps(figure: go.Figure, runs: Sequence[RecordedRun]) -> None:
    """One range of steps for all figures, so that what stands below each other belongs together."""
    last = max((float(run.steps[-1]) for run in runs if len(run.steps)), default=1.0)
    if next(figure.select_xaxes()).type != "log":
        figure.update_xaxes(range=[-0.015 * last, 1.02 * last], autorange=False)


def _ranks(runs: Sequence[RecordedRun], number: int = 0) -> go.Figure:
    labels = list(dict.fromkeys(row.label for run in runs for row in run.layers))
    figure = ranks(runs, layers=labels, keep_hidden=True)
    if number:
        for trace in figure.data:
            trace.meta = {**trace.meta, "run": number}
    return figure
