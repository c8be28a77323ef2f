"""What a forward pass tells loggers (``self.log``, a SummaryWriter) is not told while it is run for a reading."""

from __future__ import annotations

import contextlib
import fnmatch
import functools
import sys
import threading
from collections import Counter
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


_lock = threading.RLock()
_silenced: Counter[int] = Counter()  # threads, and how often each is within `held_back_logs`
_replaced: dict[tuple[Any, str], tuple[Any, Any]] = {}  # methods of classes: what they were, and what stands for them


@contextlib.contextmanager
def held_back_logs() -> Iterator[None]:
    """Known loggers hear nothing of what this thread tells them; other threads are heard as ever.

    Only what has been imported by now is looked at. What user code writes by itself, into a file, isn't held back. Two
    threads may be within at once: methods are put back when the last one is out.
    """
    thread = threading.get_ident()
    with _lock:
        _silenced[thread] += 1
    try:
        with _lock:
            _replace()
        yield
    finally:
        with _lock:
            _silenced[thread] -= 1
            if not _silenced[thread]:
                del _silenced[thread]
            if not _silenced:
                _put_back()


def _replace() -> None:
    for place, name in _places():
        method = vars(place)[name]
        known = _replaced.get((place, name))
        if callable(method) and (known is None or method is not known[1]):
            _replaced[place, name] = method, _silent(method)
            setattr(place, name, _replaced[place, name][1])


def _put_back() -> None:
    """What somebody has put over ours in the meantime stays, and is heard through ours."""
    for (place, name), (method, ours) in _replaced.items():
        if vars(place).get(name) is ours:
            setattr(place, name, method)
    _replaced.clear()


def _silent(method: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(method)
    def held_back(*args: Any, **kwargs: Any) -> Any:
        return None if _silenced[threading.get_ident()] else method(*args, **kwargs)

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
