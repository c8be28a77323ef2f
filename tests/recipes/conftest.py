"""What recipes of other libraries leave behind is taken away before other tests run."""

from __future__ import annotations

import sys
from typing import Any

import pytest


@pytest.fixture(autouse=True, scope="module")
def _no_lazy_modules_are_left() -> Any:
    """SpeechBrain leaves modules behind that raise when `inspect`, which hypothesis uses, looks at them."""
    yield
    for name in [name for name, module in sys.modules.items() if "Redirect" in type(module).__name__]:
        if name.startswith("speechbrain"):
            del sys.modules[name]
