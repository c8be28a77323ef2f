"""Which modules run inside a compiled graph, where a hook would break the graph or end the run."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Collection, Iterable
from typing import Any

from torch import nn

_OF_MODULES = ("forward", "_compiled_call_impl")


def within_compiled(modules: Iterable[nn.Module], uncalled: Collection[int] = ()) -> set[int]:
    """Identities of the modules that run as part of the graph of a compiled one.

    A module that was compiled in place, or whose forward pass was, is none, unless it is part of another one: what is
    called around its compiled call is outside of the graph.

    Args:
        modules: Those to look into; all of a model, say.
        uncalled: Identities of compiled modules that are known never to be called.

    Returns:
        The identities (`id`).
    """
    called = (module for module in modules if id(module) not in uncalled)
    return {id(child) for module in called if _is_compiled(module) for child in _inside(module)}


def within_one_graph(modules: Iterable[nn.Module]) -> set[int]:
    """Identities of those that run as part of a graph that must not be split."""
    return {id(child) for module in modules if in_one_graph(module) for child in _inside(module)}


def _is_compiled(module: nn.Module) -> bool:
    return _called_compiled(module) or in_one_graph(module)


def _inside(module: nn.Module) -> list[nn.Module]:
    """What runs within its graph: not itself where its call is what was compiled, since hooks are around that."""
    return [child for child in module.modules() if child is not module or not _called_compiled(module)]


def _called_compiled(module: nn.Module) -> bool:
    return _is_wrapper(module) or itself_compiled(module)


def _is_wrapper(module: nn.Module) -> bool:
    return "_orig_mod" in module._modules


def itself_compiled(module: nn.Module) -> bool:
    """Whether ``module.compile()`` was called, or its forward pass compiled, without a wrapper around it."""
    return _compiled_call(module) is not None or _compiled_forward(module) is not None


def _compiled_call(module: nn.Module) -> Any:
    call = vars(module).get("_compiled_call_impl")
    return getattr(call, "compiled", call)  # without the hooks around it


def is_compiled_function(function: Any) -> bool:
    """Whether `torch.compile` made it; what `torch.compiler.disable` makes looks alike."""
    return hasattr(function, "_torchdynamo_orig_callable") and not getattr(function, "_torchdynamo_disable", False)


def _compiled_forward(module: nn.Module) -> Any:
    """Its forward pass where that alone was compiled: in its class, or by ``m.forward = torch.compile(m.forward)``.

    Returns:
        What `torch.compile` made, or None. Also None for a whole LightningModule that was compiled: all its steps were,
        and its forward pass says nothing of what is called.
    """
    if "_compiler_ctx" in vars(module):
        return None
    forward = getattr(module.forward, "__func__", module.forward)
    return forward if is_compiled_function(forward) else None


def in_one_graph(module: nn.Module) -> bool:
    """Whether what runs inside is compiled with ``fullgraph=True``, as far as that can be known.

    Then a hook inside, which would split the graph, ends the run. Of a whole LightningModule that was compiled
    Lightning takes the wrapper off and keeps its context.

    Returns:
        False also where nothing is compiled.
    """
    contexts = []
    if _is_wrapper(module):
        contexts.append(vars(module).get("dynamo_ctx"))
    contexts += [_context_of(call) for call in (_compiled_call(module), _compiled_forward(module))]
    by_lightning = vars(module).get("_compiler_ctx")
    if isinstance(by_lightning, dict):
        contexts.append(by_lightning.get("dynamo_ctx"))
    return any(getattr(context, "fullgraph", False) for context in contexts)


def _context_of(call: Any) -> Any:
    """What `torch.compile` was asked for where it made this function; None of anything else."""
    return inspect.getclosurevars(call).nonlocals.get("self") if inspect.isfunction(call) else None


def compiled_functions(modules: Iterable[nn.Module]) -> dict[str, bool]:
    """Functions that were compiled and aren't the forward pass of a module: what they call can't be told from outside.

    Args:
        modules: All of a model. Looked through are their attributes (``self.encode = torch.compile(self._encode)``),
            the methods of their classes, and the files in which these are defined, or which is run.

    Returns:
        By name, whether the function was compiled with ``fullgraph=True``.
    """
    modules = list(modules)
    kinds = {kind for module in modules for kind in type(module).__mro__ if not kind.__module__.startswith("torch.")}
    files = {kind.__module__ for kind in kinds} | {"__main__"}
    spaces = [vars(module) for module in modules] + [vars(kind) for kind in kinds]
    spaces += [vars(sys.modules[name]) for name in files if name in sys.modules]
    return {
        name: getattr(_context_of(value), "fullgraph", False)
        for space in spaces
        for name, value in list(space.items())
        if inspect.isfunction(value) and name not in _OF_MODULES and is_compiled_function(value)
    }


def may_be_split(modules: Iterable[nn.Module]) -> bool:
    """Whether a hook may split the graph in which its module turns out to be: not where one function is a full graph.

    Args:
        modules: All of a model.

    Returns:
        False where some function was compiled with ``fullgraph=True``, whatever it calls.
    """
    return not any(compiled_functions(modules).values())
