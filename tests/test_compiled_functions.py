"""Functions that were compiled and aren't a forward pass: no run is ended, no graph spoilt, nothing silently missed."""

import contextlib
import shutil
import warnings

import pytest
import torch
import torch._dynamo
from torch import nn
from toys import Block

from rankwatch import RowSampling, Watch

SETTINGS = {"every_n_steps": 3, "rows": RowSampling(n_utterances=8), "max_overhead": None}
needs_a_compiler = pytest.mark.skipif(shutil.which("g++") is None, reason="inductor needs a C++ compiler")


@pytest.fixture(autouse=True)
def _nothing_compiled_before():
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


class Plain(nn.Module):
    def __init__(self):
        super().__init__()
        self.front = nn.Sequential(nn.Conv1d(1, 32, 10, 5), nn.GELU(), nn.Conv1d(32, 32, 8, 4), nn.GELU())
        self.layers = nn.ModuleList(Block(32, 0.0) for _ in range(2))

    def _encode(self, waveforms):
        x = self.front(waveforms.unsqueeze(1)).transpose(1, 2)
        for layer in self.layers:
            x = layer(x, None)
        return x

    def forward(self, waveforms):
        return self._encode(waveforms)

    def loss(self, waveforms):
        return self(waveforms).square().mean()


class Attribute(Plain):
    """``self.encode = torch.compile(self._encode)``, which its forward pass calls."""

    def __init__(self, **options):
        super().__init__()
        self.encode = torch.compile(self._encode, **options)

    def forward(self, waveforms):
        return self.encode(waveforms)


class PastItself(Attribute):
    """Training calls the compiled function, and the model never."""

    def loss(self, waveforms):
        return self.encode(waveforms).square().mean()


def decorated(**options):
    class Decorated(Plain):
        @torch.compile(**options)
        def encode(self, waveforms):
            return self._encode(waveforms)

        def forward(self, waveforms):
            return self.encode(waveforms)

    return Decorated()


class RandomQuantizer(nn.Module):
    codebook_size = 8

    def __init__(self):
        super().__init__()
        self.register_buffer("codebook", torch.randn(8, 32))

    def forward(self, x):
        return (x.unsqueeze(-2) - self.codebook).square().sum(-1).argmin(-1)


class Targets(Plain):
    """A helper that assigns codes is compiled."""

    def __init__(self, **options):
        super().__init__()
        self.quantizer = RandomQuantizer()
        self.targets = torch.compile(self._targets, **options)

    def _targets(self, x):
        return self.quantizer(x)

    def forward(self, waveforms):
        x = super().forward(waveforms)
        return x + 0 * self.targets(x).unsqueeze(-1)


def train(folder, kind, options, *, attached=None, steps=7, **arguments):
    """Weights, ranks, and what was told; watched from the step `attached` on, or never."""
    torch._dynamo.reset()
    torch.manual_seed(0)
    model = kind(**options)
    optimizer = torch.optim.SGD(model.parameters(), 0.01)
    watch = None
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for step in range(steps):
            waveforms = torch.randn(4, 800, generator=torch.Generator().manual_seed(step))
            if step == attached:
                watch = Watch(model, folder, **SETTINGS, **arguments)
            with watch.batch(waveforms) if watch is not None else contextlib.nullcontext():
                model.loss(waveforms).backward()
            optimizer.step()
            optimizer.zero_grad()
            if watch is not None:
                watch.step()
        if watch is not None:
            watch.close()
    ranks = {(r.step, r.source, r.level, r.layer): r.effective_rank for r in watch.readings} if watch else {}
    told = [str(one.message) for one in caught if str(one.message).startswith("RankWatch")]
    return torch.cat([parameter.detach().flatten() for parameter in model.parameters()]), ranks, told


EAGER = {"backend": "eager"}
WHERE_NO_HOOK_FIRES = [
    (0, True),
    pytest.param(2, True, marks=pytest.mark.slow),
    pytest.param(2, False, marks=pytest.mark.slow),
]
"""Attached before the first call or after it, and whether the graph may not be split."""


