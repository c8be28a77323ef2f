"""Whatever a forward pass counts in, and whatever holds that: afterwards training goes on as if there had been none."""

import argparse
import array
import collections
import contextvars
import ctypes
import dataclasses
import enum
import functools
import gc
import io
import itertools
import multiprocessing
import random
import threading
import types
import weakref

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from rankwatch.extraction.execution.preserved_model import preserved_model
from rankwatch.extraction.state.known_changes import LARGE, KnownChanges


class Counting(nn.Module):
    """Its forward pass gives what `step` makes of its state."""

    def __init__(self, state, step):
        super().__init__()
        self.state, self.step = state, step

    def forward(self):
        return self.step(self.state)


@dataclasses.dataclass(slots=True)
class Slotted:
    n: int = 0


@dataclasses.dataclass(frozen=True)
class Frozen:
    inside: dict


class AttributeDict(dict):
    """Of the kind that configurations are; with an attribute besides, and with methods that must not be called."""

    __getattr__ = dict.__getitem__

    def __setattr__(self, name, value):
        self[name] = value

    def update(self, *args, **kwargs):
        raise AssertionError

    clear = items = update


class ItsOwnAttributes(dict):
    def __init__(self, *args):
        super().__init__(*args)
        self.__dict__ = self


class SlotsAndAttributes:
    __slots__ = ("__dict__", "n")

    def __init__(self):
        self.n = 0


class OnItsClass:
    count = 0


class Weak:
    pass


class CountingInstances(type):
    """A metaclass that counts for all of its classes."""

    made = {}  # noqa: RUF012 - that is the point


class WithMetaclass(metaclass=CountingInstances):
    pass


class Stage(enum.Enum):
    FIRST = 1


def on_metaclass(state):
    return entry(type(type(state)).made)


def on_member(state):
    state.calls = getattr(state, "calls", 0) + 1
    return state.calls


def on_tensor(state):
    state.calls = getattr(state, "calls", 0) + 1
    state.seen = [*getattr(state, "seen", []), 1]
    return state.calls, len(state.seen)


def popped(state):
    return state.pop() if len(state) > 2 else len(state)


def attribute(state):
    state.n += 1
    return state.n


def entry(state):
    state["n"] = state.get("n", 0) + 1
    return state["n"]


def first(state):
    state[0] += 1
    return float(state[0])


def appended(state):
    state.append(len(state))
    return len(state), state[0]


def on_class(state):
    type(state).count += 1
    return OnItsClass.count


def value(state):
    state.value += 1
    return state.value


def in_context(variable):
    variable.set(variable.get(0) + 1)
    return variable.get()


def zero_dimensional(state):
    state[...] = state + 1
    return float(state)


def both(state):
    state.__dict__["hidden"] = state.__dict__.get("hidden", 0) + 1
    return entry(state), state.__dict__["hidden"]


def moved(state):
    state.move_to_end(next(iter(state)))
    return list(state)


def weakly(state):
    state.kept = state.kept if state.kept else [Weak() for _ in range(9)]
    state.cache[state.kept[len(state.cache)]] = 1
    return len(state.cache)


def closure():
    n = 0

    def step(_):
        nonlocal n
        n += 1
        return n

    return step


def with_default(_, seen=[]):  # noqa: B006 - that is the point
    seen.append(1)
    return len(seen)


def with_attribute(_):
    with_attribute.n = getattr(with_attribute, "n", 0) + 1
    return with_attribute.n


def hidden_module(state):
    state[0].train()
    state[0](torch.randn(4, 2))
    state[0].bias.data.add_(1)
    return state[0].running_mean.tolist(), state[0].bias.tolist()


def masked(state):
    state[0] = 5 + state.data[0]
    state[1] = np.ma.masked
    return float(state.data[0]), state.mask.tolist()


class Caterpillar:
    """Becomes something else when it is used."""


class Butterfly(Caterpillar):
    """What it becomes."""


def changed_class(state):
    name = type(state).__name__
    state.__class__ = Butterfly
    return name


def grown(state):
    state.resize(len(state) + 1, refcheck=False)
    return len(state)


def to_the_end(state):
    name = next(iter(vars(state)))
    setattr(state, name, vars(state).pop(name))
    return list(vars(state))


def unsaved_buffer(state):
    state.register_buffer(f"b{len(state._non_persistent_buffers_set)}", torch.zeros(1), persistent=False)
    return len(state._non_persistent_buffers_set)


