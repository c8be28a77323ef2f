"""Interactive figures of runs, in a notebook or a script: ``rankwatch.figures.ranks("RUN.jsonl")``.

Each function takes one run or several: the path of its ``.jsonl`` file or of the folder that holds it, or what
`open_run` and `run_from_readings` give. It returns a ``plotly.graph_objects.Figure``; a notebook shows it,
``.write_html`` and (with kaleido) ``.write_image`` write it. They need ``pip install "rankwatch[report]"``.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rankwatch.report import open_run
from rankwatch.reporting.recorded.from_readings import run_from_readings
from rankwatch.reporting.recorded.recorded_run import RecordedRun

if TYPE_CHECKING:
    import plotly.graph_objects as go

__all__ = [
    "codebooks",
    "cost",
    "drift",
    "health",
    "heatmap",
    "labelled",
    "open_run",
    "ranks",
    "run_from_readings",
    "spectra",
]

OneRun = str | Path | RecordedRun
Runs = OneRun | Sequence[OneRun]
"""A run or several: paths, or runs that were read."""


def ranks(
    runs: Runs, *, layers: Sequence[str] | None = None, relative: bool = False, theme: str = "light"
) -> go.Figure:
    """Effective rank of each layer over steps, with its 90 % interval.

    Args:
        runs: One run, or several that are laid over each other.
        layers: Short names (``"L07"``) or paths; by default all layers of one run, the last of several.
        relative: In per cent of each layer's own reference instead of dimensions.
        theme: ``"light"`` or ``"dark"``.

    Returns:
        The figure. Runs that were read under different protocols raise ValueError with what differs.
    """
    return _draw("rank_figure", "ranks", runs, layers=layers, relative=relative, theme=theme)


def health(runs: Runs, *, theme: str = "light") -> go.Figure:
    """Health over steps, a bar for each alarm, and the training loss where a logger has it.

    Args:
        runs: One run or several.
        theme: ``"light"`` or ``"dark"``.

    Returns:
        The figure.
    """
    return _draw("health_figure", "health", runs, theme=theme)


def heatmap(runs: Runs, *, relative: bool = False, source: str | None = None, theme: str = "light") -> go.Figure:
    """Effective rank over layer and step as colour.

    Args:
        runs: One run or several.
        relative: In per cent of each layer's own reference instead of dimensions.
        source: Name of the evaluation set; the primary one by default.
        theme: ``"light"`` or ``"dark"``.

    Returns:
        The figure.
    """
    return _draw("heatmap_figure", "heatmap", runs, relative=relative, source=source, theme=theme)


def spectra(
    runs: Runs, *, step: int | None = None, layer: str | None = None, source: str | None = None, theme: str = "light"
) -> go.Figure:
    """Singular values of a layer at a step, against its usual and its last healthy ones.

    Args:
        runs: One run or several.
        step: Optimiser step; the last reading by default.
        layer: Short name or path; by default the layer that the newest alarm is about, or the last.
        source: Name of the evaluation set; the primary one by default.
        theme: ``"light"`` or ``"dark"``.

    Returns:
        The figure.
    """
    return _draw("spectra_figure", "spectra", runs, step=step, layer=layer, source=source, theme=theme)


def drift(runs: Runs, *, theme: str = "light") -> go.Figure:
    """How far each layer of the primary set has moved: since the full reading before, and since the first one.

    Args:
        runs: One run or several; of several the last layer of each.
        theme: ``"light"`` or ``"dark"``.

    Returns:
        The figure; ValueError where no drift was read.
    """
    return _draw("drift_figure", "drift", runs, theme=theme)


def codebooks(runs: Runs, *, theme: str = "light") -> go.Figure:
    """How evenly quantizers use their codes.

    Args:
        runs: One run or several.
        theme: ``"light"`` or ``"dark"``.

    Returns:
        The figure; ValueError where no quantizer was read.
    """
    return _draw("further_figures", "codebooks", runs, theme=theme)


def labelled(runs: Runs, *, theme: str = "light") -> go.Figure:
    """Accuracy of a linear probe on labelled clips, of each layer.

    Args:
        runs: One run or several.
        theme: ``"light"`` or ``"dark"``.

    Returns:
        The figure; ValueError where no set has labels.
    """
    return _draw("further_figures", "labelled", runs, theme=theme)


def cost(runs: Runs, *, theme: str = "light") -> go.Figure:
    """What watching takes of the run's time.

    Args:
        runs: One run or several.
        theme: ``"light"`` or ``"dark"``.

    Returns:
        The figure; ValueError where no cost was recorded.
    """
    return _draw("further_figures", "cost", runs, theme=theme)


def _draw(module: str, name: str, runs: Runs, **options: Any) -> go.Figure:
    import importlib

    several = [runs] if isinstance(runs, (str, Path, RecordedRun)) else list(runs)
    opened = [run if isinstance(run, RecordedRun) else open_run(run) for run in several]
    try:
        draw = getattr(importlib.import_module(f"rankwatch.reporting.figures.{module}"), name)
    except ModuleNotFoundError as error:
        if not (error.name or "").startswith("plotly"):
            raise
        raise ModuleNotFoundError("figures need plotly: pip install 'rankwatch[report]'", name=error.name) from error
    figure = draw(opened, **options)
    if figure is None:
        raise ValueError(f"there is nothing to draw for {name!r} in {', '.join(run.name for run in opened)}")
    return figure
