"""What the API pages show otherwise than the source: defaults by their values, formulas without Sphinx's marks."""

from __future__ import annotations

import re
from typing import Any

import griffe

from rankwatch.arguments.settings import Settings


class ReadableSource(griffe.Extension):
    """Writes ``500`` where a signature says ``Settings.every_n_steps``, and formulas as code."""

    def on_function(self, *, func: griffe.Function, **_: Any) -> None:
        """Look at each parameter of one function."""
        for parameter in func.parameters:
            default = str(parameter.default or "")
            if default.startswith("Settings."):
                parameter.default = repr(getattr(Settings, default.removeprefix("Settings.")))

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Look at one docstring; nothing on the site draws formulas, which would take a script from elsewhere."""
        if obj.docstring is not None:
            text = re.sub(r":math:(`[^`]+`)", r"\1", obj.docstring.value)
            obj.docstring.value = re.sub(r"^( *)\.\. math:: ", r"\1    ", text, flags=re.MULTILINE)
