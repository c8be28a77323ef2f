"""TensorBoard's entry point: it must load, whatever is wrong with the rest."""

from __future__ import annotations

import ast
import importlib.abc
import importlib.util
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tensorboard.backend.application import TensorBoardWSGI, make_plugin_loader
from tensorboard.plugins.base_plugin import TBContext
from tensorboard.plugins.text.text_plugin import TextPlugin
from werkzeug.test import Client

import rankwatch
from rankwatch import tensorboard_plugin
from rankwatch.tensorboard_plugin import RankWatchLoader

PAGE = "rankwatch.reporting.tensorboard_page"


def test_the_entry_point_is_this_loader() -> None:
    project = Path(rankwatch.__file__).parents[1] / "pyproject.toml"
    assert 'rankwatch = "rankwatch.tensorboard_plugin:RankWatchLoader"' in project.read_text()
    assert isinstance(make_plugin_loader(RankWatchLoader), RankWatchLoader)


def test_nothing_but_the_standard_library_and_tensorboard_is_imported_outside_of_the_guard() -> None:
    for file in (tensorboard_plugin.__file__, rankwatch.__file__):
        tree = ast.parse(Path(file).read_text())
        names = [
            name
            for node in tree.body
            if isinstance(node, (ast.Import, ast.ImportFrom))
            for name in ([node.module] if isinstance(node, ast.ImportFrom) else [alias.name for alias in node.names])
        ]
        others = [name for name in names if name.split(".")[0] not in sys.stdlib_module_names]
        assert set(others) <= {"tensorboard.plugins", "rankwatch._version"}


def test_neither_tensorboard_nor_a_report_loads_torch() -> None:
    """TensorBoard loads it for every user of the environment, and torch would be half a gigabyte and seconds."""
    names = [f"{PAGE}.plugin", "rankwatch.report", "rankwatch.figures"]
    names += ["rankwatch.reporting.page.page_data"] if importlib.util.find_spec("plotly") else []
    program = f"import sys, {', '.join(names)}; print(sorted({{'torch', 'lightning'}} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


class Broken(importlib.abc.MetaPathFinder):
    """Finds that a module can't be imported."""

    def find_spec(self, name: str, path: Any, target: Any = None) -> None:
        if name.startswith(f"{PAGE}.plugin"):
            raise SyntaxError("invalid syntax </script> \u2028 é")


def test_with_a_syntax_error_inside_tensorboard_starts_and_shows_the_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.startswith(PAGE)]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(sys, "meta_path", [Broken(), *sys.meta_path])
    context = TBContext(logdir="nowhere")
    plugins = [RankWatchLoader().load(context), TextPlugin(context)]
    client = Client(TensorBoardWSGI(plugins))
    listing = client.get("/data/plugins_listing").get_json()
    assert set(listing) == {"rankwatch", "text"}
    assert not listing["rankwatch"]["enabled"]
    script = client.get("/data/plugin/rankwatch/index.js")
    assert script.headers["X-Content-Type-Options"] == "nosniff"
    assert "javascript" in script.headers["Content-Type"]
    text = script.get_data(as_text=True)
    assert "SyntaxError: invalid syntax" in text
    assert all(text.count(pair[0]) == text.count(pair[1]) for pair in ("{}", "()", "[]"))
    assert "pip install" in text
    assert "\u2028" not in text
    assert client.get("/data/plugin_entry.html?name=rankwatch").status_code == 200
