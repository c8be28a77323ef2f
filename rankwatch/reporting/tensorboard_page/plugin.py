"""TensorBoard's side of the page: its name, when it is shown, and the few addresses that it answers."""

from __future__ import annotations

import functools
import gzip
import importlib.metadata
import threading
from collections.abc import Callable, Iterable
from importlib import resources
from typing import Any

from tensorboard import plugin_util
from tensorboard.backend import http_util
from tensorboard.plugins import base_plugin
from werkzeug import wrappers

from rankwatch.reporting.page.html_page import json_text, page_script, page_style, plotly_script
from rankwatch.reporting.tensorboard_page.answers import Answers
from rankwatch.reporting.tensorboard_page.log_search import log_folders
from rankwatch.reporting.tensorboard_page.served_runs import ServedData

_MOST_NAMES = 32
_PATIENCE = 2.0  # seconds that the list of TensorBoard's tabs may wait for a search of the log folders
_DAY = 86_400

App = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


class RankWatchPlugin(base_plugin.TBPlugin):  # type: ignore[misc]
    """The tab.

    Every address is one of a fixed table, and what a request names is looked up among what the search has found: no
    path is ever made of it.

    Args:
        context: TensorBoard's.
    """

    plugin_name = "rankwatch"

    def __init__(self, context: base_plugin.TBContext) -> None:
        spec = getattr(context.flags, "logdir_spec", "") if context.flags is not None else ""
        self._provider = context.data_provider
        self._answers = Answers(log_folders(context.logdir or "", spec or ""))
        self._any = False
        self._looking: threading.Thread | None = None

    def get_plugin_apps(self) -> dict[str, App]:
        """Everything that is answered, by its address."""
        return {
            "/index.js": _app(lambda request: _text(request, _own_file("index.js"), "text/javascript")),
            "/page.js": _app(lambda request: _text(request, page_script(), "text/javascript")),
            "/page.css": _app(lambda request: _text(request, page_style() + _own_file("index.css"), "text/css")),
            "/plotly.js": _app(_library),
            "/runs": _app(self._runs),
            "/data": _app(self._data),
        }

    def frontend_metadata(self) -> base_plugin.FrontendMetadata:
        """A page in a frame, which loads by itself what is new."""
        return base_plugin.FrontendMetadata(es_module_path="/index.js", tab_name="RankWatch", disable_reload=True)

    def is_active(self) -> bool:
        """Whether there is anything to show, as far as that is known within two seconds."""
        if not self._any and (self._looking is None or not self._looking.is_alive()):
            self._looking = threading.Thread(target=self._look, name="rankwatch looks for runs", daemon=True)
            self._looking.start()
            self._looking.join(_PATIENCE)
        return self._any

    def _look(self) -> None:
        self._any = self._answers.any_run(ServedData(self._provider))

    def _served(self, request: wrappers.Request) -> ServedData:
        context = plugin_util.context(request.environ)
        return ServedData(self._provider, context, plugin_util.experiment_id(request.environ))

    def _runs(self, request: wrappers.Request) -> Any:
        answer = self._answers.runs(self._served(request))
        return _text(request, json_text({**answer, "library": _library_version()}), "application/json")

    def _data(self, request: wrappers.Request) -> Any:
        names = request.args.getlist("run")[:_MOST_NAMES]
        answer = self._answers.data(names, request.args.get("state", ""), self._served(request))
        return _text(request, json_text(answer), "application/json")


def _app(answer: Callable[[wrappers.Request], Any]) -> App:
    application: Any = wrappers.Request.application(answer)
    return application  # type: ignore[no-any-return]


def _text(request: wrappers.Request, content: str, kind: str) -> Any:
    return http_util.Respond(request, content, kind)


def _library(request: wrappers.Request) -> Any:
    try:
        packed = _packed_library()
    except Exception:  # missing or broken; the page says what to do
        return http_util.Respond(request, "plotly can't be imported", "text/plain", code=404)
    # The page asks for each version under another address.
    return http_util.Respond(request, packed, "text/javascript", content_encoding="gzip", expires=_DAY)


@functools.lru_cache(maxsize=1)
def _packed_library() -> bytes:
    return gzip.compress(plotly_script().encode(), 5, mtime=0)


def _library_version() -> str:
    try:
        return importlib.metadata.version("plotly")
    except importlib.metadata.PackageNotFoundError:
        return ""


def _own_file(name: str) -> str:
    return resources.files("rankwatch.reporting.tensorboard_page").joinpath(name).read_text(encoding="utf-8")
