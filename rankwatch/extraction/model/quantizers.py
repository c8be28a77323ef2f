"""Quantizers in a model: where they are, and how many codes they have.

Some are known by their class's name. Others are found by what they hold, a codebook, and count once their output has
shown that they assign codes (`rankwatch.extraction.hooks.code_outputs`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from torch import nn

from rankwatch.extraction.model.block_stacks import Stack, find_stacks, is_teacher_path
from rankwatch.extraction.model.codebooks import SIZE_NAMES, Head, Table, find_heads, said_sizes, table_of
from rankwatch.extraction.model.compiled_modules import within_compiled
from rankwatch.extraction.model.module_paths import can_fire, clean_modules, common_prefix, parent, unwrap, within

MOST = 8
"""Quantizers that are watched; a codec may have dozens."""

_MOST_CANDIDATES = 64
GROUP_NAMES = ("num_groups", "groups")
"""Attributes that hold the number of groups in known quantizers."""

_CODEBOOK = re.compile(r"(?i)(^|[._])(codebooks?|cb|embed|embeddings?)([._]|$)")
_LIBRARIES = ("torch.", "torchao.")  # theirs are about the numbers of bits in a weight


@dataclass(frozen=True)
class Quantizer:
    """A module that assigns codes, or may do so.

    Attributes:
        name: Its path in the model, without wrappers' parts.
        module: The module that a hook belongs on.
        codes: Codes in each group, V; 0 where that is unknown.
        table: What it holds, where only its output can show whether it assigns codes; else None.
        head: What predicts its codes, or None.
        confirmed: Whether its output has shown that it assigns codes.
    """

    name: str
    module: nn.Module
    codes: int
    table: Table | None = None
    head: Head | None = None
    confirmed: bool = False


def find_quantizers(root: nn.Module) -> list[Quantizer]:
    """Modules whose class is called a quantizer, the innermost of nested ones, at most `MOST`; then candidates.

    Left out are a teacher's that the student has as well, and those inside a compiled module, where a hook would break
    the graph: of candidates inside, the compiled module is one, since it may report their perplexity.

    Returns:
        The quantizers in model order, then those that may be one.

    Example:
        >>> class RandomQuantizer(nn.Linear):
        ...     codebook_size = 16
        >>> [(one.name, one.codes) for one in find_quantizers(nn.ModuleDict({"targets": RandomQuantizer(4, 4)}))]
        [('targets', 16)]
    """
    modules = clean_modules(root)
    if getattr(root, "_compiler_ctx", None) is not None:  # Lightning's mark of one compiled as a whole
        return []
    stacks = find_stacks(modules)
    compiled = within_compiled(root.modules())
    named = [path for path, module in modules.items() if path and _is_quantizer(unwrap(module))]
    innermost = [path for path in named if not any(other != path and within(other, path) for other in named)]
    known = [Quantizer(path, modules[path], _codes(unwrap(modules[path]))) for path in innermost]
    known = [one for one in _without_copies(known, stacks) if id(one.module) not in compiled][:MOST]
    found = known + _candidates(modules, stacks, named, compiled)[:_MOST_CANDIDATES]
    return _with_heads(found, modules, stacks)


def _candidates(
    modules: Mapping[str, nn.Module], stacks: Sequence[Stack], named: Sequence[str], compiled: set[int]
) -> list[Quantizer]:
    """Modules with a codebook outside of blocks, front ends and quantizers."""
    blocks = [path for stack in stacks for path in (stack.path, stack.front_end) if path]
    found: dict[str, Quantizer] = {}
    for path, module in modules.items():
        if any(within(path, other) for other in (*blocks, *named)):
            continue
        table = table_of(module)
        if table is None:
            continue
        codes = table.sizes[0]
        if id(module) in compiled:  # what holds it may report a perplexity, and its other outputs are no codes
            table = replace(table, sizes=(), named=True, small=False)
            while path and id(modules.get(path)) in compiled:
                path = parent(path)
        if path in modules and id(modules[path]) not in compiled and can_fire(unwrap(modules[path])):
            found.setdefault(path, Quantizer(path, modules[path], codes, table))
    apart = [one for one in found.values() if not any(within(other, one.name) for other in named)]
    return [replace(one, name=one.name or type(unwrap(one.module)).__name__) for one in _without_copies(apart, stacks)]


def _with_heads(
    found: Sequence[Quantizer], modules: Mapping[str, nn.Module], stacks: Sequence[Stack]
) -> list[Quantizer]:
    """What predicts the codes; the codes of a Gumbel quantizer are no classes that a layer predicts."""
    outside = [path for stack in stacks for path in (stack.path, stack.front_end) if path]
    outside += [path for path in modules if is_teacher_path(path)]
    outside += [one.name for one in found if not any(within(stack.path, one.name) for stack in stacks)]
    sizes = [0 if hasattr(unwrap(one.module), "weight_proj") else one.codes for one in found]
    return [replace(one, head=head) for one, head in zip(found, find_heads(modules, sizes, outside), strict=True)]


def _is_quantizer(module: nn.Module) -> bool:
    kind = type(module)
    return "quantiz" in kind.__name__.lower() and not kind.__module__.startswith(_LIBRARIES) and can_fire(module)


def _without_copies(found: Sequence[Quantizer], stacks: Sequence[Stack]) -> list[Quantizer]:
    """Without a teacher's copy of one that the student has; targets are often made on the teacher's side alone."""

    def kind(one: Quantizer) -> tuple[str, int]:
        return type(unwrap(one.module)).__name__, one.codes

    students = [kind(one) for one in found if not _of_teacher(one.name, stacks)]
    return [one for one in found if not _of_teacher(one.name, stacks) or kind(one) not in students]


def _of_teacher(path: str, stacks: Sequence[Stack]) -> bool:
    """By a name above it, or nearer to a teacher's blocks than to any student's."""

    def nearest(teacher: bool) -> int:
        shared = [common_prefix(path, stack.path) for stack in stacks if (stack.branch == "teacher") == teacher]
        return max((len(prefix.split(".")) if prefix else 0 for prefix in shared), default=0)

    return is_teacher_path(parent(path)) or nearest(teacher=True) > nearest(teacher=False)


def _codes(module: nn.Module) -> int:
    """V by an attribute's name, else by the counts beside what is called a codebook, else by its rows."""
    size = number_of(module, SIZE_NAMES)
    if size is not None:
        return size
    tensors = [*module.named_parameters(), *module.named_buffers()]
    table = next((tensor for name, tensor in tensors if tensor.ndim >= 2 and _CODEBOOK.search(name)), None)
    return 0 if table is None else next(iter(said_sizes(module, table)), table.shape[-2])


def number_of(module: nn.Module, names: Sequence[str]) -> int | None:
    """The first positive integer that a module holds under one of these names, or None."""
    values = [getattr(module, name, None) for name in names]
    return next((value for value in values if isinstance(value, int) and value >= 1), None)
