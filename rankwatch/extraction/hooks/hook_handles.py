"""Who registers and removes hooks: outside compiled code, and so that no copy of a module has them."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

from torch import nn
from torch.utils.hooks import RemovableHandle

from rankwatch.extraction.hooks.call_around import CallAround
from rankwatch.extraction.hooks.safe_hooks import outside_graphs
from rankwatch.extraction.hooks.uncopied_hooks import copy_again, leave_out_of_copies

_REGISTRIES = (
    "_forward_hooks",
    "_forward_hooks_with_kwargs",
    "_forward_pre_hooks",
    "_forward_pre_hooks_with_kwargs",
)


class _PlacedHook:
    """One hook on one module: registered with torch, or around the call of a module that was compiled in place."""

    def __init__(self, module: nn.Module, hook: Callable[..., None], before: bool) -> None:
        self.module = module
        self._hook = hook
        self._before = before
        self._handle: RemovableHandle | None = None
        self._around: CallAround | None = None
        self._splits = True

    def place(self, splits: bool = True) -> None:
        """Put the hook where it belongs, if it isn't there: ``module.compile()`` may have been called since.

        Args:
            splits: Whether it may split a graph in which its module turns out to be.
        """
        call = vars(self.module).get("_compiled_call_impl")
        if splits != self._splits:
            self.lift()
            self._splits = splits
        if call is None and self._handle is None:
            self.lift()
            register = self.module.register_forward_pre_hook if self._before else self.module.register_forward_hook
            self._handle = register(self._hook if splits else outside_graphs(self._hook), with_kwargs=True)
            for registry in self._registries(self._handle.id):
                leave_out_of_copies(registry, self._handle.id)
        elif call is not None and call is not self._around:
            self.lift()
            self._around = CallAround.of(self.module)
            self._around.add(self._hook, before=self._before)

    def lift(self) -> None:
        """Take the hook away, wherever it is."""
        handle, self._handle = self._handle, None
        around, self._around = self._around, None
        if handle is not None:
            for registry in self._registries(handle.id):
                copy_again(registry, handle.id)
            handle.remove()
        if around is not None:
            around.discard(self._hook)

    def _registries(self, key: int) -> list[Any]:
        found = [getattr(self.module, name, {}) for name in _REGISTRIES]
        return [registry for registry in found if key in registry]


class HookHandles:
    """Hooks that are placed together and removed together.

    A copy that is made of a module (by `copy.deepcopy`, or by pickling it) has none of them. Where a module was
    compiled in place (``module.compile()``), they are called around its compiled code and not as a part of it.
    """

    def __init__(self) -> None:
        self._placed: dict[int, _PlacedHook] = {}

    def before_call(self, module: nn.Module, hook: Callable[..., None], key: int | None = None) -> None:
        """Have a function called before each call of a module.

        Args:
            module: The module.
            hook: Called with the module, its positional and its keyword arguments.
            key: A number by which `remove` can spare it.
        """
        self._add(_PlacedHook(module, hook, before=True), key)

    def after_call(self, module: nn.Module, hook: Callable[..., None]) -> None:
        """Have a function called after each call of a module.

        Args:
            module: The module.
            hook: Called with the module, its positional and its keyword arguments, and what it returned.
        """
        self._add(_PlacedHook(module, hook, before=False), None)

    def _add(self, placed: _PlacedHook, key: int | None) -> None:
        self._placed[-1 - len(self._placed) if key is None else key] = placed
        placed.place()

    def place_again(self, inside: Collection[int] = (), *, splits: bool = True) -> None:
        """Follow what was compiled since; for the start of each batch.

        Args:
            inside: Identities of modules in whose place hooks would be part of a compiled graph: those get none as
                long as that is so.
            splits: Whether hooks may split graphs that aren't known; else they don't fire in these.
        """
        for placed in self._placed.values():
            if id(placed.module) in inside:
                placed.lift()
            else:
                placed.place(splits)

    def remove(self, *, but: int | None = None) -> None:
        """Remove all hooks, except for the one with the key `but`."""
        for key in [key for key in self._placed if key != but]:
            self._placed.pop(key).lift()
