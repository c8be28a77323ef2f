"""Which layers of a model to watch."""

from __future__ import annotations

import contextlib
import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Literal

from torch import nn

from rankwatch.extraction.model.block_stacks import Stack, find_stacks, front_end_branches
from rankwatch.extraction.model.module_paths import (
    can_fire,
    clean_modules,
    clean_name,
    common_prefix,
    name_tokens,
    within,
)

__all__ = ["WatchedLayer", "clean_name", "find_layers", "unwatched_teachers"]

Kind = Literal["frontend", "block", "projection", "positional", "other"]
Branch = Literal["student", "teacher"]


@dataclass(frozen=True)
class WatchedLayer:
    """A module whose output is looked at.

    Attributes:
        name: Its path in the model, without wrappers' parts.
        module: The module that a hook belongs on.
        kind: ``"frontend"`` (convolutional front end), ``"block"`` (transformer, conformer, recurrent,
            convolutional), ``"projection"`` (a linear map between the two), ``"positional"`` or ``"other"``.
        branch: ``"student"``, or ``"teacher"`` (an EMA or frozen copy).
        label: Short name: ``"L00"`` for the first front end, all others ``"L01"``... in model order.
    """

    name: str
    module: nn.Module
    kind: Kind
    branch: Branch
    label: str


def find_layers(root: nn.Module, patterns: str | Sequence[str] = "auto") -> list[WatchedLayer]:
    """Find the layers to watch.

    ``"auto"`` takes every run of same-class blocks with attention in a ModuleList, ModuleDict or Sequential
    (without any: of repeated blocks with layer norms; else recurrent layers; else convolutional blocks) and
    the convolutional front end before it, in the student branch; a front end that student and teacher share is
    the student's. Every other pattern, also beside ``"auto"`` in one list, is a glob over clean module paths
    (case matters, ``*`` crosses dots): one without wildcards means just this module; one with wildcards the
    front ends and blocks among its matches or, where there is none, the outermost modules that it matches.
    Teacher branches are on request (``"teacher*"``). A module under two names counts once, by its first.

    Args:
        root: The model, or a LightningModule that holds it; wrappers are seen through.
        patterns: ``"auto"``, one glob, or several.

    Returns:
        The layers in model order, with unique labels.

    Raises:
        ValueError: Nothing was found; a pattern matches nothing (the closest paths are named), or only
            containers that are never called.

    Example:
        >>> encoder = nn.TransformerEncoder(nn.TransformerEncoderLayer(16, 2), 2, enable_nested_tensor=False)
        >>> [(layer.label, layer.name) for layer in find_layers(encoder)]
        [('L01', 'layers.0'), ('L02', 'layers.1')]
        >>> [layer.name for layer in find_layers(encoder, ["layers.*.self_attn"])]
        ['layers.0.self_attn', 'layers.1.self_attn']
    """
    modules = clean_modules(root)
    stacks = find_stacks(modules)
    known: dict[str, tuple[Kind, Branch]] = {}
    known.update((path, ("frontend", _branch(name))) for path, name in front_end_branches(stacks).items())
    known.update((path, ("block", _branch(stack.branch))) for stack in stacks for path in stack.blocks)
    globs = [patterns] if isinstance(patterns, str) else list(patterns)
    if not globs:
        raise ValueError('layers=[] watches nothing; pass layers="auto" or globs over module paths')
    names = _student_layers(root, stacks, known) if "auto" in globs else set()
    names |= {path for glob in globs if glob != "auto" for path in _matches(glob, modules, known)}
    return _label([path for path in modules if path in names], modules, known)


def _branch(name: str) -> Branch:
    return "teacher" if name == "teacher" else "student"


