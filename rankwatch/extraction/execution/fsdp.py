"""Calling a part of a model whose parameters are sharded by FSDP, on all processes alike, whatever fails in it.

A unit of FSDP gathers its parameters from all processes in its own call and gives them up on the way out. So a process
in whose pass something fails may neither leave a call of a unit by an exception (its parameters would stay gathered,
and training would go on with them) nor leave out the calls that the other processes make (they would wait for it).
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from types import TracebackType
from typing import Any

from torch import Tensor, nn

from rankwatch.extraction.model.module_paths import is_sharded_unit

Call = Callable[..., Any]


_Calls = list[tuple[nn.Module, int]]
"""Units in the order in which they are called, each with the number of units around its call."""


class UnitOrders:
    """In which order the units are called in a pass, as far as passes have shown it.

    The order is the same on all processes, and for all batches of a set.
    """

    def __init__(self) -> None:
        self._known: dict[str, _Calls] = {}

    def note(self, kind: str, called: _Calls) -> None:
        """A pass of this kind has called these units, and nothing has failed in it."""
        self._known[kind] = called

    def expected(self, kind: str, units: Sequence[nn.Module]) -> _Calls:
        """What a pass calls in all.

        Args:
            kind: Of the pass.
            units: All units, in the model's order.

        Returns:
            The calls in their order, from a pass of this kind, or else of another one; the model's own order where
            none has succeeded yet, which is a guess.
        """
        if not self._known:
            return [(unit, sum(_holds(other, unit) for other in units)) for unit in units]
        return self._known.get(kind) or next(reversed(self._known.values()))


class ShardedPass:
    """Around one pass through a model: its units of FSDP are called in order, and each leaves its call as usual.

    Where the forward pass of a unit raises, those of the units in it that it hasn't called are called with nothing to
    do, and it gives back its input, so that the units behind it are called as on other processes. They are called in
    the same order on all, since FSDP2 gathers parameters for the next backward pass in the order of the passes before
    it. The first exception is raised at the end.

    Args:
        outermost: What training calls; may be a wrapper around the model that is watched.
        orders: Of earlier passes.
        kind: Of this pass: those of one kind call the same units.
    """

    def __init__(self, outermost: nn.Module, orders: UnitOrders, kind: str) -> None:
        self._units = [module for module in outermost.modules() if is_sharded_unit(module)]
        self._orders = orders
        self._kind = kind
        self._called: _Calls = []
        self._depth = 0
        self._failed: list[Exception] = []
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> ShardedPass:
        """Exceptions are caught in the units from here on."""
        for unit in self._units:
            body = _body(unit)
            self._stack.enter_context(_replaced_forward(body, self._contained(unit, body.forward)))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """All units are as between two steps; what has failed in one of them is raised."""
        if isinstance(error, Exception):
            self._failed.append(error)
        try:
            if self._failed and (error is None or isinstance(error, Exception)):
                self._call_the_rest()
        finally:
            self._stack.close()
            self._reshard()
        if not self._failed:
            self._orders.note(self._kind, self._called)
        elif self._failed[0] is not error:
            raise self._failed[0]

    def within(self, module: nn.Module, call: Call) -> Call:
        """A function that calls `module`, such that all its parameters are there.

        What is called past the units around it doesn't find its own parameters. So these are called, outermost first,
        and each hands on to the next one in place of its own forward pass, as Lightning does it for `training_step`.

        Args:
            module: What `call` calls.
            call: The function, of any arguments. They go through the units, which may put them into their own
                precision.

        Returns:
            `call` itself where nothing around the module is sharded.
        """
        return self._through([unit for unit in self._units if _holds(unit, module)], call)

    def _through(self, units: Sequence[nn.Module], call: Call) -> Call:
        if not units:
            return call
        unit, *further = units
        following = self._contained(unit, self._through(further, call))

        def run(*args: Any, **kwargs: Any) -> Any:
            with _once(_body(unit), following):
                return unit(*args, **kwargs)

        return run

    def _contained(self, unit: nn.Module, call: Call) -> Call:
        """What a unit runs once it has gathered its parameters."""

        def contained(*args: Any, **kwargs: Any) -> Any:
            self._called.append((unit, self._depth))
            self._depth += 1
            try:
                return call(*args, **kwargs)
            except Exception as error:
                self._failed.append(error)
                self._call_the_rest()
                return next((one for one in (*args, *kwargs.values()) if isinstance(one, Tensor)), None)
            finally:
                self._depth -= 1

        return contained

    def _call_the_rest(self, *args: Any, **kwargs: Any) -> None:
        """Call the units that are still to come within the one that is running, or at all where none is."""
        expected = self._orders.expected(self._kind, self._units)
        while True:
            count = len(self._called)
            unit, depth = expected[count] if count < len(expected) else (None, -1)
            if unit is None or depth != self._depth:
                return
            with _once(_body(unit), self._contained(unit, self._call_the_rest)):
                unit()

    def _reshard(self) -> None:
        """Units of FSDP2 that would keep their parameters for a backward pass: the outermost one does."""
        for unit in self._units:
            reshard = getattr(unit, "reshard", None)
            if reshard is not None:
                reshard()


def _holds(unit: nn.Module, module: nn.Module) -> bool:
    return unit is not module and any(part is module for part in unit.modules())


def _body(unit: nn.Module) -> nn.Module:
    """What an FSDP1 unit runs is the module that it wraps; an FSDP2 unit is that module."""
    return unit._modules.get("_fsdp_wrapped_module") or unit


@contextlib.contextmanager
def _once(body: nn.Module, call: Call) -> Iterator[None]:
    """Once, `call` is made in place of the forward pass of `body`, which may then be called in earnest."""
    with contextlib.ExitStack() as stack:

        def forward(*args: Any, **kwargs: Any) -> Any:
            stack.close()
            return call(*args, **kwargs)

        stack.enter_context(_replaced_forward(body, forward))
        yield


@contextlib.contextmanager
def _replaced_forward(body: nn.Module, call: Call) -> Iterator[None]:
    own = vars(body).get("forward")
    vars(body)["forward"] = call
    try:
        yield
    finally:
        vars(body).pop("forward", None)
        if own is not None:
            vars(body)["forward"] = own
