"""Arguments of before version 0.1, and what to write instead of them."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

_Parameters = ParamSpec("_Parameters")
_Result = TypeVar("_Result")

_ROWS = {
    "n_utterances": "n_utterances",
    "frames_per_utterance": "frames_per_utterance",
    "frames": "frame_mask",
    "frame_mask": "frame_mask",
    "lengths": "lengths",
    "projection": "projection",
    "seed": "seed",
}
_WATCH = ("levels", "codebooks", "watch_train")
_SETS = ("probe_sets", "probe_forward", "sample_rate", "max_seconds")
_SENSITIVITY = ("detectors",)

RENAMED = frozenset((*_ROWS, *_WATCH, *_SETS, *_SENSITIVITY))
"""Names that are no arguments, but whose replacement is known."""


def refuse_renamed(owner: str, arguments: Mapping[str, Any]) -> None:
    """Raise where an argument has another name now.

    Args:
        owner: The function that was called, for the message.
        arguments: Its keyword arguments.

    Raises:
        TypeError: For the first call with such arguments, with what to write instead of all of them.
    """
    names = [name for name in arguments if name in RENAMED]
    if names:
        plural = len(names) > 1
        raise TypeError(
            f"{owner}() has no {'arguments' if plural else 'argument'} {_listed(names)} (any more): instead of "
            f"{'them' if plural else 'it'}, pass {replacement(arguments)}"
        )


def refusing_renamed(
    function: Callable[_Parameters, _Result],
) -> Callable[_Parameters, _Result]:
    """A constructor that names what is to be written instead of an argument of before; its signature stays.

    Args:
        function: The ``__init__`` of a class.

    Returns:
        The same, with the check before it.
    """
    owner = function.__qualname__.split(".")[0]

    @functools.wraps(function)
    def checked(*args: _Parameters.args, **kwargs: _Parameters.kwargs) -> _Result:
        refuse_renamed(owner, kwargs)
        return function(*args, **kwargs)

    return checked


def replacement(arguments: Mapping[str, Any]) -> str:
    """Arguments that do what renamed ones did, to be copied.

    Args:
        arguments: The keyword arguments of the call.

    Returns:
        The new arguments, separated by commas.
    """
    parts = []
    if any(name in arguments for name in _WATCH):
        parts.append(f"watch={_watch(arguments)!r}")
    if any(name in arguments for name in _SETS):
        parts.append(f"eval_sets={_sets(arguments)}")
    rows = [f"{_ROWS[name]}={_literal(value)}" for name, value in arguments.items() if name in _ROWS]
    if rows:
        parts.append(f"rows=RowSampling({', '.join(rows)})")
    if "detectors" in arguments:
        parts.append(f"sensitivity={_literal(arguments['detectors'])}")
    return ", ".join(parts)


def _watch(arguments: Mapping[str, Any]) -> tuple[str, ...]:
    levels = arguments.get("levels", ("frame", "utterance"))
    watched = [levels] if isinstance(levels, str) else list(levels)
    watched += ["codebook"] if arguments.get("codebooks", True) else []
    watched += ["drift"]
    return (*watched, *(["training_pass"] if arguments.get("watch_train", False) else []))


def _sets(arguments: Mapping[str, Any]) -> str:
    about_files = "sample_rate" in arguments or "max_seconds" in arguments
    unsaid = Path("...") if about_files and arguments.get("probe_forward") is None else "first_batches"
    sets = arguments.get("probe_sets", arguments.get("eval_sets", unsaid))
    if isinstance(sets, Mapping):
        return "{" + ", ".join(f"{name!r}: {_set(one, arguments)}" for name, one in sets.items()) + "}"
    return _set(sets, arguments)


def _set(one: Any, arguments: Mapping[str, Any]) -> str:
    """One evaluation set with what belongs to it."""
    audio = [f"{name}={_literal(arguments[name])}" for name in ("sample_rate", "max_seconds") if name in arguments]
    function = arguments.get("probe_forward")
    forward = [f"forward={_literal(function)}"] if function is not None else []
    if isinstance(one, str) and one in ("auto", "first_batches"):
        return f"FirstBatches({forward[0]})" if forward else repr("first_batches")
    if isinstance(one, (str, Path)):
        path = "..." if str(one) == "..." else repr(str(one))
        return f"AudioFolder({', '.join([path, *audio, *forward])})" if audio or forward else path
    if hasattr(one, "load"):
        return f"{type(one).__name__}({', '.join(['...', *audio, *forward])})"
    return f"Loader(..., {forward[0] if forward else 'forward=f'})"


def _literal(value: Any) -> str:
    """The value as it would be written; what can't be is left out by three dots."""
    if isinstance(value, Path):
        return repr(str(value))
    if value is None or isinstance(value, (str, bool, int, float)):
        return repr(value)
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(_literal(one) for one in value) + "]"
    name = getattr(value, "__name__", "")
    return name if callable(value) and name.isidentifier() else "..."


def _listed(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
