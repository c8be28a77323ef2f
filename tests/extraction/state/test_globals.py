"""Global variables of the file in which a model, or a function that it uses, is defined."""

import collections
import itertools
import sys
import types

import pytest
import torch
from torch import nn

from rankwatch.extraction.execution.preserved_model import preserved_model
from rankwatch.extraction.state.holders.globals import globals_of
from rankwatch.extraction.state.known_changes import KnownChanges

FILE = """
import torch
from torch import nn
from other_file import elsewhere

cache, count, seen, numbers, late = {}, 0, {"a", "b"}, iter(range(99)), None
table, module, unused = torch.zeros(1), nn.BatchNorm1d(2), []

class Stats:
    calls = 0

def counted():
    global count
    count += 1
    return count

def cached():
    cache[len(cache)] = [nested() for _ in range(2)]
    return len(cache)

def nested():
    global late
    late = [*(late or ()), 1]
    table.add_(1)
    return len(late)

def in_a_class():
    Stats.calls += 1
    return Stats.calls

def moved():
    return next(numbers), seen.pop() if seen else 0

def normalised():
    module.train()
    module(torch.randn(4, 2))
    return module.running_mean.tolist()

def generated():
    return next(generator)

def counting():
    n = 0
    while True:
        n += 1
        yield n

generator = counting()

class Model(nn.Module):
    def __init__(self, step):
        super().__init__()
        self.step = step

    def forward(self):
        return globals()[self.step]() if self.step == "unseen" else self.steps()

    def steps(self):
        return {"counted": counted, "cached": cached, "in_a_class": in_a_class, "moved": moved,
                "normalised": normalised, "elsewhere": elsewhere, "generated": generated}[self.step]()
"""
OTHER = """
kept = []

def elsewhere():
    kept.append(1)
    return len(kept)
"""


@pytest.fixture
def model_file(monkeypatch):
    """A Python module as a user writes it, with one that it imports from."""
    modules = []
    for name, text in (("other_file", OTHER), ("model_file", FILE)):
        module = types.ModuleType(name)
        monkeypatch.setitem(sys.modules, name, module)
        exec(text, vars(module))
        modules.append(module)
    return modules[1]


STEPS = ["counted", "cached", "in_a_class", "moved", "normalised", "elsewhere"]


@pytest.mark.parametrize("step", STEPS)
def test_what_a_pass_does_to_them_comes_back(model_file, step):
    torch.manual_seed(0)
    names = {name: value for name, value in vars(model_file).items() if not name.startswith("__")}
    model, changes = model_file.Model(step), KnownChanges()
    with preserved_model(model, changes=changes):
        within = [model(), model()]
    assert within[0] != within[1], "nothing was counted"
    assert {name: vars(model_file)[name] for name in names} == names
    torch.manual_seed(0)
    with preserved_model(model, changes=changes):
        assert [model(), model()] == within
    assert model_file.table.item() == 0
    assert changes.take_unrestored() == {}


def test_a_generator_among_them_is_named(model_file):
    changes = KnownChanges()
    with preserved_model(model_file.Model("generated"), changes=changes):
        next(model_file.generator)
    assert changes.take_unrestored() == {"model_file.generator": "a generator"}


def test_what_no_function_of_the_models_uses_is_let_be(model_file):
    """Other threads may write into it: a loop's losses, what a loader has fetched."""
    with preserved_model(model_file.Model("counted")):
        model_file.unused.append(1)
    assert model_file.unused == [1]


def test_names_are_found_in_inner_functions_and_those_of_libraries_are_not_among_them():
    used, exchanged = globals_of(_using)
    assert (used, exchanged) == (("COUNTS", "PLACE"), {"PLACE"})


COUNTS, PLACE = collections.Counter(), 0


def _using():
    def inner():
        global PLACE
        PLACE = len([COUNTS for _ in itertools.chain("ab", sys.argv)])

    return inner, torch.zeros, nn.Linear, pytest
