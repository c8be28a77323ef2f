"""Defaults of arguments in the API pages: their values, where a signature names them as `Settings.every_n_steps`."""

from __future__ import annotations

from typing import Any

import griffe

from rankwatch.arguments.settings import Settings


class ArgumentDefaults(griffe.Extension):
    """Writes ``500`` where the source says ``Settings.every_n_steps``."""

    def on_function(self, *, func: griffe.Function, **_: Any) -> None:
        """Look at each parameter of one function."""
        for parameter in func.parameters:
            name = str(parameter.default or "").removeprefix("Settings.")
            if str(parameter.default or "").startswith("Settings."):
                parameter.default = repr(getattr(Settings, name))
