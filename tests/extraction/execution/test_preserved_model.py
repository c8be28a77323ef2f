"""Promise 1: the model and the random generators are left as they were."""

import queue
import random

import numpy as np
import pytest
import torch
from torch import nn

from rankwatch.extraction.execution.preserved_model import (
    ChangedParameters,
    preserved_model,
    preserved_random_state,
    unchanged_parameters,
)


class Counting(nn.Module):
    """Writes into a buffer in every forward pass, as an EMA or a codebook counter does."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(3, 3)
        self.norm = nn.BatchNorm1d(3)
        self.drop = nn.Dropout(0.5)
        self.register_buffer("seen", torch.zeros(1))

    def forward(self, x):
        self.seen += 1
        return self.drop(self.norm(self.linear(x)))


def _draws():
    return torch.rand(3).tolist(), np.random.rand(3).tolist(), random.random()


def test_random_state_is_restored_after_an_exception_too():
    with torch.random.fork_rng():
        state = torch.get_rng_state(), np.random.get_state(), random.getstate()
        expected = _draws()
        torch.set_rng_state(state[0]), np.random.set_state(state[1]), random.setstate(state[2])
        with pytest.raises(KeyError), preserved_random_state():
            raise KeyError(_draws())
        assert _draws() == expected


class Replacing(nn.Module):
    """Puts a new tensor in the buffer's place."""

    def __init__(self):
        super().__init__()
        self.register_buffer("seen", torch.zeros(1))

    def forward(self):
        self.seen = self.seen + 1


def test_a_replaced_buffer_is_put_back():
    model = Replacing()
    original = model.seen
    with preserved_model(model):
        model()
    assert model.seen is original
    assert model.seen.item() == 0


class Growing(nn.Module):
    """A positional table that grows with the longest input, whose length is kept beside it; a switch; a cache."""

    def __init__(self):
        super().__init__()
        self.longest, self.masked, self.cache = 0, True, None
        self.register_buffer("table", torch.zeros(0), persistent=False)

    def forward(self, x):
        if len(x) > self.longest:
            self.longest, self.table = len(x), torch.arange(len(x)) / 7
        self.masked, self.cache = False, x
        return x + self.table[: len(x)]


def test_a_table_that_grows_inside_still_fits_afterwards():
    model = Growing()
    model(torch.zeros(3))
    model.masked, model.cache = True, None
    with preserved_model(model):
        model(torch.zeros(9))
    assert (model.longest, len(model.table), model.masked, model.cache) == (3, 3, True, None)
    assert len(model(torch.zeros(6))) == 6


def test_what_is_drawn_inside_is_the_same_each_time_if_seeded():
    model = Counting()
    with preserved_model(model, seed=3):
        first = _draws()
    torch.rand(5), np.random.rand(5), random.random()
    state = torch.get_rng_state()
    with preserved_model(model, seed=3):
        assert _draws() == first
    assert torch.equal(torch.get_rng_state(), state)
    with preserved_model(model, seed=4):
        assert _draws() != first


def test_modes_and_buffers_are_restored_and_eval_mode_holds_inside():
    model = Counting()
    model.norm.eval()  # frozen by its owner
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with preserved_model(model):
        assert not any(module.training for module in model.modules())
        out = model(torch.randn(4, 3))
        assert not out.requires_grad
        assert model.seen.item() == 1
    assert model.training
    assert model.drop.training
    assert not model.norm.training
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


class Remembering(nn.Module):
    """Caches a table and its size in every way in which that is done."""

    def __init__(self):
        super().__init__()
        self.size, self.table, self.cache, self.queue = 0, None, {}, []
        self.counted = torch.zeros(1)
        self.register_buffer("late", None)

    def forward(self, x):
        if self.size != len(x):
            self.size, self.table, self.cache["table"] = len(x), torch.arange(len(x)) / 7, torch.arange(len(x)) / 7
            self.late = torch.arange(len(x)) / 7
        self.queue.append(x)
        self.counted += 1
        self.added = x
        return x + self.table + self.cache["table"] + self.late


def test_what_is_cached_under_a_size_comes_back_with_it():
    model = Remembering()
    model(torch.zeros(3))
    expected = model(torch.zeros(3))
    del model.added
    with preserved_model(model):
        model(torch.zeros(9))
        model(torch.zeros(4))
    assert (model.size, len(model.table), len(model.cache["table"]), len(model.late)) == (3, 3, 3, 3)
    assert len(model.queue) == 2
    assert model.counted.item() == 2
    assert not hasattr(model, "added")
    assert torch.equal(model(torch.zeros(3)), expected)


def test_nothing_at_all_was_cached_before():
    model = Remembering()
    with preserved_model(model):
        model(torch.zeros(9))
    assert (model.size, model.table, model.cache, model.queue, model.late) == (0, None, {}, [], None)
    model(torch.zeros(4))


class Drawing(nn.Module):
    """Draws from generators of its own."""

    def __init__(self):
        super().__init__()
        self.python, self.torch = random.Random(1), torch.Generator().manual_seed(1)
        self.new, self.old = np.random.default_rng(1), np.random.RandomState(1)

    def forward(self):
        return self.python.random(), torch.rand((), generator=self.torch).item(), self.new.random(), self.old.rand()


