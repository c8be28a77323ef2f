"""The weights in what a checkpoint holds, wherever its framework keeps them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from rankwatch.checkpoints.plain_load import BrokenCheckpointError, is_left_out

STATES = ("state_dict", "model", "module", "model_state_dict", "model_state", "weights", "net")
"""Where checkpoints of frameworks hold the weights."""


def pick_weights(
    held: Mapping[str, Any], part: str = "", path: Path | str = "", left_out: tuple[str, ...] = ()
) -> dict[str, Tensor]:
    """The weights by name, from the usual places.

    Args:
        held: What the checkpoint holds.
        part: Which weights. Empty for those under ``state_dict``, ``model`` and the like, or of the whole where it
            holds nothing but weights. Else the name of an entry, at the top or among the weights, with dots for entries
            of entries (fairseq's ``"_ema"``, Lightning's ``"current_model_state"``), or what names of weights begin
            with (``"teacher"`` for ``teacher.encoder...``), which is taken off.
        path: Of the checkpoint, for messages.
        left_out: Classes of it that weren't read, for messages.

    Returns:
        Tensors by name; names of nested dicts are joined by dots.

    Raises:
        BrokenCheckpointError: If there are none, with what there is.

    Example:
        >>> import torch
        >>> held = {"epoch": 3, "model": {"student.w": torch.zeros(2), "teacher.w": torch.ones(2)}}
        >>> sorted(pick_weights(held)), pick_weights(held, "teacher")
        (['student.w', 'teacher.w'], {'w': tensor([1., 1.])})
    """
    found = dict(_tensors(_usual(held) or {}))
    if not part:
        if found:
            return found
        raise BrokenCheckpointError(_none(held, path, left_out))
    entry = _entry(held, part.split("."))
    if entry is not None:
        return dict(_tensors(entry))
    everything = found or dict(_tensors(held))
    beginning = part.rstrip(".") + "."
    chosen = {name[len(beginning) :]: value for name, value in everything.items() if name.startswith(beginning)}
    if chosen:
        return chosen
    raise BrokenCheckpointError(
        f"{path} holds no weights under {part!r}: neither an entry of that name nor weights whose names begin with "
        f"{beginning!r}. {_contents(held)}"
    )


def _usual(held: Mapping[str, Any]) -> Mapping[str, Any] | None:
    for name in STATES:
        entry = held.get(name)
        if isinstance(entry, Mapping) and next(_tensors(entry), None) is not None:
            return entry
    whole = held and all(
        isinstance(value, Tensor) or str(name).endswith("_extra_state") for name, value in held.items()
    )
    return held if whole else None


def _entry(held: Mapping[str, Any], parts: list[str]) -> Mapping[str, Any] | None:
    """The entry that the dotted name means, if weights are in it."""
    found: Any = held
    for part in parts:
        found = found.get(part) if isinstance(found, Mapping) else None
    return found if isinstance(found, Mapping) and next(_tensors(found), None) is not None else None


def _tensors(held: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, Tensor]]:
    for name, value in held.items():
        if isinstance(value, Tensor):
            yield f"{before}{name}", value
        elif isinstance(value, Mapping):
            yield from _tensors(value, f"{before}{name}.")


def _none(held: Mapping[str, Any], path: Path | str, left_out: tuple[str, ...]) -> str:
    if left_out and any(is_left_out(value) for name, value in held.items() if name in ("", *STATES)):
        few = ", ".join(left_out[:8])
        return (
            f"{path} holds a whole object where weights should be ({few}), which isn't read: that would run code from "
            "the file. If you trust it, write its weights alone, where those classes can be imported: "
            "torch.save(torch.load(FILE, weights_only=False).state_dict(), 'weights.pt')"
        )
    return f"{path} holds no weights by name, neither at the top nor under {', '.join(STATES)}. {_contents(held)}"


def _contents(held: Mapping[str, Any]) -> str:
    """What it holds instead, in a sentence."""
    counts = {str(name): sum(1 for _ in _tensors(value)) for name, value in held.items() if isinstance(value, Mapping)}
    named = [f"{name!r} ({count} tensors)" for name, count in counts.items() if count]
    if named:
        return f"Entries with tensors: {', '.join(named[:8])}; say which are the weights"
    names = [repr(name) for name in list(held)[:5] if name]
    return f"It holds {', '.join(names)}" if names else "It holds nothing by name"
