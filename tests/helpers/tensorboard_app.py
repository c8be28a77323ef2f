"""TensorBoard's web application with the page of rankwatch's in it, asked without a server."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from recorded_runs import write_records
from tensorboard.backend.application import TensorBoardWSGI
from tensorboard.plugins.base_plugin import TBContext
from werkzeug.test import Client

from rankwatch.tensorboard_plugin import RankWatchLoader

PLUGIN = "/data/plugin/rankwatch"


def _no_constant(name: str) -> None:
    raise AssertionError(f"{name} is no JSON")


class App:
    """The application on a log folder.

    Attributes:
        client: Asks it.
        plugin: What the entry point has loaded.
    """

    def __init__(self, logdir: Path | str, *, provider: Any = None, prefix: str = "", spec: str = "") -> None:
        flags = argparse.Namespace(logdir_spec=spec)
        context = TBContext(logdir=str(logdir), data_provider=provider, flags=flags)
        self.plugin = RankWatchLoader().load(context)
        self.client = Client(TensorBoardWSGI([self.plugin], prefix, provider))
        self._prefix = prefix

    def get(self, address: str, **parts: Any) -> Any:
        """The response to a question of the page's."""
        return self.client.get(self._prefix + PLUGIN + address, query_string=parts)

    def ask(self, address: str, **parts: Any) -> dict[str, Any]:
        """Its JSON, strictly."""
        response = self.get(address, **parts)
        assert response.status_code == 200
        assert response.headers["X-Content-Type-Options"] == "nosniff"
        return json.loads(response.get_data(as_text=True), parse_constant=_no_constant)

    def names(self) -> list[str]:
        """Runs that can be chosen, sorted."""
        return sorted(run["name"] for run in self.ask("/runs")["runs"])


def lay_down(folder: Path, **options: Any) -> Path:
    """A run's records, as Lightning's logger and the callback lay them down in the logger's folder."""
    (folder / "rankwatch").mkdir(parents=True, exist_ok=True)
    sources = {"sources": ("first_batches",)}
    return write_records(folder / "rankwatch" / "RankWatch.jsonl", **{"layers": 2, "readings": 6, **sources, **options})