def _student_layers(root: nn.Module, stacks: list[Stack], known: Mapping[str, tuple[Kind, Branch]]) -> set[str]:
    names = {path for path, (_, branch) in known.items() if branch == "student"}
    if names:
        return names
    sought = (
        f'layers="auto" found nothing to watch in {type(root).__name__}. It looks for runs of transformer '
        "or conformer blocks of one class in a ModuleList or Sequential, for recurrent layers, for blocks of "
        "convolutions, and for the strided convolutions before them."
    )
    if stacks:
        teachers = ", ".join(stack.path for stack in stacks)
        sought = f'layers="auto" found only a frozen teacher branch in {type(root).__name__} ({teachers}).'
    children = ", ".join(name for name, _ in root.named_children()) or "none"
    raise ValueError(
        f'{sought} Name the layers yourself, for example layers=["encoder.layers.*"] (globs over paths of '
        f"model.named_modules(); its children are: {children})."
    )


def _matches(glob: str, modules: Mapping[str, nn.Module], known: Mapping[str, tuple[Kind, Branch]]) -> list[str]:
    # Wrappers' parts in the user's own pattern are as transparent as in paths.
    cleaned = clean_name(glob)
    hits = [path for path in modules if path and fnmatchcase(path, cleaned)]
    if not hits:
        paths = [path for path in modules if path]
        close = difflib.get_close_matches(cleaned.replace("*", "0"), paths, n=5, cutoff=0.3)
        near = f" The closest paths are: {', '.join(close)}." if close else ""
        raise ValueError(f"layers: the pattern {glob!r} matches no module of the model.{near}")
    if any(sign in cleaned for sign in "*?["):
        hits = [path for path in hits if path in known] or hits
    callable_hits = [path for path in hits if can_fire(modules[path])]
    if not callable_hits:
        raise ValueError(
            f"layers: the pattern {glob!r} matches only containers that are never called "
            f"({', '.join(hits[:3])}); did you mean {hits[0] + '.*'!r}?"
        )
    return [
        path
        for path in callable_hits
        if path in known or not any(other != path and within(path, other) for other in callable_hits)
    ]


def _label(
    names: list[str], modules: Mapping[str, nn.Module], known: Mapping[str, tuple[Kind, Branch]]
) -> list[WatchedLayer]:
    kinds = {name: known.get(name, (_kind_of(name, modules[name]), _branch_of(name, known))) for name in names}
    first = next((name for name in names if kinds[name][0] == "frontend"), None)
    digits = max(2, len(str(len(names))))
    layers, place = [], 0
    for name in names:
        kind, branch = kinds[name]
        place += name != first
        label = f"L{0 if name == first else place:0{digits}d}"
        layers.append(WatchedLayer(name, modules[name], kind, branch, label))
    return layers


def _kind_of(name: str, module: nn.Module) -> Kind:
    """What a layer is that is neither a front end nor a block, by its name and what it holds."""
    words = name_tokens(name)
    if words & {"pos", "position", "positional"}:
        return "positional"
    linear = any(isinstance(inner, nn.Linear) for inner in module.modules())
    return "projection" if linear and words & {"proj", "projection", "projections", "projector"} else "other"


def _branch_of(name: str, known: Mapping[str, tuple[Kind, Branch]]) -> Branch:
    """The branch of the recognised layer with which `name` shares the longest path."""

    def shared(path: str) -> int:
        prefix = common_prefix(path, name)
        return prefix.count(".") + 1 if prefix else 0

    nearest = max(known, key=shared, default=None)
    return "student" if nearest is None or not shared(nearest) else known[nearest][1]


def unwatched_teachers(root: nn.Module, layers: Sequence[WatchedLayer]) -> list[str]:
    """Globs that would add the layers of a teacher branch that aren't watched."""
    watched = {layer.name for layer in layers}
    with contextlib.suppress(ValueError):
        every = find_layers(root, ["*"])
        students = [one.name for one in every if one.branch == "student"]
        missing = [one.name for one in every if one.branch == "teacher" and one.name not in watched]
        holders = {name: _highest_without(name, students) for name in missing}
        return sorted({name if holder == name else f"{holder}.*" for name, holder in holders.items()})
    return []


def _highest_without(name: str, others: Sequence[str]) -> str:
    """The highest path above a layer that holds none of the others."""
    parts = name.split(".")
    above = [".".join(parts[:count]) for count in range(1, len(parts) + 1)]
    return next((path for path in above if not any(within(other, path) for other in others)), name)
