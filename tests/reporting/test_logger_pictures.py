"""Heatmap and spectra for loggers with the signatures that wandb's, mlflow's and comet_ml's have."""

from __future__ import annotations

import dataclasses
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pytorch_lightning.loggers import CSVLogger
from reporting_fakes import fake_run

from rankwatch.reporting.logger_pictures import PictureReporter, takes_pictures
from rankwatch.reporting.pictures import images
from rankwatch.reporting.reporter_selection import reporters_for

LOGGED: list[tuple[str, Any, int | None]] = []


class Metrics:
    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        """As every logger of Lightning's has it."""


class WandbLike(Metrics):
    experiment = object()

    def log_image(self, key: str, images: list[Any], step: int | None = None, **kwargs: Any) -> None:
        (pixels,) = images
        LOGGED.append((key, pixels, step))


class MlflowClient:
    def log_image(
        self,
        run_id: str,
        image: Any,
        artifact_file: str | None = None,
        key: str | None = None,
        step: int | None = None,
        timestamp: int | None = None,
        synchronous: bool | None = None,
    ) -> None:
        assert (run_id, artifact_file) == ("7", None)
        LOGGED.append((str(key), image, step))


class OldMlflowClient:
    def log_image(self, run_id: str, image: Any, artifact_file: str) -> None:
        LOGGED.append((artifact_file, image, None))


class MlflowLike(Metrics):
    run_id = "7"

    def __init__(self, client: Any) -> None:
        self.experiment = client


class CometExperiment:
    def log_image(
        self,
        image_data: Any,
        name: str | None = None,
        overwrite: bool = False,
        image_format: str = "png",
        image_channels: str = "last",
        step: int | None = None,
    ) -> None:
        LOGGED.append((str(name), image_data, step))


class CometLike(Metrics):
    experiment = CometExperiment()


@pytest.fixture(autouse=True)
def _few_pixels(monkeypatch: pytest.MonkeyPatch) -> None:
    """Drawing is tested elsewhere."""
    LOGGED.clear()
    for what in ("heatmap", "spectra"):
        monkeypatch.setattr(images, what, lambda report, *rest: np.full((2, 3, 3), report.step % 251, np.uint8))


@pytest.mark.parametrize(
    "logger", [WandbLike(), MlflowLike(MlflowClient()), CometLike()], ids=["wandb", "mlflow", "comet"]
)
def test_both_pictures_of_each_level_are_logged_at_the_optimiser_step(logger: Any) -> None:
    header, reports, end = fake_run(3, 4)
    chosen = reporters_for([logger], None, lambda text: None)
    assert [type(one).__name__ for one in chosen] == ["ConsoleReporter", "ScalarReporter", "PictureReporter"]
    reporter = chosen[-1]
    reporter.start(header)
    for report in reports:
        reporter.report(dataclasses.replace(report, message=""))
    assert LOGGED == []  # a run of no time has none to spare for them
    reporter.settle()
    reporter.end(end)
    last = reports[-1].step
    names = ["heatmap_frame", "spectra_frame", "RankWatch_utterance/heatmap", "RankWatch_utterance/spectra"]
    assert [name.removeprefix("RankWatch/") for name, _, _ in LOGGED] == names
    assert [step for _, _, step in LOGGED] == [last] * 4
    assert all(pixels.shape == (2, 3, 3) and pixels[0, 0, 0] == last % 251 for _, pixels, _ in LOGGED)


def test_an_episode_is_drawn_at_once() -> None:
    header, reports, _ = fake_run(3, 2)
    put = takes_pictures(WandbLike(), None)
    assert put is not None
    reporter = PictureReporter(put)
    reporter.start(header)
    reporter.report(dataclasses.replace(reports[0], message="CRITICAL at step 250: ..."))
    assert {step for _, _, step in LOGGED} == {reports[0].step}
    reporter.settle()
    assert len(LOGGED) == 4  # it has been drawn already


def test_mlflow_without_steps_gets_a_file_for_each_and_no_name_that_it_refuses() -> None:
    put = takes_pictures(MlflowLike(OldMlflowClient()), OldMlflowClient())
    assert put is not None
    put("my run: a/heatmap_frame", np.zeros((2, 2, 3), np.uint8), 60)
    assert LOGGED[0][0] == "my run_ a/heatmap_frame_60.png"


def test_loggers_that_take_no_pictures_get_none(tmp_path: Path) -> None:
    class Other(Metrics):
        experiment = None

        def log_image(self, picture: Any) -> None:
            raise AssertionError("unknown, so it isn't called")

    for logger in (CSVLogger(tmp_path), Other(), Metrics()):
        assert takes_pictures(logger, getattr(logger, "experiment", None)) is None


def test_a_way_to_a_logger_can_be_pickled_as_the_logger_can() -> None:
    put = pickle.loads(pickle.dumps(takes_pictures(WandbLike(), None)))
    put("a", np.zeros((1, 1, 3), np.uint8), 1)
    assert LOGGED[0][0] == "a"
