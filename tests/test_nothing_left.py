"""What an ordinary step costs, and what is left behind: nothing."""

import contextlib
import gc
import os
import threading
import time
import weakref
from collections import Counter
from pathlib import Path

import pytest
import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from toys import Encoder, Module, loader, pl, trainer

from rankwatch import RankWatch, RowSampling, Watch
from rankwatch.arguments.settings import WATCH
from rankwatch.readings.reading_from_sample import measure

pytestmark = pytest.mark.filterwarnings("ignore:RankWatch. the trainer has no logger")

SETTINGS = {"rows": RowSampling(n_utterances=16), "strict": True, "max_overhead": None}

knows_its_default = pytest.mark.skipif(
    not hasattr(torch, "get_default_device"), reason="torch 2.2 tells its default device by an operation only"
)


class Operations(TorchDispatchMode):
    """Counts operations on tensors, as they reach the device."""

    def __init__(self):
        super().__init__()
        self.seen = Counter()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.seen[str(func)] += 1
        return func(*args, **(kwargs or {}))


class Calls(TorchFunctionMode):
    """Counts torch's functions and methods (.cpu(), .numpy() and .tolist() among them); not questions about a shape."""

    def __init__(self):
        super().__init__()
        self.seen = Counter()

    def __torch_function__(self, func, types, args=(), kwargs=None):
        if func is not torch.device and getattr(func, "__name__", "") != "__get__":
            self.seen[str(func)] += 1
        return func(*args, **(kwargs or {}))


class Counted(RankWatch):
    """Counts what each of its hooks asks of torch, by optimiser step."""

    HOOKS = ("on_train_batch_start", "on_before_backward", "on_train_batch_end")

    def __init__(self, **arguments):
        super().__init__(**arguments)
        self.asked = {}

    def count(self, hook, trainer, *args):
        with Operations() as operations, Calls() as calls:
            getattr(super(), hook)(trainer, *args)
        self.asked[hook, trainer.global_step] = operations.seen + calls.seen


for _hook in Counted.HOOKS:
    setattr(Counted, _hook, lambda self, trainer, *args, _hook=_hook: self.count(_hook, trainer, *args))


class Barred(Module):
    """Shows its loss in the progress bar, which Lightning fetches from the device whenever it is asked for metrics."""

    def training_step(self, batch, batch_idx):
        loss = super().training_step(batch, batch_idx)
        self.log("shown", loss, prog_bar=True)
        return loss


@knows_its_default
def test_in_an_ordinary_step_the_callback_asks_nothing_of_torch(tmp_path):
    """So it never waits for a device: rows are drawn after steps 2, 10 and 20, and told one step later.

    Only the batch that is the last one before a reading is looked at, as it starts (after steps 9 and 19).
    """
    callback = Counted(every_n_steps=10, **SETTINGS)
    arguments = {"max_steps": 20, "logger": False, "enable_checkpointing": False}
    trainer(tmp_path, callback, **arguments).fit(Barred(), loader())
    assert {r.step for r in callback.readings} == {2, 10, 20}
    busy = {step for (_, step), seen in callback.asked.items() if seen}
    assert {2, 10, 20} <= busy  # what is asked is seen
    ordinary = {key: seen for key, seen in callback.asked.items() if key[1] in {*range(4, 10), *range(12, 20)}}
    # An epoch has 8 batches; at its end metrics are published again, outside of these hooks.
    assert len(ordinary) == 3 * 14
    assert all(ordinary.pop(("on_train_batch_start", step)) for step in (9, 19))
    assert {key: seen for key, seen in ordinary.items() if seen} == {}


def steps(model, count):
    """A training loop, as a generator that is between two optimiser steps whenever it yields."""
    optimizer = torch.optim.SGD(model.parameters(), 1e-3)
    batches = list(loader(32))
    for index in range(count):
        batch = batches[index % len(batches)]
        yield batch
        optimizer.step()
        optimizer.zero_grad()


def operations_by_step(model, watch, count=30):
    seen = []
    training = steps(model, count)
    for batch in training:
        with Operations() as operations:
            with watch.batch(batch) if watch else contextlib.nullcontext():
                model(*batch).square().mean().backward()
            if watch:
                watch.step()
        seen.append(operations.seen)
    return seen


@knows_its_default
@pytest.mark.parametrize("kinds", [WATCH[:-1], WATCH])
def test_a_whole_ordinary_step_makes_the_same_operations_as_without_us(tmp_path, kinds):
    """The hooks on the training pass included; with them, rows are drawn in the batches before a reading."""
    model = Encoder(layer_drop=0.0)
    plain = operations_by_step(model, None)
    with Watch(model, tmp_path, every_n_steps=10, watch=kinds, **SETTINGS) as watch:
        watched = operations_by_step(model, watch)
    more = [step for step, (ours, theirs) in enumerate(zip(watched, plain, strict=True), 1) if ours != theirs]
    before = [8, 9] if "training_pass" in kinds else []
    assert {2, 10, 20, 30} <= set(more)
    assert set(more) <= {1, 2, 3, *(step + start for start in (0, 10, 20) for step in [*before, 10, 11])}


def live():
    """Tensors and objects of ours that there are; torch has objects that don't like to be looked at."""
    gc.collect()
    with contextlib.suppress(ReferenceError):
        kinds = [type(thing) for thing in gc.get_objects()]
    ours = Counter(kind.__name__ for kind in kinds if str(kind.__module__).startswith("rankwatch."))
    tensors = sum(issubclass(kind, torch.Tensor) for kind in kinds)
    return tensors, ours


