"""The singular values behind one number: at one step, against what the layer usually has and last had in health."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
import plotly.graph_objects as go

from rankwatch.readings.reading import Key
from rankwatch.reporting.figures.depth_colours import CALM_COLOUR, NEUTRAL, RUN_COLOURS, Theme, depth_colours
from rankwatch.reporting.figures.figure_style import dress, panels, plain, with_legend
from rankwatch.reporting.recorded.alarm_spans import alarm_spans, last_healthy_step
from rankwatch.reporting.recorded.recorded_run import RecordedRun, Spectra
from rankwatch.reporting.recorded.references import clean_readings
from rankwatch.reporting.recorded.spectrum_codes import MISSING, decode, positions

_SETTLED = 4  # readings at the start that are no reference: see rankwatch.reporting.recorded.references


def spectra(
    runs: Sequence[RecordedRun],
    *,
    step: int | None = None,
    layer: str | None = None,
    source: str | None = None,
    theme: Theme = "light",
) -> go.Figure:
    """Singular values relative to the largest: straight and flat is a space in full use, a cliff is a collapse.

    Of one run a layer's spectrum at a step, its usual one and its last healthy one, and all other layers in grey; of
    several runs the spectrum of each.

    Args:
        runs: One or several.
        step: Optimiser step, of which the newest reading up to it counts; the last by default.
        layer: Short name or path; by default the layer that the newest alarm is about, or the last.
        source: Name of the evaluation set; each run's primary one by default.
        theme: ``"light"`` or ``"dark"``.

    Returns:
        The figure: a panel for each level. Traces' ``meta`` has the ``role`` "now", "usual", "healthy" or "others".
    """
    levels = list(dict.fromkeys(level for run in runs for level in run.levels))
    label = layer or focus_layer(runs[0])
    label = next((row.label for row in runs[0].layers if row.layer == label), label)
    figure = panels([f"{label}, {level} level" for level in levels])
    for number, run in enumerate(runs):
        for column, level in enumerate(levels):
            for role, curve in spectrum_curves(run, label, level, source or run.primary, step).items():
                if len(runs) > 1 and role != "now":
                    continue
                trace = go.Scatter(
                    x=curve[0],
                    y=curve[1],
                    mode="lines",
                    line=_line(role, runs, number, label, theme),
                    name=plain(run.name, most=60) if len(runs) > 1 else _NAMES[role],
                    legendgroup=role if len(runs) == 1 else str(number),
                    showlegend=not column,
                    hovertemplate="singular value %{x:.0f}: <b>%{y:.2g}</b>" if role != "others" else None,
                    hoverinfo="skip" if role == "others" else None,
                    meta={"run": number, "level": level, "role": role},
                )
                figure.add_trace(trace, row=1, col=column + 1)
    dress(figure, theme, 300, steps=False)
    figure.update_xaxes(type="log", title_text="singular value number", nticks=6)
    figure.update_yaxes(type="log", range=[-6.3, 0.15], dtick=1, exponentformat="power")
    return with_legend(figure)


_NAMES = {
    "now": "at this step",
    "usual": "usual (mean in health)",
    "healthy": "last healthy",
    "others": "other layers",
}

_Curve = tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]


def spectrum_curves(run: RecordedRun, label: str, level: str, source: str, step: int | None) -> Mapping[str, _Curve]:
    """The curves of one panel.

    Args:
        run: What was recorded.
        label: The layer's short name.
        level: ``"frame"`` or ``"utterance"``.
        source: Name of the evaluation set.
        step: Optimiser step; None for the last.

    Returns:
        x and y of "others", "usual", "healthy" and "now", as far as they are there, in the order of drawing.
    """
    found: dict[str, _Curve] = {}
    others: list[npt.NDArray[np.float64]] = []
    for row in run.layers:
        key = (source, level, row.layer)
        spectra_of = run.spectra.get(key)
        if spectra_of is None:
            continue
        now = _at(spectra_of, step)
        if row.label != label:
            if now is not None:
                others += [np.append(now[0], np.nan), np.append(now[1], np.nan)]
            continue
        usual = usual_codes(run, key)
        if usual is not None:
            found["usual"] = (positions(spectra_of.width, len(usual)), decode(usual))
        healthy = last_healthy_step(run)
        before = None if healthy is None else _at(spectra_of, healthy)
        if before is not None:
            found["healthy"] = before
        if now is not None:
            found["now"] = now
    grey = {"others": (np.concatenate(others[::2]), np.concatenate(others[1::2]))} if others else {}
    return {**grey, **found}


def usual_codes(run: RecordedRun, key: Key) -> npt.NDArray[np.uint8] | None:
    """A layer's mean spectrum over the readings at which no alarm of it held, without the first four.

    Args:
        run: What was recorded.
        key: The curve.

    Returns:
        Codes (see `rankwatch.reporting.recorded.spectrum_codes`), shape ``(positions,)``; the mean is taken of
        logarithms. None where there is no spectrum.
    """
    spectra_of = run.spectra.get(key)
    if spectra_of is None:
        return None
    clean = np.isin(spectra_of.steps, run.steps[clean_readings(run, key)])
    clean = clean if clean.any() else np.ones(len(spectra_of.steps), dtype=bool)
    settled = np.flatnonzero(clean)[_SETTLED:]
    chosen = spectra_of.codes[settled if len(settled) else clean]
    there = chosen != MISSING
    count = there.sum(axis=0)
    mean = np.where(there, chosen, 0).sum(axis=0) / np.maximum(count, 1)
    return np.where(count > 0, np.round(mean), MISSING).astype(np.uint8)


def focus_layer(run: RecordedRun) -> str:
    """Short name of the layer to look at first: that of the most severe alarm still open, or else the last."""
    labels = {row.layer: row.label for row in run.layers}
    spans = alarm_spans(run)
    alarms = [alarm for span in [s for s in spans if s.is_open] or spans for alarm in span.alarms]
    hit = [labels[alarm.layer] for alarm in alarms if alarm.layer in labels]
    return hit[0] if hit else run.layers[-1].label if run.layers else ""


def _at(spectra_of: Spectra, step: int | None) -> _Curve | None:
    place = len(spectra_of.steps) if step is None else int(np.searchsorted(spectra_of.steps, step, side="right"))
    if not place:
        return None
    codes = spectra_of.codes[place - 1]
    return positions(spectra_of.width, len(codes)), decode(codes)


def _line(role: str, runs: Sequence[RecordedRun], number: int, label: str, theme: Theme) -> dict[str, object]:
    if len(runs) > 1:
        return {"color": RUN_COLOURS[number % len(RUN_COLOURS)], "width": 2}
    if role == "now":
        labels = [row.label for row in runs[0].layers]
        depth = labels.index(label) if label in labels else 0
        return {"color": depth_colours(max(len(labels), 1), theme)[depth], "width": 2.6}
    looks = {
        "usual": (NEUTRAL, 1.6, "dash"),
        "healthy": (CALM_COLOUR, 1.6, "dot"),
        "others": ("rgba(138,143,152,0.35)", 0.8, "solid"),
    }
    colour, width, dash = looks[role]
    return {"color": colour, "width": width, "dash": dash}
