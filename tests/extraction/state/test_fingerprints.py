"""What can't be put back is noticed and named; what doesn't change, or isn't the model's, is not."""

import io
import itertools
import logging
import queue
import re
import threading
import warnings

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from torch import nn

from rankwatch import Watch
from rankwatch.extraction.execution.preserved_model import preserved_model
from rankwatch.extraction.state import known_changes, walk
from rankwatch.extraction.state.known_changes import LARGE, KnownChanges
from rankwatch.extraction.state.snapshot import ModelSnapshot


class Holding(nn.Module):
    """A model with a part that holds something."""

    def __init__(self, state):
        super().__init__()
        self.part = nn.Module()
        self.part.__class__ = type("Part", (nn.Module,), {})
        self.part.state = state


def unrestored_after(state, change, thorough=True, changes=None):
    """What is named after a pass in which something was done."""
    model = Holding(state)
    changes = changes or KnownChanges()
    changes.begin(thorough)
    with preserved_model(model, changes=changes):
        change(model.part.state)
    return changes.take_unrestored()


def counting():
    n = 0
    while True:
        n += 1
        yield n


def repeating(items):
    for _ in items:
        yield 1


def delegating():
    yield from counting()


GENERATORS = {
    "counting": counting,
    "all its values are equal": lambda: repeating([1] * 9),
    "from another": delegating,
    "inside of an expression": lambda: (1 for _ in itertools.repeat(0, 9)),
}


@pytest.mark.parametrize("thorough", [True, False])
@pytest.mark.parametrize("kind", GENERATORS)
def test_a_generator_that_has_moved_is_named_in_every_pass(kind, thorough):
    started = GENERATORS[kind]()
    next(started)
    for generator in (GENERATORS[kind](), started):
        assert unrestored_after(generator, next, thorough) == {"part.state": "a generator"}
        assert unrestored_after(generator, lambda _: None, thorough) == {}


def test_an_iterator_over_a_generator_can_only_be_named():
    assert unrestored_after(map(abs, counting()), next) == {"part.state": "of type map"}
    assert unrestored_after((iter([1, 2]),), lambda state: next(state[0])) == {"part.state": "of type list_iterator"}


def test_a_file_that_is_written_to_is_named_and_one_that_is_read_goes_back(tmp_path):
    path = tmp_path / "file"
    with path.open("w") as file:
        assert unrestored_after(file, lambda file: file.write("a line\nanother\n")) == {"part.state": "a file"}
    with path.open("rb") as file:
        assert unrestored_after(file, io.BufferedReader.readline) == {}
        assert file.readline() == b"a line\n"
    with path.open() as file:
        assert unrestored_after(file, lambda file: file.readline()) == {}
        assert file.readline() == "a line\n"


def test_a_set_that_is_not_lent_is_filled_again_and_named_if_its_order_is_another():
    """What a tuple holds can't be exchanged."""
    values = {1 << n for n in range(0, 40, 3)}
    for _ in range(4):
        values.pop()
    before, order = set(values), list(values)
    named = unrestored_after((values,), lambda state: [state[0].pop() for _ in range(5)] + [state[0].update("abcdef")])
    assert values == before
    assert named == ({} if list(values) == order else {"part.state": "the order of a set"})
    assert unrestored_after((values,), lambda state: None) == {}


def test_an_object_of_c_code_is_written_down_in_a_first_pass():
    sequence = np.random.SeedSequence(1)
    assert unrestored_after(sequence, lambda sequence: sequence.spawn(1)) == {"part.state": "of type SeedSequence"}
    assert unrestored_after(sequence, lambda sequence: None) == {}


