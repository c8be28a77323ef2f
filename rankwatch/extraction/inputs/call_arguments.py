"""Arguments of a module's call by the names of its parameters, and fields of a batch by their path."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from rankwatch.extraction.inputs.containers import entries, walk
from rankwatch.extraction.model.module_paths import unwrap

_NESTED = 3  # containers within each other in which lists of waveforms are looked for
_MANY = 64  # entries of each that are looked at
_SHORT = 64  # a vector of at most so many numbers is no waveform


def named_arguments(
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
    forward: Callable[..., Any] | inspect.Signature | None,
    defaults: bool = False,
) -> dict[str, Any]:
    """Arguments by the names of the parameters they bind to, with or without defaults; by position where unknown."""
    named: dict[str, Any] = {**{str(i): value for i, value in enumerate(args)}, **kwargs}
    if forward is None:
        return named
    signature = forward if isinstance(forward, inspect.Signature) else inspect.signature(forward)
    try:
        bound = signature.bind_partial(*args, **kwargs)
    except TypeError:
        return named
    if defaults:
        bound.apply_defaults()
    named = {}
    for name, value in bound.arguments.items():
        kind = signature.parameters[name].kind
        if kind is inspect.Parameter.VAR_KEYWORD:
            named.update(value)
        elif kind is inspect.Parameter.VAR_POSITIONAL:
            named.update((f"{name}.{i}", entry) for i, entry in enumerate(value))
        else:
            named[name] = value
    return named


def waveform_like(*things: Any) -> list[tuple[str, Tensor]]:
    """Floating tensors of two to four axes, with their paths: what the audio or its features can be."""
    return [
        (path, leaf)
        for thing in things
        for path, leaf in walk(thing)
        if isinstance(leaf, Tensor) and leaf.is_floating_point() and leaf.ndim in (2, 3, 4)
    ]


def waveform_lists(*things: Any) -> list[tuple[str, list[Tensor]]]:
    """Lists or tuples of waveforms (T,), each of its own length, with their paths: a batch that isn't padded yet.

    Args:
        things: Arguments of a call by name, or batches.

    Returns:
        Each list once, those that are nested in nothing but dicts, lists and tuples.
    """
    found: dict[int, tuple[str, list[Tensor]]] = {}
    todo = [("", thing, 0) for thing in things]
    while todo:
        path, value, depth = todo.pop(0)
        if not isinstance(value, (list, tuple, Mapping)) or depth > _NESTED:
            continue
        if isinstance(value, (list, tuple)) and value and all(_is_waveform(entry) for entry in value):
            found.setdefault(id(value[0]), (path, list(value)))
            continue
        inside = entries(value) or []
        todo += [(f"{path}.{name}" if path else str(name), entry, depth + 1) for name, entry in inside[:_MANY]]
    return list(found.values())


def _is_waveform(thing: Any) -> bool:
    return isinstance(thing, Tensor) and thing.ndim == 1 and thing.is_floating_point() and len(thing) > _SHORT


def look_up(batch: Any, path: str) -> Any:
    """The field of a batch that a dotted path names: keys, attributes and positions.

    Returns:
        The field, as it is in the batch.

    Raises:
        ValueError: Naming the part that isn't there, and what is.

    Example:
        >>> look_up({"net_input": {"lengths": [3, 2]}}, "net_input.lengths")
        [3, 2]
    """
    here, done = batch, ""
    for part in path.split("."):
        try:
            here = _step(here, part)
        except (KeyError, IndexError, AttributeError, TypeError):
            inside = entries(here)
            there = ", ".join(str(name) for name, _ in inside) if inside else f"a {type(here).__name__}"
            where = f"the batch at {done!r}" if done else "the batch"
            raise ValueError(f"RowSampling(lengths={path!r}): {where} has no {part!r}; it has: {there}") from None
        done = f"{done}.{part}" if done else part
    return here


def _step(here: Any, part: str) -> Any:
    if isinstance(here, Mapping):
        return here[part] if part in here else here[int(part)] if part.isdigit() else getattr(here, part)
    if part.lstrip("-").isdigit() and isinstance(here, (tuple, list)):
        return here[int(part)]
    return getattr(here, part)


Named = dict[str, Any]
"""Arguments of a call by name."""


def by_name(module: nn.Module, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Named | None:
    """A call's arguments by name, or None where it can't be made with names alone."""
    forward = unwrap(module).forward
    kinds = {parameter.kind for parameter in inspect.signature(forward).parameters.values()}
    if kinds & {inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.POSITIONAL_ONLY}:
        return None
    return named_arguments(args, kwargs, forward)


def made_by_training(*things: Any) -> bool:
    """Whether a tensor among arguments was computed by what is being trained: it would soon be out of date."""
    return any(isinstance(leaf, Tensor) and leaf.grad_fn is not None for thing in things for _, leaf in walk(thing))