@pytest.mark.parametrize(
    ("kind", "attached", "fullgraph"),
    [
        (Attribute, 0, True),
        *(
            pytest.param(kind, attached, fullgraph, marks=pytest.mark.slow)
            for kind in (Attribute, decorated)
            for attached in (0, 2)
            for fullgraph in (False, True)
            if (kind, attached, fullgraph) != (Attribute, 0, True)
        ),
    ],
)
def test_what_a_compiled_function_calls_is_read_as_if_it_were_not_compiled(tmp_path, kind, attached, fullgraph):
    """With ``fullgraph=True`` a hook that was there at the first call has ended the run."""
    plain, expected, _ = train(tmp_path / "a", Plain, {}, attached=attached)
    weights, ranks, told = train(tmp_path / "b", kind, {**EAGER, "fullgraph": fullgraph}, attached=attached)
    assert torch.equal(weights, plain)
    assert ranks == expected != {}
    assert told == []


@pytest.mark.slow
@needs_a_compiler
@pytest.mark.parametrize("fullgraph", [False, True])
@pytest.mark.parametrize("attached", [0, 2])
def test_by_inductor_full_graphs_train_as_without_us(tmp_path, attached, fullgraph):
    _, expected, _ = train(tmp_path / "a", Plain, {}, attached=attached)
    alone, _, _ = train(tmp_path / "b", Attribute, {"fullgraph": fullgraph})
    weights, ranks, _ = train(tmp_path / "c", Attribute, {"fullgraph": fullgraph}, attached=attached)
    assert ranks == pytest.approx(expected, rel=1e-4)
    if attached == 0:  # the same data as without us
        torch.testing.assert_close(weights, alone, rtol=0.0 if fullgraph else 1e-5, atol=0.0 if fullgraph else 1e-6)


@pytest.mark.parametrize("attached", [0, pytest.param(2, marks=pytest.mark.slow)])
def test_a_model_that_training_never_calls_is_named_with_what_to_do(tmp_path, attached):
    weights, ranks, told = train(tmp_path, PastItself, {**EAGER, "fullgraph": True}, attached=attached)
    assert ranks == {}
    assert any("what torch.compile has made of encode, where no hook fires: compile the encoder" in one for one in told)
    if attached == 0:
        assert torch.equal(weights, train(tmp_path, PastItself, {**EAGER, "fullgraph": True})[0])


@pytest.mark.parametrize(("attached", "fullgraph"), WHERE_NO_HOOK_FIRES)
def test_a_training_pass_within_a_compiled_function_is_named(tmp_path, attached, fullgraph):
    options = {**EAGER, "fullgraph": fullgraph}
    _, ranks, told = train(tmp_path, Attribute, options, attached=attached, watch=("frame", "training_pass"))
    assert {source for _, source, _, _ in ranks} == {"first_batches"}
    (one,) = told
    assert "training pass, of which nothing is read" in one
    assert "torch.compile has made of encode, where no hook fires" in one


@pytest.mark.slow
def test_a_training_pass_that_may_be_split_is_read(tmp_path):
    _, ranks, told = train(tmp_path, Attribute, EAGER, attached=0, watch=("frame", "training_pass"))
    assert {source for _, source, _, _ in ranks} == {"first_batches", "train"}
    assert told == []


@pytest.mark.parametrize(("attached", "fullgraph"), WHERE_NO_HOOK_FIRES)
def test_codes_that_a_compiled_function_assigns_are_named(tmp_path, attached, fullgraph):
    options = {**EAGER, "fullgraph": fullgraph}
    _, ranks, told = train(tmp_path, Targets, options, attached=attached, watch=("frame", "codebook"))
    assert {source for _, source, _, _ in ranks} == {"first_batches"}
    (one,) = told
    assert "codes of quantizer quantizer are not counted" in one
    assert "torch.compile has made of targets, where no hook fires" in one