@pytest.mark.parametrize("make", [lambda: torch.zeros(LARGE // 4 + 1), lambda: np.zeros(LARGE // 8 + 1)])
def test_what_is_large_and_begins_to_change_late_is_named_once_and_copied_from_then_on(make):
    changes, large = KnownChanges(), make()

    def change(state):
        state[0] += 1

    assert unrestored_after(large, lambda _: None, True, changes) == {}
    assert list(unrestored_after(large, change, False, changes)) == ["part.state"]
    for _ in range(2):
        assert unrestored_after(large, change, False, changes) == {}
    assert large[0] == 1


@pytest.fixture
def very_many(monkeypatch):
    monkeypatch.setattr(walk, "MANY", 100)
    return [torch.zeros(2) for _ in range(101)]


def test_of_very_many_tensors_all_are_copied_in_a_first_pass_and_then_as_many_as_are_needed(very_many):
    changes, many = KnownChanges(), very_many

    def change(state):
        state[3].add_(1)
        state[50].add_(1)

    assert unrestored_after(many, lambda _: None, True, changes) == {}
    model = Holding(many)
    changes.begin(thorough=False)
    assert len(ModelSnapshot(model, changes)._walk.restores) < 50
    assert list(unrestored_after(many, change, False, changes)) == ["part.state"]
    late = [tensor.clone() for tensor in many]
    assert unrestored_after(many, change, False, changes) == {}
    assert all(map(torch.equal, many, late))


def test_of_very_many_tensors_that_change_in_a_first_pass_all_come_back_ever_after(very_many):
    changes, many = KnownChanges(), very_many
    for thorough in (True, False):
        assert unrestored_after(many, lambda state: [one.add_(1) for one in state], thorough, changes) == {}
        assert not any(one.any() for one in many)


def test_copies_of_what_is_small_have_a_bound(monkeypatch):
    monkeypatch.setattr(known_changes, "_MOST_SMALL", 100)
    monkeypatch.setattr(known_changes, "_MOST_COPIED", 100)
    changes = KnownChanges()
    changes.begin(thorough=True)
    assert [changes.wants_copy("a", 40) for _ in range(6)] == [True, True, True, True, False, False]
    changes.begin(thorough=False)
    assert [changes.wants_copy("a", 40) for _ in range(4)] == [True, True, False, False]


class Unequal:
    def __eq__(self, other):
        raise AssertionError


Unequal.__hash__ = object.__hash__


class OddFile(Unequal, io.StringIO):
    pass


def test_objects_are_never_asked_whether_they_are_equal():
    objects = np.array([Unequal(), Unequal()], dtype=object)
    state = [OddFile(), {Unequal()}, {Unequal(): Unequal()}, objects, Unequal()]
    assert unrestored_after(state, lambda state: (state[0].write("a"), objects.__setitem__(0, 1))) == {}
    assert state[0].getvalue() == ""
    assert isinstance(objects[0], Unequal)


class MyTrainer(pl.Trainer):
    pass


class Prefetcher:
    """Another thread writes into its list."""

    def __init__(self):
        self.thread = threading.Thread(target=lambda: None)
        self.fetched = []


class MyQueue(queue.Queue):
    pass


ELSEWHERE = {
    "trainer": (
        lambda: MyTrainer(logger=False, barebones=True),
        lambda it: setattr(it, "seen", 1),
        lambda it: it.seen == 1,
    ),
    "queue": (MyQueue, lambda it: it.put(3), lambda it: it.get_nowait() == 3),
    "thread": (Prefetcher, lambda it: it.fetched.append(3), lambda it: it.fetched == [3]),
    "event": (threading.Event, lambda it: it.set(), lambda it: it.is_set()),
    "logger": (lambda: logging.getLogger("a model's"), lambda it: setattr(it, "seen", 1), lambda it: it.seen == 1),
    "optimizer": (
        lambda: torch.optim.SGD([torch.zeros(1)], 0.1),
        lambda it: it.param_groups[0].update(lr=9),
        lambda it: it.param_groups[0]["lr"] == 9,
    ),
}


@pytest.mark.parametrize("kind", ELSEWHERE)
def test_what_is_not_the_models_is_left_alone(kind):
    make, change, has_changed = ELSEWHERE[kind]
    state = make()
    assert unrestored_after([state], lambda _: change(state)) == {}
    assert has_changed(state)


def test_a_watch_that_is_held_by_the_model_reads_it(tmp_path, caplog):
    """Restoring it would take away what it has just read."""
    from toys import Encoder, loader

    class Owner(Encoder):
        pass

    caplog.set_level("INFO", "rankwatch")
    model = Owner(layer_drop=0.0, depth=1)
    model.watch = Watch(model, tmp_path, every_n_steps=1, max_overhead=None, strict=True)
    for batch in loader(16):
        with model.watch.batch(batch):
            model(*batch).square().mean().backward()
        model.watch.step()
    model.watch.close()
    assert "feature_extractor" in caplog.text
    assert "not read yet" not in caplog.text
    assert {r.layer for r in model.watch.readings} == {"feature_extractor", "layers.0"}


def test_a_reading_names_it_once_with_what_to_do_and_that_helps(tmp_path):
    from toys import Encoder, loader

    from rankwatch import FirstBatches

    class Streaming(Encoder):
        def __init__(self):
            super().__init__(layer_drop=0.0, depth=1)
            self.noise = counting()

        def forward(self, waveforms, lengths):
            return self.encode(waveforms + next(self.noise), lengths)

        def encode(self, waveforms, lengths):
            return super().forward(waveforms, lengths)

    def run(folder, **arguments):
        model = Streaming()
        with Watch(model, folder, every_n_steps=1, max_overhead=None, **arguments) as watch:
            for batch in loader(16):
                with watch.batch(batch):
                    model(*batch)
                watch.step()
        assert watch.readings
        return next(model.noise)

    expected = re.escape("has changed noise (a generator), which can't be put back") + ".*FirstBatches"
    with pytest.warns(RuntimeWarning, match=expected) as warned:
        assert run(tmp_path / "a") > 3
    assert len([one for one in warned if "noise" in str(one.message)]) == 1
    forward = FirstBatches(forward=lambda module, batch: module.encode(*batch))
    assert run(tmp_path / "b", eval_sets=forward) == 3


def nested(depth):
    return [nested(depth - 1) for _ in range(3)] if depth else [0]


def test_of_more_than_can_be_followed_what_lies_deepest_is_left_out_and_named_once(monkeypatch):
    monkeypatch.setattr(walk, "MOST_FOLLOWED", 60)
    changes, deep = KnownChanges(), nested(6)
    for said in (["part.state"], []):
        model = Holding(deep)
        model.part.other = [[1]]
        changes.begin(thorough=True)
        with preserved_model(model, changes=changes):
            model.part.state.append(1)  # near, and met before what is deep
            model.part.state[0].pop()
            model.part.other[0].append(2)
        assert changes.take_left_out() == said
        assert model.part.other == [[1]]
        assert deep == nested(6)


def test_a_flat_container_is_followed_as_far_as_is_affordable(monkeypatch):
    monkeypatch.setattr(walk, "MOST_FOLLOWED", 60)
    changes, flat = KnownChanges(), [[n] for n in range(100)]
    changes.begin(thorough=True)
    with preserved_model(Holding(flat), changes=changes):
        flat[0].append(1)
        del flat[50:]
    assert flat == [[n] for n in range(100)]
    assert changes.take_left_out() == ["part.state"]


def test_a_model_that_holds_more_than_can_be_followed_is_told_of_it(monkeypatch, tmp_path):
    monkeypatch.setattr(walk, "MOST_FOLLOWED", 200)
    model = nn.Sequential(nn.Conv1d(1, 8, 10, 5), nn.Conv1d(8, 8, 8, 4))
    model[0].tree = nested(7)
    watch = Watch(model, tmp_path, every_n_steps=1, max_overhead=None)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for _ in range(3):
            batch = torch.randn(4, 1, 400)
            with watch.batch(batch):
                model(batch)
            watch.step()
        watch.close()
    said = [str(one.message) for one in caught if "more values than can be followed" in str(one.message)]
    assert len(said) == 1
    assert "deep in 0.tree is neither put back nor noticed" in said[0]