def resident():
    """Megabytes."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


class NoWriter:
    """A logger that writes nothing: drawing pictures would be most of the time."""

    def log_metrics(self, metrics, step):
        pass


OF_READINGS = ("Reading", "Protocol", "LayerDrift")
"""A reading, and what each of them has: one protocol, and up to two drifts."""


def grown(folder, count, warm):
    """What there is more after `count` steps than after `warm`: tensors, objects beside readings, megabytes."""
    torch.manual_seed(0)
    model, seen = Encoder(width=8, depth=1, layer_drop=0.0), []
    with Watch(model, folder, writer=NoWriter(), every_n_steps=20, **SETTINGS) as watch:
        for step, batch in enumerate(steps(model, count), 1):
            with watch.batch(batch):
                model(*batch).square().mean().backward()
            watch.step()
            if step in (warm, count):
                seen.append((*live(), resident()))
        readings = len(watch.readings)
    (few, old, less), (many, new, more) = seen
    elsewhere = {name: n for name, n in (new - old).items() if name not in OF_READINGS}
    return many - few, elsewhere, more - less, readings


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="asks Linux how much memory the process has")
@pytest.mark.parametrize(
    ("count", "warm", "most"), [(605, 205, 20.0), pytest.param(10_005, 2_005, 40.0, marks=pytest.mark.slow)]
)
def test_memory_does_not_grow(tmp_path, count, warm, most):
    """A reading every 20 steps, so that the newest is told already; only readings themselves add up, to a bound.

    Measured: -2 MB from step 205 to 605; 7 MB from 2,005 to 10,005, with 1,600 readings more.
    """
    tensors, objects, megabytes, readings = grown(tmp_path, count, warm)
    print(f"{tensors} tensors, {objects}, {megabytes:.1f} MB, {readings} readings")
    assert readings == 4 * (1 + (count // 20))
    assert tensors <= 0  # fewer: what earlier tests had left is gone by then
    assert objects == {}
    assert megabytes < most


def test_readings_and_alarms_are_kept_to_a_bound(tmp_path):
    """Days of readings: the newest 20,000 stay in memory, the file has them all."""
    watch = Watch(Encoder(), tmp_path, writer=NoWriter())
    outcomes = watch._session.outcomes
    assert outcomes.readings.maxlen == outcomes.alarms.maxlen == 20_000
    outcomes.readings.extend(range(30_000))
    assert watch.readings[:2] == [10_000, 10_001]
    watch.close()


class Weak:
    """Weak references to what a layer gives, in training and in evaluation passes; hooks of its own."""

    def __init__(self, model):
        self.training, self.eval_pass = [], []
        for module in (model.feature_extractor, *model.layers):
            module.register_forward_hook(self.look)

    def look(self, module, args, output):
        (self.training if torch.is_grad_enabled() else self.eval_pass).append(weakref.ref(output))


@pytest.mark.parametrize("kinds", [WATCH[:-1], WATCH])
def test_no_activation_outlives_its_step(tmp_path, kinds):
    gc.disable()  # nothing may hang on a cycle either
    try:
        model = Encoder(layer_drop=0.0)
        weak = Weak(model)
        with Watch(model, tmp_path, writer=NoWriter(), every_n_steps=3, watch=kinds, **SETTINGS) as watch:
            for batch in steps(model, 7):
                with watch.batch(batch):
                    loss = model(*batch).square().mean()
                    watch.before_backward()
                    loss.backward()
                del loss
                assert [ref for ref in weak.training if ref() is not None] == []
                watch.step()
                assert [ref for ref in weak.eval_pass if ref() is not None] == []
        assert len(weak.training) == 7 * 4
        assert len(weak.eval_pass) >= 4 * 3
    finally:
        gc.enable()


def threads():
    return [thread for thread in threading.enumerate() if thread.name == "rankwatch"]


def hooks(module):
    return [name for name, part in module.named_modules() if part._forward_hooks or part._forward_pre_hooks]


class BreakOff(pl.Callback):
    """Ends the run at a step at which a reading was started just before; notes whether it is being worked on."""

    def __init__(self, error):
        self.error = error
        self.working = None
        self.reached = threading.Event()

    def on_train_batch_end(self, trainer, module, outputs, batch, batch_idx):
        if trainer.global_step == 3:
            self.working = len(threads())
            self.reached.set()
            if self.error is not None:
                raise self.error


@pytest.mark.parametrize("error", [None, ZeroDivisionError, KeyboardInterrupt])
@pytest.mark.parametrize("slow", [False, True])
def test_no_hook_and_no_thread_outlives_the_fit(tmp_path, monkeypatch, error, slow):
    """Also where the run breaks off while a reading is being worked on."""
    end = BreakOff(error)

    def measured_slowly(*args, **kwargs):
        if kwargs["step"] == 3:
            end.reached.wait(60)
            time.sleep(0.1)  # for each of four layers: it goes on while the run ends
        return measure(*args, **kwargs)

    if slow:
        monkeypatch.setattr("rankwatch.readings.layer_readings.measure", measured_slowly)
    module = Module()
    callback = RankWatch(every_n_steps=3, watch=["frame", "training_pass"], **SETTINGS)
    run = trainer(tmp_path, callback, end, max_steps=4, logger=False, enable_checkpointing=False)
    # Of Ctrl-C Lightning makes an exit, older ones an ordinary end.
    expected = {None: contextlib.nullcontext(), KeyboardInterrupt: contextlib.suppress(SystemExit)}
    with expected.get(error) or pytest.raises(ZeroDivisionError):
        run.fit(module, loader())
    assert end.working == 1 or not slow
    assert threads() == []
    assert hooks(module) == []
    assert {r.step for r in callback.readings} >= {3}  # what was worked on is told
