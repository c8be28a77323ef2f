"""Hooks around the call of a module that is compiled in place, before or after they were put there."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import pytest
import torch
import torch._dynamo
from torch import Tensor, nn
from torch._dynamo.utils import counters

from rankwatch.extraction.hooks.call_around import CallAround
from rankwatch.extraction.hooks.hook_handles import HookHandles
from rankwatch.extraction.hooks.safe_hooks import eager, never_compiled

X = torch.ones(2, 3)


@pytest.fixture(autouse=True)
def _nothing_compiled_before() -> Iterator[None]:
    torch._dynamo.reset()
    counters.clear()
    yield
    torch._dynamo.reset()


def _watched(module: nn.Module) -> tuple[HookHandles, list[Any]]:
    seen: list[Any] = []
    handles = HookHandles()
    handles.before_call(module, never_compiled(lambda module, args, kwargs: seen.append((module, args, kwargs))))
    handles.after_call(module, never_compiled(lambda module, args, kwargs, output: seen.append(output)))
    return handles, seen


def _graphs() -> int:
    return counters["stats"]["unique_graphs"]


@pytest.mark.parametrize("when", ["before", "after", "after calls"])
def test_hooks_see_each_call_and_are_in_no_graph(when: str) -> None:
    module = nn.Linear(3, 3)
    if when == "before":
        module.compile(backend="eager", fullgraph=True)
    handles, seen = _watched(module)
    if when == "after calls":
        module(X)
        assert len(seen) == 2
        seen.clear()
    if when != "before":
        module.compile(backend="eager", fullgraph=True)
        handles.place_again()
    for _ in range(2):
        output = module(input=X)
    assert seen[2][:2] == (module, ())
    assert seen[2][2] == {"input": X}
    assert seen[3] is output
    assert len(seen) == 4
    handles.remove()
    module(input=X)
    assert len(seen) == 4
    assert (_graphs(), sum(counters["graph_break"].values())) == (1, 0)


def test_the_compiled_call_is_put_back_and_what_the_user_puts_there_stays() -> None:
    module = nn.Linear(3, 3)
    module.compile(backend="eager")
    compiled = module._compiled_call_impl
    handles, seen = _watched(module)
    others, _ = _watched(module)
    handles.remove()
    assert isinstance(module._compiled_call_impl, CallAround)
    others.remove()
    assert module._compiled_call_impl is compiled
    handles, seen = _watched(module)
    module.compile(backend="eager")  # once more
    newer = module._compiled_call_impl
    handles.place_again()
    module(X)
    assert len(seen) == 2
    handles.remove()
    assert module._compiled_call_impl is newer


def test_a_module_that_is_compiled_no_more_has_ordinary_hooks() -> None:
    module = nn.Linear(3, 3)
    module.compile(backend="eager")
    handles, seen = _watched(module)
    around = module._compiled_call_impl
    module._compiled_call_impl = None
    handles.place_again()
    module(X)
    assert len(seen) == 2
    handles.remove()
    module._compiled_call_impl = around  # as a context manager of somebody's may do that remembered it
    module(X)
    assert len(seen) == 2


def test_they_fire_in_an_eager_pass() -> None:
    module = nn.Linear(3, 3)
    module.compile(backend="eager")
    module(X)
    handles, seen = _watched(module)
    with eager():
        module(X)
    assert len(seen) == 2
    assert _graphs() == 1
    handles.remove()


def test_a_copy_has_none_of_it() -> None:
    class Keeps(nn.Linear):
        """Copies its compiled call as well, as a LightningModule does."""

        def __getstate__(self) -> Any:
            return self.__dict__

    module = Keeps(3, 3)
    module.compile(backend="eager")
    compiled = module._compiled_call_impl
    handles, seen = _watched(module)
    assert copy.deepcopy(module)._compiled_call_impl is compiled
    assert not seen
    handles.remove()


def test_within_another_graph_there_is_none_as_long_as_that_is_compiled() -> None:
    module = nn.Linear(3, 3)
    handles, seen = _watched(module)
    handles.place_again(inside={id(module)})
    module(X)
    assert not seen
    handles.place_again()
    output: Tensor = module(X)
    assert seen[1] is output
    handles.remove()
