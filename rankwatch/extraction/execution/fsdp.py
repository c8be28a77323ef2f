"""Calling a part of a model whose parameters are sharded by FSDP."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from torch import nn

from rankwatch.extraction.model.module_paths import is_sharded_unit

Call = Callable[..., Any]


def within_shards(outermost: nn.Module, module: nn.Module, call: Call) -> Call:
    """A function that calls `module`, such that all its parameters are there.

    A unit of FSDP gathers its parameters in its own call and gives them up afterwards; what is called past the units
    around it doesn't find its own. So these are called, outermost first, and each hands on to the next one in place of
    its own forward pass, as Lightning does it for `training_step`.

    Args:
        outermost: What training calls; may be a wrapper around the model that is watched.
        module: What `call` calls.
        call: The function, of any arguments. They go through the units, which may put them into their own precision.

    Returns:
        `call` itself where nothing around the module is sharded.
    """
    units = [unit for unit in outermost.modules() if is_sharded_unit(unit) and _holds(unit, module)]
    return _through(units, call) if units else call


def _holds(unit: nn.Module, module: nn.Module) -> bool:
    return unit is not module and any(part is module for part in unit.modules())


def _through(units: Sequence[nn.Module], call: Call) -> Call:
    unit, *further = units
    following = _through(further, call) if further else call
    # What an FSDP1 unit runs is the module that it wraps; an FSDP2 unit is that module.
    body = unit._modules.get("_fsdp_wrapped_module") or unit

    def run(*args: Any, **kwargs: Any) -> Any:
        with _stands_in(body, following):
            return unit(*args, **kwargs)

    return run


@contextlib.contextmanager
def given_back(outermost: nn.Module) -> Iterator[None]:
    """Units of FSDP2 give up their parameters on the way out, also those that would keep them for a backward pass.

    The outermost one does; between steps its parameters are shards.
    """
    try:
        yield
    finally:
        for module in outermost.modules():
            reshard = getattr(module, "reshard", None) if is_sharded_unit(module) else None
            if reshard is not None:
                reshard()


@contextlib.contextmanager
def _stands_in(body: nn.Module, call: Call) -> Iterator[None]:
    """Once, `call` is made in place of the forward pass of `body`, which may then be called in earnest."""
    own = vars(body).get("forward")

    def put_back() -> None:
        vars(body).pop("forward", None)
        if own is not None:
            vars(body)["forward"] = own

    def forward(*args: Any, **kwargs: Any) -> Any:
        put_back()
        return call(*args, **kwargs)

    vars(body)["forward"] = forward
    try:
        yield
    finally:
        put_back()
