"""The arguments of a run as plain data, which its records hold, and back: so that a replay reads as the run did."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from rankwatch.arguments.named_sets import EvalSource
from rankwatch.arguments.settings import Settings
from rankwatch.extraction.eval_sets.eval_set_sources import AudioFolder, FirstBatches, Loader
from rankwatch.extraction.eval_sets.labelled_set import LabelledSet
from rankwatch.extraction.rows.sampling_options import RowSampling
from rankwatch.runtime.import_path import import_function

_OWN = "a function of its own"
"""Stands for a function that no import path names."""

_KINDS: dict[str, Any] = {"FirstBatches": FirstBatches, "AudioFolder": AudioFolder, "LabelledSet": LabelledSet}
_TAKEN_OVER = ("every_n_steps", "layers", "watch", "sensitivity", "name")


def plain_settings(settings: Settings) -> dict[str, Any]:
    """What decides which numbers a run reads and which alarms it raises.

    Args:
        settings: The user's arguments.

    Returns:
        Strings, numbers, lists and dicts. Functions become their import path, or a word where they have none.
    """
    plain: dict[str, Any] = {name: _plain(getattr(settings, name)) for name in _TAKEN_OVER}
    plain["rows"] = {one.name: _plain(getattr(settings.rows, one.name)) for one in dataclasses.fields(RowSampling)}
    plain["eval_sets"] = {name: _plain_set(source) for name, source in settings.sets.items()}
    return plain


def arguments_from(plain: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments of `Settings` from what `plain_settings` gave.

    Args:
        plain: Likewise.

    Returns:
        The arguments; evaluation sets that can't be made again are left out.

    Raises:
        ValueError: If something was a function without an import path, or detectors of the user's own, or a function
            that isn't there any more; with what to pass instead.
    """
    arguments = {name: plain[name] for name in _TAKEN_OVER if name in plain}
    if arguments.get("sensitivity") == _OWN:
        raise ValueError("the run had detectors of its own, which its records don't hold: pass sensitivity as well")
    known = {one.name for one in dataclasses.fields(RowSampling)}
    rows = {name: value for name, value in plain.get("rows", {}).items() if name in known}
    if rows.get("lengths") == _OWN:
        raise ValueError(
            "the run's lengths came from a function of its own (rows.lengths), which its records don't hold"
        )
    if ":" in str(rows.get("lengths", "")):
        rows["lengths"] = import_function(rows["lengths"])
    arguments["rows"] = RowSampling(**rows)
    return arguments


def set_from(plain: Mapping[str, Any], forward: str | Callable[..., Any] | None = None) -> EvalSource | None:
    """One evaluation set as the run had it.

    Args:
        plain: Of `plain_settings`, one of its sets.
        forward: What runs the set's batches, instead of the run's own function.

    Returns:
        The set; None for a dataloader of the user's own, which no record holds.

    Raises:
        ValueError: If the run's `forward` has no import path and none is passed.
    """
    kind = _KINDS.get(plain["kind"])
    if kind is None:
        return None
    arguments = {name: value for name, value in plain.items() if name != "kind"}
    if forward is not None and arguments.get("forward") is not None:
        arguments["forward"] = forward
    if arguments.get("forward") == _OWN:
        raise ValueError(
            f"the run's set ran its batches by a function without an import path ({plain['kind']}(forward=...)), which "
            "its records don't hold: pass it as forward"
        )
    found: EvalSource = kind(**arguments)
    return found


def _plain_set(source: EvalSource) -> dict[str, Any]:
    kind = type(source).__name__
    if isinstance(source, AudioFolder):
        names = ("path", "sample_rate", "max_seconds", "encoding", "forward")
        return {"kind": kind, **{name: _plain(getattr(source, name)) for name in names}}
    if isinstance(source, LabelledSet):
        return {"kind": kind, **{name: _plain(value) for name, value in source.arguments.items()}}
    return {"kind": kind, "forward": _plain(source.forward)} if isinstance(source, (FirstBatches, Loader)) else {}


def _plain(value: Any) -> Any:
    if isinstance(value, Path):
        return str(value.absolute())
    if value is None or isinstance(value, (str, bool, int, float)):
        return value
    if isinstance(value, Mapping):
        return {str(name): _plain(one) for name, one in value.items()}
    if isinstance(value, (list, tuple)) and all(isinstance(one, str) for one in value):
        return list(value)
    return _import_path(value) or _OWN


def _import_path(function: Any) -> str:
    """``module:name`` where importing that gives the very same function; else empty."""
    module, name = getattr(function, "__module__", None), getattr(function, "__qualname__", "")
    if not module or module in ("__main__", "__mp_main__") or not name.isidentifier():
        return ""
    try:
        return f"{module}:{name}" if import_function(f"{module}:{name}") is function else ""
    except ValueError:
        return ""
