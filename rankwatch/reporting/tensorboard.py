"""TensorBoard: scalars, the Custom Scalars layout, two pictures, and texts."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from typing import Any

from rankwatch.readings.alarm import Alarm
from rankwatch.readings.codebook_reading import AnyReading
from rankwatch.readings.protocol import Protocol
from rankwatch.readings.report import Report, RunEnd, RunHeader
from rankwatch.reporting import markdown_text as text
from rankwatch.reporting.chart_plan import CHART_LIMIT, ChartPlan, custom_scalars, plan_charts
from rankwatch.reporting.pictures import images as pictures
from rankwatch.reporting.pictures.canvas import Image
from rankwatch.reporting.pictures.picture_schedule import PictureSchedule
from rankwatch.reporting.tags import Tags, scalars


class TensorBoardReporter:
    """Draws the planned charts; see `rankwatch.reporting.tags` for their names.

    The x axis is the optimiser step. Pictures are drawn at the 3rd, 12th, 22nd, 32nd ... reading, in short runs
    later, so that they take at most 0.5 % of the time; and always when an episode begins or grows worse, and
    at the end. The texts of a run stand at the step of its first reading.

    Args:
        writer: What Lightning's ``TensorBoardLogger.experiment`` is: anything with ``add_scalar``,
            ``add_image``, ``add_text``, ``add_custom_scalars`` and ``flush`` like SummaryWriter's.
        limit: Most scalar charts, or None for all.
        images: Whether pictures are drawn at all.
        clock: Tells the time, in seconds.
    """

    def __init__(
        self,
        writer: Any,
        limit: int | None = CHART_LIMIT,
        *,
        images: bool = True,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._writer = writer
        self._limit = limit
        self._images = images
        self._plan = ChartPlan(())
        self._written: set[str] = set()
        self._protocols: set[Protocol] = set()
        self._alarms: list[Alarm] = []
        self._taken = 0
        self._alarmed = False
        self._status_at = -1
        self._schedule = PictureSchedule(clock)
        self._undrawn: Report | None = None

    def start(self, header: RunHeader) -> None:
        """Remember what the run is; it is written with the first report, at its step."""
        self._header, self._tags = header, Tags.of(header)
        self._schedule.start()

    def report(self, report: Report) -> None:
        """Write everything about one reading step."""
        self._taken += 1
        self._scalars(report)
        self._texts(report)
        self._alarms += report.alarms
        self._undrawn = report
        if self._schedule.due(bool(report.message)):
            self._draw()
        self._writer.flush()

    def settle(self) -> None:
        """Draw the last reading, if it wasn't."""
        self._draw()

    def end(self, end: RunEnd) -> None:
        """Write the summary."""
        self._text("summary", f"{text.end_text(end, self._tags.name)}\n\n{self._plan.sentence()}", end.step)
        self._writer.flush()

    def _scalars(self, report: Report) -> None:
        self._plan = plan_charts(self._header, report.summary, self._limit, self._plan.drawn)
        values = scalars(report, self._tags)
        there = [tag for tag in self._plan.drawn if tag in values]
        for tag in there:
            self._writer.add_scalar(tag, values[tag], report.step)
        if not self._written.issuperset(there):
            self._written.update(there)
            self._lay_out()

    def _lay_out(self) -> None:
        """Write the layout, with that of other callbacks on this writer: a run has room for one only."""
        others = getattr(self._writer, "rankwatch_layout", None)
        layout = dict(others) if isinstance(others, dict) else {}  # some writers have an answer to every name
        layout.update(custom_scalars(self._header, [tag for tag in self._plan.drawn if tag in self._written]))
        with contextlib.suppress(AttributeError):
            self._writer.rankwatch_layout = layout
        self._writer.add_custom_scalars(layout)

    def _texts(self, report: Report) -> None:
        step = report.step
        if self._taken == 1:
            self._text("layers", f"{text.layers_text(self._header)}\n\n{self._plan.sentence()}", step)
        readings: list[AnyReading] = [*report.readings, *report.codebooks]
        protocols = {reading.protocol for reading in readings}
        if not self._protocols.issuperset(protocols):
            self._protocols |= protocols
            self._text("protocol", text.protocols_text(readings), step)
        all_clear = self._alarmed and not report.open_alarms
        self._alarmed = bool(report.open_alarms)
        if self._taken == 1 or report.alarms or report.message or all_clear:
            self._status(report)

    def _status(self, report: Report) -> None:
        if report.step != self._status_at:
            self._status_at = report.step
            self._text("alarms", text.status_text(report, self._tags), report.step)

    def _text(self, what: str, markdown: str, step: int) -> None:
        self._writer.add_text(self._tags.top(what), markdown, step)

    def _draw(self) -> None:
        report, self._undrawn = self._undrawn, None
        if report is None:
            return
        with self._schedule.timed():
            self._status(report)
            self._text("readings", text.readings_text(report, self._tags), report.step)
            if not self._images:
                return
            for level in self._header.levels:
                self._image("heatmap", level, report.step, pictures.heatmap(report, self._header, level, self._alarms))
                self._image("spectra", level, report.step, pictures.spectra(report, self._header, level))

    def _image(self, what: str, level: str, step: int, pixels: Image | None) -> None:
        if pixels is not None:
            self._writer.add_image(self._tags.picture(what, level), pixels, step, dataformats="HWC")
