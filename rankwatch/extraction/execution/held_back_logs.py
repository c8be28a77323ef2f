"""What a forward pass tells loggers (``self.log``, a SummaryWriter) is not told while it is run for a reading."""

from __future__ import annotations

import contextlib
import fnmatch
import functools
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

_METHODS = {
    ("pytorch_lightning.core.module", "LightningModule"): ("log", "log_dict"),
    ("lightning.pytorch.core.module", "LightningModule"): ("log", "log_dict"),
    ("lightning.fabric.loggers.logger", "Logger"): ("log_*",),
    ("lightning_fabric.loggers.logger", "Logger"): ("log_*",),
    ("lightning.fabric.fabric", "Fabric"): ("log", "log_dict"),
    ("torch.utils.tensorboard.writer", "SummaryWriter"): ("add_*",),
    ("tensorboardX.writer", "SummaryWriter"): ("add_*",),
    ("wandb.sdk.wandb_run", "Run"): ("log",),
    ("wandb", ""): ("log",),
    ("mlflow", ""): ("log_*",),
    ("comet_ml", "Experiment"): ("log_*",),
    ("aim", "Run"): ("track",),
}
"""Methods, as patterns, of a class that is in a module; of the module itself where no class is named. Classes that were
derived from one count as well."""


@contextlib.contextmanager
def held_back_logs() -> Iterator[None]:
    """Known loggers hear nothing of what this thread tells them; other threads are heard as ever.

    Only what has been imported by now is looked at. What user code writes by itself, into a file, isn't held back.
    """
    thread = threading.get_ident()
    replaced: list[tuple[Any, str, Any]] = []
    try:
        for place, name in _places():
            method = vars(place)[name]
            if callable(method):
                setattr(place, name, _silent(method, thread))
                replaced.append((place, name, method))
        yield
    finally:
        for place, name, method in replaced:
            setattr(place, name, method)


def _silent(method: Callable[..., Any], thread: int) -> Callable[..., Any]:
    @functools.wraps(method)
    def held_back(*args: Any, **kwargs: Any) -> Any:
        return None if threading.get_ident() == thread else method(*args, **kwargs)

    return held_back


def _places() -> Iterator[tuple[Any, str]]:
    """Where loggers' methods are defined: each class or module, and the name."""
    for (home, name), patterns in _METHODS.items():
        module = sys.modules.get(home)
        place = getattr(module, name, None) if name else module
        places: list[Any] = [*_derived(place)] if isinstance(place, type) else [place] if place is not None else []
        for one in places:
            for method in list(vars(one)):
                if any(fnmatch.fnmatchcase(method, pattern) for pattern in patterns):
                    yield one, method


def _derived(kind: type) -> set[type]:
    found = {kind}
    derived: list[type] = kind.__subclasses__()
    for one in derived:
        found |= _derived(one)
    return found
