"""Up to 2.20, TensorBoard imports what setuptools 82 has taken out; `rankwatch inspect` says so and goes on."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import sys
import types
from collections.abc import Callable
from typing import Any

import pytest
import torch

from rankwatch.cli import main
from rankwatch.reporting.tensorboard_page import installed_tensorboard
from rankwatch.reporting.tensorboard_page.installed_tensorboard import tensorboard_problem

Install = Callable[[str, bool], None]


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> Install:
    def put(version: str, pkg_resources: bool) -> None:
        real = importlib.util.find_spec

        def find_spec(name: str, *rest: Any) -> Any:
            return (object() if pkg_resources else None) if name == "pkg_resources" else real(name, *rest)

        monkeypatch.setattr(importlib.metadata, "version", lambda name: version)
        monkeypatch.setattr(installed_tensorboard.importlib.util, "find_spec", find_spec)

    return put


@pytest.mark.parametrize(
    ("version", "pkg_resources", "said"),
    [("2.20.0", False, True), ("2.14.1", False, True), ("2.20.0", True, False), ("2.21.0", False, False)],
)
def test_only_an_old_release_without_what_it_imports_is_a_problem(
    installed: Install, version: str, pkg_resources: bool, said: bool
) -> None:
    installed(version, pkg_resources)
    assert ("pip install 'tensorboard>=2.21'" in tensorboard_problem()) == said


def test_without_tensorboard_there_is_nothing_to_say(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> str:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "version", missing)
    assert tensorboard_problem() == ""


def test_inspect_says_it_and_its_status_is_that_of_the_model(
    installed: Install, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    installed("2.20.0", False)
    layer = torch.nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
    module = types.SimpleNamespace(encoder=torch.nn.TransformerEncoder(layer, 2), batch=lambda: torch.randn(3, 20, 8))
    monkeypatch.setitem(sys.modules, "own_model", module)
    assert main(["inspect", "own_model:encoder", "--batch", "own_model:batch"]) == 0
    assert "TensorBoard 2.20.0 can't be started here" in capsys.readouterr().err
