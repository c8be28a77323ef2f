"""Global variables that a function uses, of the Python file in which it stands."""

from __future__ import annotations

import dis
import types
from collections.abc import Collection, Iterator
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

from rankwatch.extraction.state.belonging import UNCHANGING, is_of_a_library
from rankwatch.extraction.state.holders.attributes import ABSENT


class GlobalNames(NamedTuple):
    """Names of global variables.

    Attributes:
        used: Those whose values the function may write into, or exchange.
        exchanged: Those that it declares as `global` and assigns to.
    """

    used: tuple[str, ...]
    exchanged: frozenset[str]


_NONE = GlobalNames((), frozenset())
_known: WeakKeyDictionary[types.FunctionType, GlobalNames] = WeakKeyDictionary()


def globals_of(function: types.FunctionType) -> GlobalNames:
    """The global variables that a function uses, whatever it does with them.

    Names are looked for in what the function was compiled to, within inner functions and comprehensions too. Modules
    and functions and classes of other files are no state of the model's, so they are left out, and so are values that
    nothing can be written into, unless they are exchanged. What is reached in other ways (``globals()["n"]``,
    ``module.n``) isn't seen.

    Args:
        function: Of Python.

    Returns:
        Their names, the same each time: they are looked for once.
    """
    found = _known.get(function)
    if found is None:
        found = _known[function] = _look(function)
    return found


def _look(function: types.FunctionType) -> GlobalNames:
    namespace = function.__globals__
    codes = [code for code in _with_inner(function.__code__) if not namespace.keys().isdisjoint(code.co_names)]
    steps = [step for code in codes for step in dis.get_instructions(code)]
    exchanged = {step.argval for step in steps if step.opname in ("STORE_GLOBAL", "DELETE_GLOBAL")}
    loaded = {step.argval for step in steps if step.opname in ("LOAD_GLOBAL", "LOAD_NAME")} & namespace.keys()
    used = {name for name in loaded if _may_hold_state(namespace[name], namespace)}
    return GlobalNames(tuple(sorted(used | exchanged)), frozenset(exchanged)) if used or exchanged else _NONE


def _with_inner(code: types.CodeType) -> Iterator[types.CodeType]:
    yield code
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _with_inner(constant)


def _may_hold_state(value: Any, namespace: dict[str, Any]) -> bool:
    if isinstance(value, types.FunctionType):
        return not is_of_a_library(str(value.__globals__.get("__name__")))
    if isinstance(value, type):
        return value.__module__ == namespace.get("__name__")
    return value is None or type(value) not in UNCHANGING


class Globals:
    """What a function's global variables are; of those that it assigns to, which value each one has.

    Args:
        function: The function.
        names: Some of them.

    Attributes:
        before: What they were.
        home: The Python module whose variables they are.
    """

    def __init__(self, function: types.FunctionType, names: Collection[str]) -> None:
        self._namespace = function.__globals__
        self._exchanged = set(globals_of(function).exchanged.intersection(names))
        self.before = {name: self._namespace.get(name, ABSENT) for name in names}
        self.home = str(self._namespace.get("__name__", ""))

    @property
    def present(self) -> dict[str, Any]:
        """Those that there are."""
        return {name: value for name, value in self.before.items() if value is not ABSENT}

    @property
    def values(self) -> Collection[Any]:
        """What they were."""
        return self.present.values()

    def exchange(self, old: Any, new: Any) -> None:
        """See `Holder`."""
        for name, value in self.before.items():
            if value is old:
                self._exchanged.add(name)
                self._namespace[name] = new

    def restore(self) -> bool:
        """See `Holder`; what the function doesn't assign to may have been assigned to by another thread."""
        changed = [name for name in self._exchanged if self._namespace.get(name, ABSENT) is not self.before[name]]
        for name in changed:
            if self.before[name] is ABSENT:
                del self._namespace[name]
            else:
                self._namespace[name] = self.before[name]
        return bool(changed)


def unmet_globals(function: types.FunctionType, met: set[tuple[int, str, bool]]) -> Globals | None:
    """The global variables that a function uses, without those that others were seen to use in the same way.

    Args:
        function: Of Python; where it stands in a library's file there are none.
        met: Where those stand that were met so far, their names, and whether they are exchanged; is added to.

    Returns:
        What holds them; None if there are none.
    """
    if is_of_a_library(str(function.__globals__.get("__name__"))):
        return None
    names, exchanged = globals_of(function)
    keys = {name: (id(function.__globals__), name, name in exchanged) for name in names}
    new = [name for name, key in keys.items() if key not in met]
    met.update(keys.values())
    return Globals(function, new) if new else None
