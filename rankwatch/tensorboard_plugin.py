"""The entry point of the page "RankWatch" in TensorBoard.

TensorBoard imports this file whenever it starts, for whatever runs, and an error here would keep it from starting. So
only the standard library and TensorBoard's own base classes are imported, and everything else inside of a guard: where
that fails, the tab says why and what to do, and the rest of TensorBoard is as it was.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterable
from typing import Any

from tensorboard.plugins import base_plugin

_NAME, _TAB = "rankwatch", "RankWatch"
_SCRIPT = """export function render() {
  const said = document.createElement("p");
  said.textContent = %s;
  said.style.cssText = "font: 14px/1.5 system-ui, sans-serif; margin: 24px; max-width: 900px; color: #1d2733";
  document.body.style.background = "#ffffff"; // TensorBoard's dark mode doesn't reach a frame
  document.body.appendChild(said);
}
"""


class RankWatchLoader(base_plugin.TBLoader):  # type: ignore[misc]
    """Makes the page, or one that says why there is none."""

    def load(self, context: base_plugin.TBContext) -> base_plugin.TBPlugin:
        """Called once, when TensorBoard starts.

        Args:
            context: TensorBoard's.

        Returns:
            The plugin.
        """
        try:
            from rankwatch.reporting.tensorboard_page.plugin import RankWatchPlugin

            return RankWatchPlugin(context)
        except Exception as error:
            logging.getLogger(__name__).warning("the tab RankWatch can't be shown", exc_info=True)
            return FailedPlugin(
                f"This page can't be shown, since rankwatch can't be loaded ({type(error).__name__}: {error}). "
                "Install it again, with what the figures need: pip install --upgrade --force-reinstall "
                "'rankwatch[report]'. Then start TensorBoard again; its terminal has the whole error."
            )


class FailedPlugin(base_plugin.TBPlugin):  # type: ignore[misc]
    """A page of one paragraph.

    Args:
        reason: What stands there, as text.
    """

    plugin_name = _NAME

    def __init__(self, reason: str) -> None:
        self._reason = reason[:2_000]

    def get_plugin_apps(self) -> dict[str, Callable[..., Iterable[bytes]]]:
        """One address."""
        return {"/index.js": self._script}

    def frontend_metadata(self) -> base_plugin.FrontendMetadata:
        """The same tab."""
        return base_plugin.FrontendMetadata(es_module_path="/index.js", tab_name=_TAB, disable_reload=True)

    def is_active(self) -> bool:
        """Among the inactive ones: nobody has asked for it."""
        return False

    def _script(self, environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        body = (_SCRIPT % json.dumps(self._reason)).encode()
        start(
            "200 OK",
            [
                ("Content-Type", "text/javascript; charset=utf-8"),
                ("Content-Length", str(len(body))),
                ("X-Content-Type-Options", "nosniff"),
                ("Cache-Control", "no-cache, must-revalidate"),
            ],
        )
        return [body]
