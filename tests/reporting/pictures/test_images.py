"""Tests of the pictures: what must be seen can be seen."""

from __future__ import annotations

import dataclasses
import logging
import math
import sys
import threading

import matplotlib.font_manager
import numpy as np
import pytest
from reporting_fakes import fake_run

from rankwatch.reporting.pictures import images as pictures
from rankwatch.reporting.pictures.canvas import Image, canvas


def test_both_are_small_colour_pictures() -> None:
    header, reports, end = fake_run(13, 3)
    for pixels in (
        pictures.heatmap(reports[-1], header, "frame", end.alarms),
        pictures.spectra(reports[-1], header, "utterance"),
    ):
        assert pixels is not None
        assert pixels.dtype == np.uint8
        assert pixels.shape[2] == 3
        assert max(pixels.shape) < 600


def plain(pixels: Image | None) -> Image:
    assert pixels is not None
    return pixels


def test_a_collapse_darkens_the_deep_layers_and_an_alarm_is_marked() -> None:
    header, reports, end = fake_run(7, 40)
    healthy = plain(pictures.heatmap(reports[20], header, "frame"))
    collapsed = plain(pictures.heatmap(reports[-1], header, "frame"))
    upper = np.s_[60:120, 330:400]  # deep layers, late steps
    assert collapsed[upper].mean() < 0.6 * healthy[upper].mean()
    marked = plain(pictures.heatmap(reports[-1], header, "frame", end.alarms))
    orange = (marked == np.array([0xD5, 0x5E, 0x00])).all(axis=-1)
    assert orange.sum() > 20
    assert not (collapsed == np.array([0xD5, 0x5E, 0x00])).all(axis=-1).any()


def test_missing_numbers_are_grey() -> None:
    header, reports, _ = fake_run(4, 5)
    steps, rows = reports[-1].history["first_batches", "frame"]
    lost = {("first_batches", "frame"): (steps, [*rows[:-1], [math.nan] * len(steps)])}
    grey = round(0.88 * 255)

    def greys(report: object) -> int:
        pixels = plain(pictures.heatmap(report, header, "frame"))  # type: ignore[arg-type]
        return int((np.abs(pixels.astype(int) - grey) <= 1).all(axis=-1).sum())

    full, holed = greys(reports[-1]), greys(dataclasses.replace(reports[-1], history=lost))
    assert holed > full + 5000


def test_drawing_logs_nothing_and_other_threads_log_as_before(caplog: pytest.LogCaptureFixture) -> None:
    """At DEBUG level matplotlib writes 220 lines for a picture."""
    header, reports, _ = fake_run(4, 5)
    log = logging.getLogger("matplotlib.font_manager")
    filters, level = list(log.filters), log.level
    with caplog.at_level(logging.DEBUG):
        matplotlib.font_manager.fontManager._findfont_cached.cache_clear()  # as when it has drawn nothing yet
        assert pictures.heatmap(reports[-1], header, "frame") is not None
        assert not [one for one in caplog.records if one.name.startswith("matplotlib")]
        with canvas("one"):
            log.debug("ours")
            log.warning("ours, and it matters")
            thread = threading.Thread(target=log.debug, args=("the user's, meanwhile",))
            thread.start()
            thread.join()
        log.debug("the user's, afterwards")
    assert caplog.messages == ["ours, and it matters", "the user's, meanwhile", "the user's, afterwards"]
    assert (log.filters, log.level) == (filters, level)


def test_nothing_to_draw_is_no_picture() -> None:
    header, reports, _ = fake_run(3, 1)
    blank = [dataclasses.replace(reading, spectrum=()) for reading in reports[0].readings]
    assert pictures.spectra(dataclasses.replace(reports[0], readings=blank), header, "frame") is None
    assert pictures.heatmap(dataclasses.replace(reports[0], history={}), header, "frame") is None


@pytest.mark.parametrize("value", [math.nan, 0.0, 1e-12])
def test_one_layer_one_step_and_a_degenerate_spectrum_are_drawn(value: float) -> None:
    header, reports, _ = fake_run(1, 1)
    odd = [dataclasses.replace(reading, spectrum=(1.0, value)) for reading in reports[0].readings]
    report = dataclasses.replace(reports[0], readings=odd)
    assert plain(pictures.spectra(report, header, "frame")).std() > 0
    assert plain(pictures.heatmap(report, header, "frame")).std() > 0


def test_the_users_matplotlib_is_left_alone() -> None:
    header, reports, _ = fake_run(3, 2)
    pyplot_loaded, before = "matplotlib.pyplot" in sys.modules, matplotlib.rcParams.copy()
    pictures.heatmap(reports[-1], header, "frame")
    pictures.spectra(reports[-1], header, "frame")
    assert ("matplotlib.pyplot" in sys.modules) == pyplot_loaded
    assert matplotlib.rcParams.copy() == before
