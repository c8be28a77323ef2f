"""Random things that a model may hold, some of which can't be put back: after a pass all is as it was, or is named."""

from __future__ import annotations

import collections
import enum
import inspect
import itertools
import types
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from rankwatch.extraction.execution.preserved_model import preserved_model
from rankwatch.extraction.state.known_changes import KnownChanges


class Slots:
    __slots__ = ("inside", "n")

    def __init__(self, inside: Any) -> None:
        self.inside, self.n = inside, 0


class Attributes:
    def __init__(self, inside: Any) -> None:
        self.inside = inside


def counting() -> Iterator[int]:
    n = 0
    while True:
        n += 1
        yield n


def on_its_class(n: int) -> Any:
    """Counts in an attribute of its class, of which each call makes a new one."""
    return type("OnItsClass", (), {"count": n})()


class Counting(type):
    """A metaclass, of which each class made by `on_its_metaclass` has one of its own."""


def on_its_metaclass(n: int) -> Any:
    """Counts in an attribute of its class's class."""
    return type("Meta", (Counting,), {"count": n})("OnItsMetaclass", (), {})()


def member(n: int) -> Any:
    """A member of an enumeration, on which something is counted."""
    one: Any = enum.Enum("Stage", "ONE")["ONE"]
    one.count = n
    return one


def tagged(n: int, kind: Any) -> Any:
    """A tensor or a parameter on which something is counted."""
    tensor = kind(torch.zeros(1))
    tensor.count = n
    return tensor


def of_its_file(n: int) -> Any:
    """A function that counts in a global variable, of a file of its own."""
    namespace: dict[str, Any] = {"__name__": "a_file", "count": n, "seen": {n}}
    exec("def count_up():\n    global count\n    count += 1\n    seen.add(count)", namespace)
    return namespace["count_up"]


ITERATORS = (itertools.count, type(iter([])), itertools.cycle)
CANNOT_BE_EXCHANGED = (*ITERATORS, types.GeneratorType, set)  # within a tuple, say


def layer_with(inside: Any) -> nn.Module:
    """One of torch's containers, with an attribute."""
    layer: Any = nn.Sequential(nn.Tanh())
    layer.inside = inside
    return layer


leaves = st.one_of(
    st.integers(0, 9),
    st.builds(torch.zeros, st.integers(1, 3)),
    st.builds(np.zeros, st.integers(1, 3)),
    st.builds(itertools.count, st.integers(0, 3)),
    st.builds(lambda n: iter(list(range(n))), st.integers(2, 5)),
    st.builds(counting),
    st.builds(on_its_class, st.integers(0, 3)),
    st.builds(on_its_metaclass, st.integers(0, 3)),
    st.builds(member, st.integers(0, 3)),
    st.builds(tagged, st.integers(0, 3), st.sampled_from([torch.Tensor, nn.Parameter])),
    st.builds(of_its_file, st.integers(0, 3)),
    st.builds(nn.Dropout, st.sampled_from([0.1, 0.5])),
    st.sets(st.integers(0, 1 << 20), min_size=1, max_size=9),
)
holders = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.lists(inner, max_size=2).map(tuple),
        st.lists(inner, max_size=3).map(collections.deque),
        st.dictionaries(st.sampled_from("abc"), inner, max_size=2),
        inner.map(lambda n: types.SimpleNamespace(inside=n)),
        inner.map(Slots),
        inner.map(Attributes),
        inner.map(lambda n: types.MappingProxyType({"a": n})),
        inner.map(layer_with),
    ),
    max_leaves=5,
)


def parts(state: Any) -> Iterator[Any]:
    """Everything in a state, itself included."""
    yield state
    inner: list[Any] = []
    if isinstance(state, (list, tuple, collections.deque)):
        inner = list(state)
    elif isinstance(state, (dict, types.MappingProxyType)):
        inner = list(state.values())
    elif isinstance(state, (Slots, Attributes, types.SimpleNamespace, nn.Sequential)):
        inner = [state.inside]
    for one in inner:
        yield from parts(one)