def test_a_models_own_generators_go_on_as_if_nothing_had_been():
    model, twin = Drawing(), Drawing()
    drawn = []
    for _ in range(3):
        assert model() == twin()
        with preserved_model(model, seed=3):
            drawn.append(model())
    assert drawn[0] == drawn[1] == drawn[2]


def test_rotary_positions_of_hugging_face_survive():
    """Their table is cached beside its length, in attributes of which neither is a buffer."""
    from speech_models import hugging_face

    changes = {"position_embeddings_type": "rotary", "layerdrop": 0.0}
    model = hugging_face("Wav2Vec2ConformerConfig", "Wav2Vec2ConformerModel", **changes)
    model(torch.randn(2, 800))
    with preserved_model(model, seed=0):
        model(torch.randn(2, 1600))
    model.train()
    model(torch.randn(2, 800)).last_hidden_state.square().sum().backward()
    assert all(block.ffn1.output_dense.weight.grad.any() for block in model.encoder.layers)


def test_modules_on_the_meta_device_can_be_left_alone():
    model = Counting().to("meta")
    with preserved_model(model):
        pass
    assert model.training


class Masker:
    """A helper of the model's, as mask samplers are: a generator, a counter, nested state."""

    def __init__(self):
        self.rng, self.calls, self.stats = torch.Generator().manual_seed(1), 0, {"m": {"n": 0, "sum": torch.zeros(2)}}

    def __call__(self):
        return self.draw()

    def draw(self):
        self.calls += 1
        self.stats["m"]["n"] += 1
        self.stats["m"]["sum"] += 1
        return torch.rand((), generator=self.rng).item() + self.calls + self.stats["m"]["n"]


class Helped(nn.Module):
    def __init__(self):
        super().__init__()
        self.helper, self.spare = Masker(), [(Masker(),)]
        self.drop = nn.Dropout(0.5)

    def forward(self):
        return self.helper.draw() + self.spare[0][0].draw()


def test_what_a_modules_helpers_keep_comes_back_too():
    model, twin = Helped(), Helped()
    for _ in range(3):
        assert model() == twin()
        with preserved_model(model, seed=3):
            model(), model()
    assert model.helper.stats["m"]["sum"].tolist() == twin.helper.stats["m"]["sum"].tolist()


def test_the_same_table_in_many_blocks_is_copied_once():
    from rankwatch.extraction.state.snapshot import ModelSnapshot

    table = torch.zeros(1000)
    model = nn.ModuleList([Helped() for _ in range(24)])
    alone = len(ModelSnapshot(model)._walk.restores)
    for block in model:
        block.table = table
    assert len(ModelSnapshot(model)._walk.restores) == alone + 2  # what is in it, and what is put on it


@pytest.mark.parametrize("odd", ["sparse", "nested", "inference_nan", "resized", "script", "meta"])
def test_modes_come_back_whatever_else_cannot_be_compared(odd):
    model = Helped()
    model.tail = nn.Dropout(0.5)
    with torch.inference_mode():
        cached = torch.full((3,), float("nan"))
    made = {
        "sparse": lambda: torch.eye(3).to_sparse(),
        "nested": lambda: torch.nested.nested_tensor([torch.ones(2), torch.ones(3)]),
        "inference_nan": lambda: cached,
        "resized": lambda: torch.zeros(3),
        "script": lambda: torch.jit.script(nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))),
        "meta": lambda: torch.zeros(3, device="meta"),
    }
    model.odd = made[odd]()
    with preserved_model(model):
        if odd == "resized":
            model.odd.resize_(7).fill_(1.0)
    assert all(module.training for module in model.modules())
    if odd == "resized":
        assert model.odd.tolist() == [0.0, 0.0, 0.0]


def test_modes_come_back_though_something_fails():
    model = Helped()
    model.helper.stats["bad"] = Unforgiving(3)
    model.tail = nn.Dropout(0.5)
    with pytest.raises(RuntimeError, match="no"), preserved_model(model):
        model.helper.stats["bad"].random()
    assert all(module.training for module in model.modules())
    assert "bad" in model.helper.stats


class Unforgiving(random.Random):
    def setstate(self, state):
        raise RuntimeError("no")


class Lazy(nn.Module):
    """Builds a part when it is first needed."""

    def __init__(self):
        super().__init__()
        self.proj = None

    def forward(self, x):
        if self.proj is None:
            self.proj = nn.Linear(x.shape[-1], 2)
        return self.proj(x)


def test_parts_that_are_built_inside_are_built_anew():
    model = Lazy()
    with preserved_model(model):
        model(torch.zeros(3, 4))
    assert model.proj is None
    assert not list(model.parameters())


def test_parameters_that_a_pass_writes_into_are_put_back_and_named():
    model = nn.Linear(2, 2)
    before = model.weight.detach().clone()
    with (
        pytest.raises(ChangedParameters, match=r"changes parameters \(weight, 1 in all\).*pass a forward"),
        unchanged_parameters(model),
    ):
        model.weight.data.mul_(0.5)
    assert torch.equal(model.weight, before)
    model.bias.data.fill_(float("nan"))
    with unchanged_parameters(model):
        pass


def test_what_other_threads_may_write_into_is_let_be():
    model = Helped()
    model.queue = queue.Queue()
    with preserved_model(model):
        model.queue.put(3)
    assert model.queue.get_nowait() == 3
