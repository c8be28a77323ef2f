"""One figure as a picture: through kaleido where it is installed, else the two that matplotlib draws."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import plotly.graph_objects as go

from rankwatch.readings.reading import Reading
from rankwatch.readings.report import Cost, Report
from rankwatch.reporting.figures.drift_figure import drift
from rankwatch.reporting.figures.further_figures import codebooks, cost, labelled
from rankwatch.reporting.figures.health_figure import health
from rankwatch.reporting.figures.heatmap_figure import heatmap
from rankwatch.reporting.figures.rank_figure import ranks
from rankwatch.reporting.figures.spectra_figure import spectra
from rankwatch.reporting.recorded.recorded_run import RecordedRun
from rankwatch.reporting.recorded.spectrum_codes import decode
from rankwatch.runtime.files.file_actions import write

FIGURES: dict[str, Callable[[Sequence[RecordedRun]], go.Figure | None]] = {
    "ranks": ranks,
    "health": health,
    "heatmap": heatmap,
    "spectra": spectra,
    "drift": drift,
    "codebooks": codebooks,
    "labelled": labelled,
    "cost": cost,
}
ENDINGS = (".png", ".svg", ".pdf")
_WIDTH = 1200


def write_picture(path: Path, runs: Sequence[RecordedRun], name: str, *, kaleido: bool | None = None) -> None:
    """Write one figure as PNG, SVG or PDF.

    Args:
        path: Its ending says the format.
        runs: One or several.
        name: One of `FIGURES`.
        kaleido: Whether plotly's own pictures can be had; found out by default.

    Raises:
        ValueError: If there is no such figure or format, or it can't be drawn without kaleido.
    """
    if name not in FIGURES:
        raise ValueError(f"no figure {name!r}: there are {', '.join(FIGURES)}")
    if path.suffix.lower() not in ENDINGS:
        raise ValueError(f"{path.name}: a page ends in .html, a picture in {', '.join(ENDINGS)}")
    if importlib.util.find_spec("kaleido") is not None if kaleido is None else kaleido:
        figure = FIGURES[name](runs)
        if figure is None:
            raise ValueError(f"there is nothing to draw for {name!r} in {runs[0].name}")
        write(path, lambda there: figure.write_image(there, format=path.suffix[1:].lower(), width=_WIDTH, scale=2))
        return
    if name not in ("heatmap", "spectra") or path.suffix.lower() != ".png" or len(runs) > 1:
        raise ValueError(
            f"{name} as {path.suffix[1:]} needs kaleido (pip install kaleido, which draws with an installed Chrome); "
            "without it there are heatmap and spectra of one run as png"
        )
    _write_pixels(path, runs[0], name)


def _write_pixels(path: Path, run: RecordedRun, name: str) -> None:
    from matplotlib import image

    from rankwatch.reporting.pictures import images

    level = run.levels[0]
    report, draw = _newest_report(run, level), images.heatmap if name == "heatmap" else images.spectra
    pixels = draw(report, run.header, level)
    if pixels is None:
        raise ValueError(f"there is nothing to draw for {name!r} in {run.name}")
    write(path, lambda there: image.imsave(there, pixels, format="png"))


def _newest_report(run: RecordedRun, level: str) -> Report:
    """As much of the newest report as the pictures are drawn from."""
    readings = []
    table = []
    for row in run.layers:
        key = (run.primary, level, row.layer)
        curve, found = run.curves.get(key), run.spectra.get(key)
        table.append([float("nan")] * len(run.steps) if curve is None else [float(value) for value in curve.values])
        if curve is not None and found is not None:
            spectrum = tuple(float(value) for value in np.nan_to_num(decode(found.codes[-1])))
            readings.append(_reading(run, key, found.width, spectrum, int(found.steps[-1])))
    steps = [int(step) for step in run.steps]
    return Report(
        steps[-1] if steps else 0, readings, (), (), 1.0, 0, {}, {(run.primary, level): (steps, table)}, "", Cost({})
    )


def _reading(
    run: RecordedRun, key: tuple[str, str, str], width: int, spectrum: tuple[float, ...], step: int
) -> Reading:
    source, level, layer = key
    protocol = run.protocols[run.curves[key].protocol]
    return Reading(
        step, source, level, layer, 1.0, None, None, None, {}, frozenset(), 0, width, None, protocol, spectrum
    )