KINDS = {
    "array": (lambda: np.zeros(3), first),
    "array of objects": (lambda: np.array([{}, None], dtype=object), lambda state: entry(state[0])),
    "array without dimensions": (lambda: np.zeros(()), zero_dimensional),
    "masked array": (lambda: np.ma.array(np.zeros(2)), masked),
    "arrays in a list": (lambda: [np.zeros(2)], lambda state: first(state[0])),
    "arrays in a dict": (lambda: {"a": np.zeros(())}, lambda state: zero_dimensional(state["a"])),
    "tensor": (lambda: torch.zeros(3), first),
    "large tensor": (lambda: torch.zeros(LARGE // 4 + 1), first),
    "large array": (lambda: np.zeros(LARGE // 8 + 1), first),
    "slots": (Slotted, attribute),
    "slots and attributes": (SlotsAndAttributes, lambda state: (attribute(state), entry(vars(state)))),
    "its own attributes": (lambda: ItsOwnAttributes({"n": 0}), attribute),
    "variable of a context": (lambda: contextvars.ContextVar("v"), in_context),
    "array that grows": (lambda: np.zeros(1), grown),
    "class of an object": (
        Caterpillar,
        lambda state: (type(state).__name__, setattr(state, "__class__", Butterfly))[0],
    ),
    "order of attributes": (lambda: types.SimpleNamespace(a=1, b=2, c=3), to_the_end),
    "names of buffers": (nn.Module, unsaved_buffer),
    "frozen": (lambda: Frozen({}), lambda state: entry(state.inside)),
    "namespace": (lambda: types.SimpleNamespace(n=0), attribute),
    "arguments": (lambda: argparse.Namespace(n=0), attribute),
    "named tuple": (lambda: collections.namedtuple("T", "a")(Slotted()), lambda state: attribute(state.a)),
    "attribute dict": (AttributeDict, both),
    "ordered dict": (lambda: collections.OrderedDict(a=1, b=2, c=3), moved),
    "default dict": (lambda: collections.defaultdict(int), entry),
    "user dict": (collections.UserDict, entry),
    "counter": (collections.Counter, entry),
    "weak dict": (lambda: types.SimpleNamespace(cache=weakref.WeakKeyDictionary(), kept=None), weakly),
    "full queue": (lambda: collections.deque(range(3), maxlen=3), appended),
    "long list": (lambda: [0.0] * 5000, appended),
    "long dict": (lambda: dict.fromkeys(range(5000)), entry),
    "set": (set, lambda state: (state.add(len(state)), len(state))[1]),
    "order of a set": (lambda: {"a", "b", 77, 12, 4, 1 << 40, 91, "k"}, popped),
    "set in two places": (lambda: SharedSet(range(40, 0, -3)), lambda state: (popped(state.one), popped(state.other))),
    "view of a dict": (lambda: OnlyRead({"n": 0}), lambda state: entry(state.inside)),
    "metaclass": (WithMetaclass, on_metaclass),
    "class itself": (lambda: WithMetaclass, lambda state: entry(type(state).made)),
    "member of an enumeration": (lambda: Stage.FIRST, on_member),
    "enumeration": (lambda: Stage, lambda state: on_member(state.FIRST)),
    "attribute of a tensor": (lambda: torch.zeros(1), on_tensor),
    "attribute of a parameter": (lambda: nn.Parameter(torch.zeros(1)), on_tensor),
    "property": (lambda: WithProperty(), lambda state: state.count),
    "bytes": (lambda: bytearray(4), first),
    "array of Python's": (lambda: array.array("i", [0, 0]), first),
    "view": (lambda: memoryview(bytearray(2)), first),
    "ctypes": (lambda: ctypes.c_int(0), value),
    "ctypes array": (lambda: (ctypes.c_float * 2)(), first),
    "shared value": (lambda: multiprocessing.Value("i", 0), value),
    "class": (OnItsClass, on_class),
    "closure": (lambda: None, closure),
    "default argument": (lambda: None, lambda: with_default),
    "attribute of a function": (lambda: None, lambda: with_attribute),
    "partial": (lambda: functools.partial(entry, {}), lambda state: state()),
    "method": (lambda: Counting({}, entry).forward, lambda state: state()),
    "thread's own": (threading.local, lambda state: (vars(state).update(n=getattr(state, "n", 0) + 1), state.n)[1]),
    "count": (lambda: itertools.count(3), next),
    "cycle": (lambda: itertools.cycle([1, 2, 3]), next),
    "tee": (lambda: itertools.tee(iter(range(99)))[0], next),
    "chain": (lambda: itertools.chain([1, 2], [3, 4], range(9)), next),
    "map": (lambda: map(abs, itertools.count()), next),
    "reversed": (lambda: reversed(range(99)), next),
    "zip": (lambda: zip(iter(range(99)), itertools.count(), strict=False), next),
    "iterator in a dict": (lambda: {"a": [enumerate("abcdefghijk")]}, lambda state: next(state["a"][0])),
    "generator of Python's": (lambda: random.Random(0), lambda state: state.random()),
    "bits": (lambda: np.random.PCG64(0), lambda state: int(state.random_raw())),
    "file in memory": (lambda: io.StringIO(), lambda state: (state.write("a"), state.getvalue(), state.tell())),
    "hidden module": (lambda: [nn.BatchNorm1d(2)], hidden_module),
    "deep": (lambda: [[[[[[[[[[[{"a": (Slotted(),)}]]]]]]]]]]], lambda s: attribute(_bottom(s)["a"][0])),
}


class SharedSet:
    def __init__(self, values):
        self.one = set(values)
        self.other, self.third = self.one, [self.one]


class OnlyRead:
    """Shows a dictionary that only a closure holds besides."""

    def __init__(self, inside):
        self.shown = types.MappingProxyType(inside)

    @property
    def inside(self):
        return gc.get_referents(self.shown)[0]


class WithProperty:
    @property
    def count(self, seen=[]):  # noqa: B006 - that is the point
        seen.append(1)
        return len(seen)


def _bottom(state):
    while isinstance(state, list):
        state = state[0]
    return state


def drawn(kind, interrupted):
    """What four training passes give, with a pass of ours in between each or not."""
    make, step = KINDS[kind]
    OnItsClass.count = 0
    with_default.__defaults__[0].clear()
    vars(with_attribute).clear()
    CountingInstances.made.clear()
    vars(Stage.FIRST).pop("calls", None)
    WithProperty.count.fget.__defaults__[0].clear()
    torch.manual_seed(0)
    model = Counting(make(), step if make() is not None else step())
    changes, out = KnownChanges(), []
    for number in range(4):
        out.append(model())
        if interrupted:
            changes.begin(thorough=number == 0)
            with preserved_model(model, changes=changes):
                model(), model()
    return out, changes.take_unrestored()


@pytest.mark.parametrize("kind", KINDS)
def test_what_a_pass_counts_in_comes_back(kind):
    plain, _ = drawn(kind, interrupted=False)
    ours, unrestored = drawn(kind, interrupted=True)
    assert ours == plain
    assert len({repr(one) for one in plain}) > 1, "nothing was counted"
    assert not unrestored


def _mutate(state, steps):
    """Changes everything that can be reached, in place and by exchange, as often as there are steps."""
    for step in range(steps):
        for part in list(_parts(state)):
            if isinstance(part, dict):
                part.pop(next(iter(part), None), None)
                part[f"new {step}"] = step
            elif isinstance(part, (list, collections.deque)):
                part.append(step)
                part.rotate() if isinstance(part, collections.deque) else part.reverse()
            elif isinstance(part, set):
                part.symmetric_difference_update({step, "x"})
            elif isinstance(part, (torch.Tensor, np.ndarray)):
                part += 1
            elif isinstance(part, bytearray):
                part.extend(b"more")
            elif isinstance(part, random.Random):
                part.random()
            elif isinstance(part, (Slotted, types.SimpleNamespace)):
                part.n = [part.n]


def _parts(state):
    inner = {
        dict: lambda: state.values(),
        Slotted: lambda: [state.n],
        types.SimpleNamespace: lambda: [state.n],
    }.get(type(state), lambda: state if isinstance(state, (list, tuple, collections.deque)) else [])
    for part in list(inner()):
        yield from _parts(part)
    yield state


def _written(state):
    """All of it as a text, and the order and identity of what is in it."""
    own = {torch.Tensor: lambda s: s.tolist(), np.ndarray: lambda s: s.tolist(), random.Random: lambda s: s.getstate()}
    return [
        (id(part), list(part) if isinstance(part, dict) else None, own.get(type(part), repr)(part))
        for part in _parts(state)
    ]


leaves = st.one_of(
    st.integers(),
    st.just("text"),
    st.builds(lambda n: torch.zeros(n), st.integers(0, 3)),
    st.builds(lambda n: np.zeros(n), st.integers(0, 3)),
    st.builds(bytearray, st.just(b"ab")),
    st.builds(random.Random, st.integers(0, 9)),
    st.builds(set, st.just([1, 2])),
)
states = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.lists(inner, max_size=3).map(tuple),
        st.lists(inner, max_size=3).map(lambda items: collections.deque(items, maxlen=4)),
        st.dictionaries(st.text(max_size=2), inner, max_size=3),
        inner.map(Slotted),
        inner.map(lambda n: types.SimpleNamespace(n=n)),
    ),
    max_leaves=12,
)


@settings(max_examples=60, deadline=None)
@given(states, st.integers(1, 3), st.booleans())
def test_random_holders_within_each_other_come_back(state, steps, shared):
    model = Counting([state, state] if shared else state, lambda state: _mutate(state, steps))
    before = _written(model.state)
    with preserved_model(model):
        model()
    assert _written(model.state) == before


def test_nothing_is_written_into_a_complex_tensor_with_nan_that_is_as_it_was():
    model = nn.Module()
    model.held = torch.tensor([1 + 1j, complex(float("nan"), 0)])
    version = model.held._version
    with preserved_model(model):
        pass
    assert model.held._version == version
