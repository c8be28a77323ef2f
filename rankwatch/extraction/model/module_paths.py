"""Module paths that outlive wrappers, and which of two nested modules a hook belongs on."""

from __future__ import annotations

import torch
from torch import nn

WRAPPER_HOMES = ("torch.", "deepspeed.", "lightning.", "pytorch_lightning.")
"""Packages whose modules may be wrappers around the user's own."""
WRAPPER_PARTS = frozenset(
    {"module", "_orig_mod", "_fsdp_wrapped_module", "_forward_module", "_checkpoint_wrapped_module"}
)

_SHARDED_UNITS = frozenset({"FullyShardedDataParallel", "FSDPModule"})


def clean_name(path: str) -> str:
    """Drop the parts of a module path that wrappers add.

    Args:
        path: A path as `torch.nn.Module.named_modules` gives it.

    Returns:
        The path without ``module`` (DDP, DeepSpeed), ``_orig_mod`` (torch.compile),
        ``_fsdp_wrapped_module``, ``_forward_module`` (Lightning) and ``_checkpoint_wrapped_module``.

    Example:
        >>> clean_name("_forward_module.module.encoder.layers.3._orig_mod")
        'encoder.layers.3'
    """
    return ".".join(part for part in path.split(".") if part not in WRAPPER_PARTS)


def unwrap(module: nn.Module) -> nn.Module:
    """The user's own module inside compile, FSDP, DDP and checkpoint wrappers.

    ``module`` as an attribute is a wrapper's only where it is the sole child of a class from torch (a user's
    own ``Residual(module=...)`` is a block in its own right).

    Returns:
        The innermost module that is not a wrapper.
    """
    while True:
        children = dict(module.named_children())
        inner = next((children[part] for part in children if part in WRAPPER_PARTS), None)
        foreign = type(module).__module__.startswith(WRAPPER_HOMES)
        if inner is None or len(children) != 1 or not foreign:
            return module
        module = inner


def is_sharded_unit(module: nn.Module) -> bool:
    """Whether it gathers its own parameters when it is called: a unit of FSDP1, or of FSDP2 (`fully_shard`)."""
    return not _SHARDED_UNITS.isdisjoint([kind.__name__ for kind in type(module).__mro__])


def can_fire(module: nn.Module) -> bool:
    """Whether the module has a forward pass of its own (ModuleList and ModuleDict have none)."""
    if isinstance(module, torch.jit.ScriptModule):
        return True
    return type(module).forward is not nn.Module.forward


def comes_from(module: nn.Module, homes: str | tuple[str, ...]) -> bool:
    """Whether its class, or one that it was derived from (by FSDP2, by the user), lives in one of these packages."""
    return any(kind.__module__.startswith(homes) for kind in type(module).__mro__)


def clean_modules(root: nn.Module) -> dict[str, nn.Module]:
    """Every module of `root` once, by clean path, in model order.

    Of a wrapper and what it wraps, which share a path, the wrapper counts: it is what the model calls, its
    hooks fire once under activation checkpointing and are not traced by the compiler.

    Returns:
        Modules by path; the root's path is "".
    """
    found: dict[str, nn.Module] = {}
    for path, module in root.named_modules():
        found.setdefault(clean_name(path), module)
    return found


def within(path: str, prefix: str) -> bool:
    """Whether `path` is `prefix` or lies under it (everything lies under the root, ``""``)."""
    return not prefix or path == prefix or path.startswith(prefix + ".")


def parent(path: str) -> str:
    """The path one step up; ``""`` is the root."""
    return path.rpartition(".")[0]


def common_prefix(a: str, b: str) -> str:
    """The deepest path above both."""
    parts = []
    for left, right in zip(a.split("."), b.split("."), strict=False):
        if left != right:
            break
        parts.append(left)
    return ".".join(parts)


def name_tokens(path: str) -> set[str]:
    """The words of a module path, in lower case.

    Args:
        path: A clean path.

    Returns:
        The words between dots and underscores.

    Example:
        >>> sorted(name_tokens("encoder.pos_conv.0"))
        ['0', 'conv', 'encoder', 'pos']
    """
    return {token for part in path.split(".") for token in part.lower().split("_")}
