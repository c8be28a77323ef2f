"""Where a codebook may be, whatever its class is called, and what predicts its codes.

A module is a candidate by what it holds: a table of V rows, as a parameter, a buffer, a child's embedding, or in a
plain dict or list. Only its output, in the first forward passes that are listened to, shows whether it assigns codes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from rankwatch.extraction.model.module_paths import can_fire, unwrap, within

SIZE_NAMES = (
    "num_vars",
    "num_classes",
    "codebook_size",
    "cb_vocab",
    "num_embeddings",
    "num_codes",
    "n_codes",
    "n_embed",
)
"""Attributes that hold the number of codes in known quantizers."""

_CODEBOOK = re.compile(r"(?i)code_?book|codeword|codevector|centroid|prototype|cluster_?cent|(^|_)(codes?|cb|vq)($|_)")
_NETWORKS = (nn.RNNBase, nn.MultiheadAttention, nn.TransformerEncoderLayer, nn.modules.conv._ConvNd)
_MOST_GROUPS = 32


@dataclass(frozen=True)
class Table:
    """What a module holds that may be a codebook.

    Attributes:
        sizes: How many codes it may have, the likeliest first; none where only a perplexity may be reported.
        named: Whether it is called a codebook.
        small: Whether the module is little more than the codebook.
        width: The length of a code.
        said: Whether the module itself says how many codes there are: by an attribute, or by one number for each code.
    """

    sizes: tuple[int, ...]
    named: bool
    small: bool
    width: int
    said: bool = False


@dataclass(frozen=True)
class Head:
    """A linear layer that predicts codes.

    Attributes:
        module: The layer.
        first: The first of its outputs that count.
        last: The one after the last of them.
    """

    module: nn.Module
    first: int
    last: int


def table_of(module: nn.Module) -> Table | None:
    """The table of a module that may assign codes.

    A table without a telling name counts only in a small module: with linear layers, norms and embeddings inside, and
    nothing that mixes frames. torch's own layers assign none.

    Args:
        module: Any module of a model.

    Returns:
        The table, or None where the module can't be a codebook.
    """
    module = unwrap(module)
    if isinstance(module, torch.jit.ScriptModule):  # its forward pass is no function, and takes no hook
        return None
    if not can_fire(module) or getattr(type(module).forward, "__module__", "torch").startswith(("torch.", "torchao.")):
        return None
    tables = [
        (name, tensor) for name, tensor in _tensors(module) if tensor.ndim in (2, 3) and min(tensor.shape[-2:]) > 1
    ]
    named = [tensor for name, tensor in tables if _CODEBOOK.search(name)]
    small = _is_small(module)
    if not named and not small:
        return None
    chosen = named or [tensor for _, tensor in tables]
    if not chosen:
        return None
    said = [size for tensor in chosen for size in said_sizes(module, tensor)]
    ends = [size for tensor in chosen for size in tensor.shape[-2:]]
    return Table(tuple(dict.fromkeys(said + ends)), bool(named), small, chosen[0].shape[-1], bool(said))


def _tensors(module: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Its own floating-point tensors, those of its embeddings and of its lists, and those in plain containers."""
    found: list[tuple[str, Any]] = [*module.named_parameters(recurse=False), *module.named_buffers(recurse=False)]
    for name, child in module.named_children():
        inner = child.children() if isinstance(child, nn.ModuleList) else [child]
        found += [(name, one.weight) for one in inner if isinstance(one, nn.Embedding)]
        found += [(name, one) for one in child.parameters()] if isinstance(child, nn.ParameterList) else []
    for name, value in vars(module).items():
        inside = value.values() if isinstance(value, dict) else value if isinstance(value, (list, tuple)) else [value]
        found += [(name, one) for one in list(inside)[:_MOST_GROUPS]] if not name.startswith("_") else []
    return ((name, one) for name, one in found if isinstance(one, Tensor) and one.is_floating_point())


def _is_small(module: nn.Module) -> bool:
    inside = [child for child in module.modules() if child is not module]
    return len(inside) <= _MOST_GROUPS and all(
        type(child).__module__.startswith("torch.") and not isinstance(child, _NETWORKS) for child in inside
    )


def said_sizes(module: nn.Module, table: Tensor) -> list[int]:
    """How many codes a module says that a table has.

    Args:
        module: What holds it.
        table: (..., V, width) or (..., width, V).

    Returns:
        What an attribute says, then the length of what holds one number for each code; empty where neither is there.
    """
    ends = tuple(table.shape[-2:])
    said = [getattr(module, name, None) for name in SIZE_NAMES]
    counts = [len(tensor) for name, tensor in module.named_buffers(recurse=False) if tensor.ndim == 1]
    return [one for one in (*said, *counts) if isinstance(one, int) and one in ends]


def find_heads(modules: Mapping[str, nn.Module], sizes: Sequence[int], outside: Sequence[str]) -> list[Head | None]:
    """The linear layer that predicts each codebook's codes.

    As many layers of V outputs as there are codebooks of V codes belong together in order, and so do the parts of one
    layer that predicts all of them. For a single codebook it is the last such layer. Whether it predicts codes of the
    same frames is seen when it is called.

    Args:
        modules: Modules by clean path, in model order.
        sizes: The number of codes of each codebook; 0 where that isn't known.
        outside: Paths of what has no heads: blocks, front ends, teachers, the codebooks themselves.

    Returns:
        A head for each codebook, or None.
    """
    heads: list[Head | None] = [None] * len(sizes)
    layers = [
        unwrap(one) for path, one in modules.items() if not any(within(path, other) for other in outside if other)
    ]
    linear = [one for one in layers if isinstance(one, nn.Linear)]
    for size in {size for size in sizes if size > 1}:
        places = [place for place, other in enumerate(sizes) if other == size]
        equal = [one for one in linear if one.out_features == size]
        joint = [one for one in linear if one.out_features == size * len(places)]
        if len(equal) >= len(places):
            for place, layer in zip(places, equal[-len(places) :], strict=True):
                heads[place] = Head(layer, 0, size)
        elif joint:
            for i, place in enumerate(places):
                heads[place] = Head(joint[-1], i * size, (i + 1) * size)
        elif len(places) == 1:
            grouped = [
                one for one in linear if one.out_features % size == 0 and one.out_features // size <= _MOST_GROUPS
            ]
            heads[places[0]] = Head(grouped[-1], 0, grouped[-1].out_features) if grouped else None
    return heads
