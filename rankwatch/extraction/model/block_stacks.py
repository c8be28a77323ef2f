"""What a speech model is made of: stacks of blocks, their convolutional front ends, a teacher branch."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torch import nn
from torch.optim.swa_utils import AveragedModel

from rankwatch.extraction.model.front_ends import AUXILIARY, find_front_end
from rankwatch.extraction.model.lazy_modules import shape
from rankwatch.extraction.model.module_paths import can_fire, common_prefix, name_tokens, unwrap, within
from rankwatch.extraction.model.other_encoders import convolutional_runs, recurrent_runs

_TEACHER = frozenset({"teacher", "ema", "momentum", "target"})
_ATTENTION = re.compile(r"(?i:attention|attn|multi_?head)|(^|[._])mha([._]|$)|MHA")
_MATRICES = (nn.Linear, nn.Conv1d, nn.Conv2d)
_NORM = re.compile(r"(Layer|RMS)Norm", re.IGNORECASE)


@dataclass(frozen=True)
class Stack:
    """A run of blocks and the front end that feeds it.

    Attributes:
        path: The container that holds the blocks.
        blocks: Paths of the blocks, in order.
        front_end: Path of the convolutional front end, or None.
        branch: ``"student"`` or ``"teacher"``.
    """

    path: str
    blocks: tuple[str, ...]
    front_end: str | None
    branch: str


def is_teacher_path(path: str) -> bool:
    """Whether a part of the path is named like a teacher: teacher, ema, momentum, target."""
    return bool(name_tokens(path) & _TEACHER)


def _is_attention(path: str, module: nn.Module) -> bool:
    """By the name or the class of a part of a block."""
    return bool(path) and any(_ATTENTION.search(name) for name in (path, type(module).__name__))


def _matrices_outside_attention(block: nn.Module) -> int:
    """Weight matrices that don't belong to an attention module: a feed-forward part has at least two.

    A norm over two axes has a matrix of gains, which isn't one. Once FSDP has sharded a model its parameters have lost
    their shapes, so what is a matrix by its class counts as well.

    Returns:
        How many there are.
    """
    inside: set[int] = set()
    for name, module in block.named_modules():
        if _is_attention(name, module):
            inside.update(id(m) for m in module.modules())
    return sum(
        isinstance(module, _MATRICES)
        or any(p.ndim >= 2 for p in module.parameters(recurse=False))
        or hasattr(module, "parametrizations")
        for module in block.modules()
        if id(module) not in inside and not _NORM.search(type(module).__name__)
    )


def _has_attention(block: nn.Module) -> bool:
    return any(isinstance(m, nn.MultiheadAttention) or _is_attention(name, m) for name, m in block.named_modules())


def _is_transformer_block(module: nn.Module) -> bool:
    """Attention and a feed-forward part, which tells a block from its own attention sublayer."""
    return can_fire(module) and _has_attention(module) and _matrices_outside_attention(module) >= 2


def _is_repeated_block(module: nn.Module) -> bool:
    """Without a module called attention: layer norms and at least two weight matrices, or recurrence.

    The repeated part of a projector or of a convolutional front end has one.

    Returns:
        Whether the module looks like one block of a stack.
    """
    norms = any(_NORM.search(type(m).__name__) for m in module.modules())
    recurrent = any(isinstance(m, nn.RNNBase) for m in module.modules())
    return can_fire(module) and norms and (recurrent or _matrices_outside_attention(module) >= 2)


def _most_frequent(container: nn.Module) -> list[tuple[str, nn.Module]]:
    """The children of the class of which there are most; of the first such class."""
    children = [(name, unwrap(child)) for name, child in container.named_children()]
    classes = Counter(type(child) for _, child in children)
    return [pair for pair in children if type(pair[1]) is max(classes, key=classes.__getitem__)]


def _and_its_like(container: nn.Module, run: list[tuple[str, nn.Module]]) -> list[tuple[str, nn.Module]]:
    """Together with blocks of other classes, of each of which the container holds several (hybrid stacks)."""
    children = [(name, unwrap(child)) for name, child in container.named_children()]
    classes = Counter(type(child) for _, child in children)
    like = {
        id(child)
        for _, child in children
        if classes[type(child)] > 1 and (_is_transformer_block(child) or _is_repeated_block(child))
    }
    like |= {id(child) for _, child in run}
    return [pair for pair in children if id(pair[1]) in like]


def _all_blocks(run: list[tuple[str, nn.Module]]) -> bool:
    return all(_is_transformer_block(block) or _is_repeated_block(block) for _, block in run)


def _paths(above: str, children: list[tuple[str, nn.Module]]) -> tuple[str, ...]:
    return tuple(f"{above}.{name}" if above else name for name, _ in children)


def _runs(modules: Mapping[str, nn.Module]) -> dict[str, tuple[str, ...]]:
    """Containers and their blocks: with attention, else repeated, recurrent or convolutional; inner ones win."""
    attention: dict[str, tuple[str, ...]] = {}
    repeated: dict[str, tuple[str, ...]] = {}
    for path, module in modules.items():
        container = unwrap(module)
        if not isinstance(container, (nn.ModuleList, nn.Sequential, nn.ModuleDict)):
            continue
        run = _most_frequent(container)
        like = _and_its_like(container, run)
        if run and any(_is_transformer_block(block) for _, block in like) and _all_blocks(run):
            attention[path] = _paths(path, like)
        elif len(run) >= 2 and all(_is_repeated_block(block) for _, block in run):
            repeated[path] = _paths(path, like)
    found = attention or repeated or recurrent_runs(modules) or convolutional_runs(modules, is_teacher_path)
    return {
        path: names
        for path, names in found.items()
        if not any(other != path and within(other, path) for other in found)
    }


def _trains(modules: Mapping[str, nn.Module], blocks: tuple[str, ...]) -> bool:
    """Whether any parameter of these blocks is trained.

    Args:
        modules: Modules by clean path.
        blocks: Paths of the blocks.

    Returns:
        False where all are frozen.
    """
    return any(p.requires_grad for path in blocks for p in modules[path].parameters())


def _teacher_roots(modules: Mapping[str, nn.Module], runs: Mapping[str, tuple[str, ...]]) -> set[str]:
    """Subtrees that hold a teacher: by name, by class, or a frozen twin of a stack that trains.

    Args:
        modules: Modules by clean path, in model order.
        runs: Paths of blocks, by the path of what holds them.

    Returns:
        Paths of the subtrees' roots.
    """
    roots: set[str] = set()
    for path, module in modules.items():
        if is_teacher_path(path.rpartition(".")[2]) or isinstance(module, AveragedModel):
            roots.add(path)
    # What ends a stage may have no parameters of its own (a pooling): then those of all stages count.
    parts = {path: blocks if _has_parameters(modules, blocks) else (path,) for path, blocks in runs.items()}
    structures = {path: _structure(modules, blocks) for path, blocks in parts.items()}
    for path, blocks in parts.items():
        if _trains(modules, blocks):
            continue
        for other, others in parts.items():
            if other != path and structures[other] == structures[path] and _trains(modules, others):
                depth = len([part for part in common_prefix(path, other).split(".") if part])
                roots.add(".".join(path.split(".")[: depth + 1]))
    return {root for root in roots if root}


def _has_parameters(modules: Mapping[str, nn.Module], blocks: tuple[str, ...]) -> bool:
    return any(True for path in blocks for _ in modules[path].parameters())


def _structure(modules: Mapping[str, nn.Module], blocks: tuple[str, ...]) -> tuple[object, ...]:
    return tuple(
        (type(unwrap(modules[path])).__name__, tuple(shape(p) for p in modules[path].parameters())) for path in blocks
    )


def front_end_branches(stacks: Sequence[Stack]) -> dict[str, str]:
    """The branch of each front end; one that feeds students and teachers alike is the student's, which trains it.

    Args:
        stacks: All stacks of a model.

    Returns:
        ``"student"`` or ``"teacher"``, by the front end's path.
    """
    branches: dict[str, str] = {}
    for stack in stacks:
        if stack.front_end is not None and branches.get(stack.front_end) != "student":
            branches[stack.front_end] = stack.branch
    return branches


def find_stacks(modules: Mapping[str, nn.Module]) -> list[Stack]:
    """Every stack of blocks in a model, each with its front end, in model order.

    Args:
        modules: Modules by clean path, in model order (`clean_modules`).

    Returns:
        The stacks; empty where there is none. Stacks of projectors, predictors, heads and decoders are left
        out as long as others remain. A branch called teacher that is the only one, and trains, is a student.
    """
    runs = _runs(modules)
    main = {path: blocks for path, blocks in runs.items() if not name_tokens(path) & AUXILIARY}
    runs = main or runs
    roots = _teacher_roots(modules, runs)
    teachers = {path for path in runs if any(within(path, root) for root in roots)}
    if teachers == set(runs) and any(_trains(modules, runs[path]) for path in runs):
        roots, teachers = set(), set()
    stacks = []
    for path, blocks in runs.items():
        foreign = {root for root in roots if not within(path, root)}
        front_end = find_front_end(modules, path, runs, foreign)
        stacks.append(Stack(path, blocks, front_end, "teacher" if path in teachers else "student"))
    return stacks
