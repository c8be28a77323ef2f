"""Which modules run inside a compiled graph, where a hook would break the graph or end the run."""

from __future__ import annotations

import inspect
from collections.abc import Iterable

from torch import nn


def within_compiled(modules: Iterable[nn.Module]) -> set[int]:
    """Identities of the modules that run as part of the graph of a compiled one."""
    return {id(child) for module in modules if _is_compiled(module) for child in _inside(module)}


def within_one_graph(modules: Iterable[nn.Module]) -> set[int]:
    """Identities of those that run as part of a graph that must not be split."""
    return {id(child) for module in modules if in_one_graph(module) for child in _inside(module)}


def _is_compiled(module: nn.Module) -> bool:
    return hasattr(module, "_orig_mod") or compiled_in_place(module) or in_one_graph(module)


def _inside(module: nn.Module) -> list[nn.Module]:
    """What runs within its graph: not a wrapper itself, whose hooks are outside."""
    return [child for child in module.modules() if child is not module or not hasattr(module, "_orig_mod")]


def compiled_in_place(module: nn.Module) -> bool:
    """Whether ``module.compile()`` was called: its own hooks are part of its graph."""
    return getattr(module, "_compiled_call_impl", None) is not None


def in_one_graph(module: nn.Module) -> bool:
    """Whether what runs inside is compiled with ``fullgraph=True``, as far as that can be known.

    Then a hook inside, which would split the graph, ends the run. Of a whole LightningModule that was compiled
    Lightning takes the wrapper off and keeps its context.

    Returns:
        False also where nothing is compiled.
    """
    call = getattr(module, "_compiled_call_impl", None)
    kept = getattr(module, "_compiler_ctx", None)
    contexts = [
        module.dynamo_ctx if hasattr(module, "_orig_mod") else None,
        inspect.getclosurevars(call).nonlocals.get("self") if inspect.isfunction(call) else None,
        kept.get("dynamo_ctx") if isinstance(kept, dict) else None,
    ]
    return any(getattr(context, "fullgraph", False) for context in contexts)
