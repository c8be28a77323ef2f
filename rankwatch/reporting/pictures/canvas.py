"""One panel to draw on, and what it looks like as pixels.

Drawn with matplotlib's objects on the Agg canvas: the user's pyplot state and backend are not touched.
matplotlib is imported when the first picture is drawn (about 0.5 s); a picture takes some 0.1 s.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt

Image = npt.NDArray[np.uint8]

_DPI = 110
_WIDTH, _HEIGHT = 4.6, 2.7  # inches
_STYLE: dict[Any, Any] = {
    "font.size": 8,
    "axes.titlesize": 8.5,
    "axes.labelsize": 8,
    "axes.linewidth": 0.6,
    "text.usetex": False,
    "axes.grid": False,
}


class _OtherThreads(logging.Filter):
    """Lets through what other threads log, and whatever is a warning or worse."""

    def __init__(self) -> None:
        super().__init__()
        self._ours = threading.get_ident()

    def filter(self, record: logging.LogRecord) -> bool:
        return record.thread != self._ours or record.levelno >= logging.WARNING


@contextmanager
def _quiet_logs() -> Iterator[None]:
    """Drop what matplotlib logs below a warning (220 lines at DEBUG level) while this thread draws.

    No level and no handler is changed: what the user draws in other threads, or afterwards, is logged as before.
    Loggers that an import inside makes are not covered: enter once more after it.
    """
    known = [name for name in list(logging.root.manager.loggerDict) if name.partition(".")[0] == "matplotlib"]
    loggers = [logging.getLogger(name) for name in {"matplotlib", "matplotlib.font_manager", *known}]
    others = _OtherThreads()
    for logger in loggers:
        logger.addFilter(others)
    try:
        yield
    finally:
        for logger in loggers:
            logger.removeFilter(others)


@contextmanager
def canvas(title: str, *, right: float = 0.52) -> Iterator[tuple[Any, Any]]:
    """A figure with one panel, in our style whatever the user's is.

    As large as TensorBoard shows it. The margins are given, in inches: letting matplotlib find them takes
    three times as long as the drawing.

    Args:
        title: Stands above the panel.
        right: Inches to the right of the panel, for a key or a colour bar.

    Yields:
        The figure and its axes.
    """
    with _quiet_logs():
        import matplotlib
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

    left, bottom, top = 0.48, 0.4, 0.25
    with _quiet_logs(), matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(_WIDTH, _HEIGHT), dpi=_DPI, facecolor="white")
        FigureCanvasAgg(figure)
        size = ((_WIDTH - left - right) / _WIDTH, (_HEIGHT - bottom - top) / _HEIGHT)
        ax = figure.add_axes((left / _WIDTH, bottom / _HEIGHT, *size))
        ax.set_title(title, parse_math=False)  # names of models and sets are text
        yield figure, ax


def pixels(figure: Any) -> Image:
    """What a figure looks like, (height, width, 3)."""
    figure.canvas.draw()
    return np.array(figure.canvas.buffer_rgba())[..., :3]
