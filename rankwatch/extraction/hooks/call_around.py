"""Hooks around the call of a module that was compiled in place."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

from torch import nn


class CallAround:
    """Stands in for a module's compiled call and calls hooks before and after it.

    After ``module.compile()`` torch's own hooks are traced as a part of the module's graph: one that is registered
    later never fires, one that is registered before splits the graph, or ends the run (``fullgraph=True``). What is
    called around the graph leaves it as it is. Where the hooks are gone, it does nothing but pass on.

    Args:
        module: The module.
        compiled: What ``module.compile()`` made of its call.
    """

    def __init__(self, module: nn.Module, compiled: Callable[..., Any]) -> None:
        self.compiled = compiled
        self._module = module
        self._before: list[Callable[..., None]] = []
        self._after: list[Callable[..., None]] = []

    @classmethod
    def of(cls, module: nn.Module) -> CallAround:
        """The one that is on a module that was compiled in place; it is put there if there is none."""
        call = vars(module)["_compiled_call_impl"]
        if not isinstance(call, CallAround):
            call = vars(module)["_compiled_call_impl"] = cls(module, call)
        return call

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """The module's call."""
        for hook in self._before:
            hook(self._module, args, kwargs)
        output = self.compiled(*args, **kwargs)
        for hook in self._after:
            hook(self._module, args, kwargs, output)
        return output

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        return copy.deepcopy(self.compiled, memo)

    def __reduce_ex__(self, protocol: Any) -> Any:
        return self.compiled.__reduce_ex__(protocol)

    def add(self, hook: Callable[..., None], before: bool) -> None:
        """Call a hook from now on.

        Args:
            hook: As in `HookHandles`.
            before: Whether it is called before the module or after it.
        """
        (self._before if before else self._after).append(hook)

    def discard(self, hook: Callable[..., None]) -> None:
        """Call a hook no more; with the last one the module has its own compiled call back.

        Args:
            hook: What `add` was given.
        """
        self._before = [one for one in self._before if one is not hook]
        self._after = [one for one in self._after if one is not hook]
        if not (self._before or self._after) and vars(self._module).get("_compiled_call_impl") is self:
            vars(self._module)["_compiled_call_impl"] = self.compiled