def change(state: Any) -> None:
    """Changes all that can be changed, in place."""
    for part in list(parts(state)):
        if isinstance(part, (torch.Tensor, np.ndarray)):
            if hasattr(part, "count"):
                part.count += 1
            if not getattr(part, "requires_grad", False):
                part += 1
        elif isinstance(part, types.FunctionType):
            part()
        elif isinstance(part, set):
            part.pop()
        elif isinstance(part, nn.Dropout):
            part.p /= 2
        elif isinstance(part, nn.Sequential):
            part.append(nn.Tanh())
            part.other = 0
        elif isinstance(part, enum.Enum):
            part.count += 1
        elif isinstance(type(part), Counting):
            type(type(part)).count += 1
        elif isinstance(part, (*ITERATORS, types.GeneratorType)):
            next(part)
        elif isinstance(part, (list, collections.deque)):
            part.append(0)
        elif isinstance(part, dict):
            part["new"] = 0
        elif isinstance(part, (Attributes, types.SimpleNamespace)):
            part.other = 0
        elif isinstance(part, Slots):
            part.n += 1
        elif type(part).__name__ == "OnItsClass":
            type(part).count += 1


def written(state: Any) -> list[Any]:
    """All of it in words that can be compared, without moving an iterator."""
    words: list[Any] = []
    for part in parts(state):
        if isinstance(part, (torch.Tensor, np.ndarray)):
            words += [part.tolist(), getattr(part, "count", None)]
        elif isinstance(part, types.FunctionType):
            words += [part.__globals__["count"], sorted(part.__globals__["seen"])]
        elif isinstance(part, set):
            words += [id(part), list(part)]
        elif isinstance(part, nn.Dropout):
            words.append(part.p)
        elif isinstance(part, nn.Sequential):
            words += [len(part), hasattr(part, "other")]
        elif isinstance(part, enum.Enum):
            words.append(part.count)
        elif isinstance(type(part), Counting):
            words.append(type(type(part)).count)
        elif isinstance(part, types.GeneratorType):
            words.append(inspect.getgeneratorlocals(part))
        elif isinstance(part, type(iter([]))):
            words.append(part.__length_hint__())
        elif isinstance(part, itertools.count):
            words.append(repr(part))
        elif isinstance(part, Slots):
            words.append(part.n)
        elif type(part).__name__ == "OnItsClass":
            words.append(type(part).count)
        elif isinstance(part, (list, tuple, collections.deque)):
            words.append(len(part))
        else:
            words.append(sorted(part) if isinstance(part, dict) else sorted(getattr(part, "__dict__", {})) or part)
    return words


@settings(max_examples=100)
@given(st.lists(holders, min_size=1, max_size=3), st.booleans())
def test_all_is_as_it_was_or_named(states: list[Any], changing: bool) -> None:
    model, changes = nn.Module(), KnownChanges()
    model.part = nn.Module()
    model.part.__class__ = type("Part", (nn.Module,), {})
    for number, state in enumerate(states):
        setattr(model.part, f"state{number}", state)
    before = [written(state) for state in states]
    changes.begin(True)
    with preserved_model(model, changes=changes):
        for number in range(len(states)) if changing else []:
            change(getattr(model.part, f"state{number}"))
    named = " ".join(changes.take_unrestored())
    for number, words in enumerate(before):
        state = getattr(model.part, f"state{number}")
        moved = any(isinstance(part, types.GeneratorType) for part in parts(state))
        assert written(state) == words or f"state{number}" in named
        assert changing or f"state{number}" not in named
        assert (f"state{number}" in named) or not (changing and moved)


@settings(max_examples=30)
@given(holders.filter(lambda state: not any(isinstance(part, CANNOT_BE_EXCHANGED) for part in parts(state))))
def test_what_holds_nothing_that_has_to_be_exchanged_comes_back_and_is_not_named(state: Any) -> None:
    model, changes = nn.Module(), KnownChanges()
    model.part = nn.Module()
    model.part.__class__ = type("Part", (nn.Module,), {})
    model.part.state = state
    before = written(state)
    changes.begin(True)
    with preserved_model(model, changes=changes):
        change(model.part.state)
    assert written(model.part.state) == before
    assert changes.take_unrestored() == {}
