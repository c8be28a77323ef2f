"""Whose call was recorded, as plain data by paths in the model: it can be made again where nothing is trained."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import nn

from rankwatch.extraction.eval_sets.eval_set import EvalBatch, EvalSet
from rankwatch.extraction.hooks.call_recorder import RecordedCall
from rankwatch.extraction.hooks.chained_calls import ChainedCalls, ParallelCalls
from rankwatch.extraction.model.module_paths import clean_modules, clean_name

Backbone = tuple[str, nn.Module]
"""(path, module) whose call was recorded, as `rankwatch.extraction.hooks.call_recorder.CallRecorder` tells it."""


def describe_caller(root: nn.Module, backbone: Backbone | None) -> dict[str, Any]:
    """A recorder's backbone as plain data.

    Args:
        root: The whole model.
        backbone: Path and module, or several that stand for one.

    Returns:
        The module's path; of a front end and its blocks both paths and how they are linked; of several modules each of
        these. Empty where nothing was recorded, or where it isn't in the model any more.
    """
    if backbone is None:
        return {}
    path, module = backbone
    if isinstance(module, ParallelCalls):
        parts = {name: describe_caller(root, part) for name, part in module.parts.items()}
        return {"parts": parts} if all(parts.values()) else {}
    if isinstance(module, ChainedCalls):
        paths = [_path_of(root, module.front_end), _path_of(root, module.blocks)]
        return {} if None in paths else {"path": path, "chain": paths, "links": dict(module.links)}
    found = _path_of(root, module)
    return {} if found is None else {"path": found}


def find_caller(root: nn.Module, described: Mapping[str, Any]) -> Backbone | None:
    """The backbone that `describe_caller` has described, in a model that is like the one it was.

    Args:
        root: The whole model.
        described: What was returned.

    Returns:
        Path and module; None where nothing was described, or the model has no such module.
    """
    if "parts" in described:
        parts = {name: find_caller(root, part) for name, part in described["parts"].items()}
        found = {name: part for name, part in parts.items() if part is not None}
        path = " and of ".join(path for path, _ in found.values())
        return (path, ParallelCalls(found)) if len(found) == len(parts) else None
    modules = clean_modules(root)
    if "chain" in described:
        front_end, blocks = (modules.get(path) for path in described["chain"])
        if front_end is None or blocks is None:
            return None
        return described["path"], ChainedCalls(front_end, blocks, described["links"])
    module = modules.get(described["path"]) if "path" in described else None
    return None if module is None else (described["path"], module)


def recorded_call(
    root: nn.Module, backbone: Backbone | None, template: RecordedCall | None, eval_set: EvalSet, *, needed: bool
) -> EvalSet | None:
    """Note whose calls a set holds; where it holds none, the one that was recorded beside it.

    Args:
        root: The whole model.
        backbone: Path and module whose calls were recorded.
        template: The first call.
        eval_set: The set of the first batches, whose `caller` is filled in; or one that was only to have a call.
        needed: Whether audio can only be run through the model by putting it into a recorded call.

    Returns:
        A set of one batch, the call; None where the set itself holds it, or where it isn't needed.
    """
    caller = describe_caller(root, backbone)
    if eval_set.name and eval_set.forward is None:
        eval_set.caller = caller
        return None
    if template is None or not caller or not needed:
        return None
    one = EvalBatch(template.args, template.kwargs, template.batch, template.keys, len(template.keys))
    return EvalSet("", [one], caller=caller)


def _path_of(root: nn.Module, wanted: nn.Module) -> str | None:
    return next((clean_name(path) for path, module in root.named_modules() if module is wanted), None)
