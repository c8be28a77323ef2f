"""Heatmap and spectra for loggers other than TensorBoard that take pictures: Weights & Biases, MLflow, Comet."""

from __future__ import annotations

import functools
import inspect
import re
import time
from collections.abc import Callable
from typing import Any

from rankwatch.readings.alarm import Alarm
from rankwatch.readings.report import Report, RunEnd, RunHeader
from rankwatch.reporting.pictures import images
from rankwatch.reporting.pictures.canvas import Image
from rankwatch.reporting.pictures.picture_schedule import PictureSchedule
from rankwatch.reporting.tags import Tags

Put = Callable[[str, Image, int], Any]
"""Takes a picture's name, its pixels of shape (height, width, 3), and the optimiser step."""


def takes_pictures(logger: Any, experiment: Any) -> Put | None:
    """How a logger is given a picture.

    Args:
        logger: One of Lightning's.
        experiment: Its `experiment`, or None where that can't be had.

    Returns:
        A function, or None for a logger that takes none, or that isn't known.
    """
    own, inner = _parameters(logger), _parameters(experiment)
    if {"key", "images", "step"} <= own:  # WandbLogger
        return functools.partial(_to_wandb, logger)
    if {"run_id", "image"} <= inner and hasattr(logger, "run_id"):  # MLFlowLogger, whose experiment is a client
        return functools.partial(_to_mlflow, experiment, logger.run_id)
    if {"image_data", "name", "step"} <= inner:  # CometLogger
        return functools.partial(_to_comet, experiment)
    return None


def _parameters(owner: Any) -> set[str]:
    method = getattr(owner, "log_image", None)
    try:
        return set(inspect.signature(method).parameters) if callable(method) else set()
    except (TypeError, ValueError):  # of a class without a signature
        return set()


def _to_wandb(logger: Any, tag: str, pixels: Image, step: int) -> None:
    logger.log_image(key=tag, images=[pixels], step=step)


def _to_comet(experiment: Any, tag: str, pixels: Image, step: int) -> None:
    experiment.log_image(pixels, name=tag, step=step)


def _to_mlflow(client: Any, run_id: str, tag: str, pixels: Image, step: int) -> None:
    name = re.sub(r"[^\w\-./ ]", "_", tag)  # all that MLflow takes in a key
    if "key" in _parameters(client):
        client.log_image(run_id, pixels, key=name, step=step)
    else:  # before 2.13 there were no steps
        client.log_image(run_id, pixels, artifact_file=f"{name}_{step}.png")


class PictureReporter:
    """Gives a logger the two pictures of each level, as seldom as TensorBoard gets them.

    Args:
        put: Takes a picture, see `takes_pictures`.
        clock: Tells the time, in seconds.
    """

    def __init__(self, put: Put, clock: Callable[[], float] = time.perf_counter) -> None:
        self._put = put
        self._schedule = PictureSchedule(clock)
        self._alarms: list[Alarm] = []
        self._undrawn: Report | None = None

    def start(self, header: RunHeader) -> None:
        """Remember what the run is."""
        self._header, self._tags = header, Tags.of(header)
        self._schedule.start()

    def report(self, report: Report) -> None:
        """Draw, if it is time."""
        self._alarms += report.alarms
        self._undrawn = report
        if self._schedule.due(bool(report.message)):
            self._draw()

    def settle(self) -> None:
        """Draw the last reading, if it wasn't."""
        self._draw()

    def end(self, end: RunEnd) -> None:
        """Nothing is left to do."""

    def _draw(self) -> None:
        report, self._undrawn = self._undrawn, None
        if report is None:
            return
        with self._schedule.timed():
            for level in self._header.levels:
                for what, pixels in (
                    ("heatmap", images.heatmap(report, self._header, level, self._alarms)),
                    ("spectra", images.spectra(report, self._header, level)),
                ):
                    if pixels is not None:
                        self._put(self._tags.picture(what, level), pixels, report.step)
