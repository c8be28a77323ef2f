"""Compiled models under the trainer: the same numbers, the same training, the same graphs."""

import shutil

import pytest
import torch
import torch._dynamo
from torch._dynamo.utils import counters
from torch.utils.data import DataLoader
from toys import Module, collate, pl, trainer

from rankwatch import RankWatch, RowSampling
from rankwatch.arguments.settings import WATCH

pytestmark = pytest.mark.filterwarnings("ignore:RankWatch. the trainer has no logger")

SETTINGS = {"every_n_steps": 3, "rows": RowSampling(n_utterances=16), "strict": False, "max_overhead": None}
needs_a_compiler = pytest.mark.skipif(shutil.which("g++") is None, reason="inductor needs a C++ compiler")


@pytest.fixture(autouse=True)
def _nothing_compiled_before():
    torch._dynamo.reset()
    counters.clear()
    yield
    torch._dynamo.reset()


class Compiled(Module):
    """Compiles its encoder, or each block, at the moment that is asked for.

    Args:
        when: A hook of the module, or None.
        what: ``"encoder"`` (a wrapper takes its place), ``"encoder in place"``, or ``"blocks in place"``.
        backend: Of `torch.compile`.
        dropout: The encoder's.
    """

    def __init__(self, when=None, what="encoder", backend="eager", dropout=0.1):
        super().__init__(layer_drop=0.0, dropout=dropout)
        self.when, self.what, self.arguments = when, what, {"backend": backend}
        self._now("init")

    def _now(self, when):
        if when != self.when:
            return
        if self.what == "encoder":
            self.encoder = torch.compile(self.encoder, **self.arguments)
        for module in {"encoder in place": [self.encoder], "blocks in place": self.encoder.layers}.get(self.what, []):
            module.compile(**self.arguments)

    def setup(self, stage):
        self._now("setup")

    def configure_model(self):
        self._now("configure_model")

    def on_train_start(self):
        self._now("on_train_start")

    def on_train_batch_start(self, batch, batch_idx):
        self._now(f"step {self.trainer.global_step}")


def data():
    """Equal lengths, since a graph is made for each otherwise."""
    clips = [torch.randn(800, generator=torch.Generator().manual_seed(index)) for index in range(32)]
    return DataLoader(clips, 8, collate_fn=collate)


def train(folder, *callbacks, whole=None, **arguments):
    """Returns the module, and the number of graphs and of graph breaks that the run needed."""
    torch._dynamo.reset()
    counters.clear()
    pl.seed_everything(0)
    module = Compiled(**arguments)
    run = trainer(folder, *callbacks, max_steps=7, logger=False, enable_checkpointing=False)
    run.fit(module if whole is None else torch.compile(module, backend=whole), data())
    return module, (counters["stats"]["unique_graphs"], sum(counters["graph_break"].values()))


def ranks(callback):
    return {(r.step, r.source, r.level, r.layer): r.effective_rank for r in callback.readings}


@pytest.fixture(scope="module")
def uncompiled(tmp_path_factory):
    """Readings, with those of the training pass."""
    callback = RankWatch(watch=WATCH, **SETTINGS)
    train(tmp_path_factory.mktemp("plain"), callback)
    return ranks(callback)


def check(folder, uncompiled, *, tolerance=0.0, more=(0, 0), **arguments):
    plain, graphs = train(folder / "a", **arguments)
    callback = RankWatch(**SETTINGS)
    watched, seen = train(folder / "b", callback, **arguments)
    assert watched.losses == plain.losses
    for ours, theirs in zip(watched.state_dict().values(), plain.state_dict().values(), strict=True):
        assert torch.equal(ours, theirs)
    assert graphs[0] > 0
    assert (seen[0] - graphs[0], seen[1] - graphs[1]) <= more
    worst = max((abs(value / uncompiled[key] - 1) for key, value in ranks(callback).items()), default=0.0)
    print(f"relative difference to the uncompiled model: {worst:.1e}")
    expected = {key: value for key, value in uncompiled.items() if key[1] == "first_batches"}
    assert ranks(callback) == pytest.approx(expected, rel=tolerance, abs=0.0)
    taps = {"activation" if "feature_extractor" in r.layer else "norm" for r in callback.readings}
    assert {r.protocol.tap for r in callback.readings} == taps
    return watched, graphs


@pytest.mark.parametrize(
    ("when", "what"),
    [
        ("init", "encoder"),
        ("init", "blocks in place"),
        pytest.param("setup", "encoder", marks=pytest.mark.slow),
        pytest.param("configure_model", "encoder", marks=pytest.mark.slow),
        pytest.param("step 3", "encoder", marks=pytest.mark.slow),
        pytest.param("init", "encoder in place", marks=pytest.mark.slow),
        pytest.param("setup", "encoder in place", marks=pytest.mark.slow),
        pytest.param("step 1", "encoder in place"),  # while calls are being recorded
        pytest.param("step 3", "encoder in place", marks=pytest.mark.slow),
    ],
)
def test_a_compiled_encoder_is_read_as_any_other_and_no_graph_is_made_for_us(tmp_path, uncompiled, when, what):
    check(tmp_path, uncompiled, when=when, what=what)


@pytest.mark.parametrize("what", ["encoder", pytest.param("encoder in place", marks=pytest.mark.slow)])
def test_an_encoder_compiled_as_training_starts_has_no_hook_of_ours_before(tmp_path, uncompiled, what):
    check(tmp_path, uncompiled, when="on_train_start", what=what)


@pytest.mark.parametrize(
    ("when", "what", "more"),
    [
        ("init", "encoder", (2, 1)),
        pytest.param("init", "encoder in place", (2, 1), marks=pytest.mark.slow),
        pytest.param("on_train_start", "blocks in place", (0, 0), marks=pytest.mark.slow),  # around each block's graph
    ],
)
def test_readings_of_the_training_pass_of_what_is_compiled(tmp_path, uncompiled, when, what, more):
    """Hooks that stay on within a graph split it in two, once: no graph is made anew at each step."""
    plain, graphs = train(tmp_path / "a", when=when, what=what)
    callback = RankWatch(watch=WATCH, **SETTINGS)
    watched, seen = train(tmp_path / "b", callback, when=when, what=what)
    assert watched.losses == plain.losses
    assert ranks(callback) == uncompiled
    assert (seen[0] - graphs[0], seen[1] - graphs[1]) == more


def test_the_compiled_code_is_used_again_after_each_reading(tmp_path):
    """An evaluation pass runs eagerly; every training pass but that runs what was compiled."""
    runs = []

    def backend(graph, inputs):
        def run(*args):
            runs.append(torch.is_grad_enabled())
            return graph(*args)

        return run

    used = {}
    for name, callbacks in {"without": (), "with": (RankWatch(**SETTINGS),)}.items():
        train(tmp_path / name, *callbacks, when="init", backend=backend)
        used[name], runs = list(runs), []
    assert used["with"] == used["without"]
    assert len(used["with"]) >= 7


@pytest.mark.slow
def test_a_whole_compiled_module(tmp_path, uncompiled):
    """Its encoder's hook is part of the step's graph, as long as the evaluation set is held back: one more, once."""
    check(tmp_path, uncompiled, whole="eager", more=(2, 1))


@pytest.mark.slow
@needs_a_compiler
@pytest.mark.parametrize(
    ("when", "what"),
    [
        ("init", "encoder"),
        ("step 3", "encoder"),
        ("init", "blocks in place"),
        ("init", "encoder in place"),
        ("step 1", "encoder in place"),
    ],
)
def test_compiled_by_inductor(tmp_path, when, what):
    """Without dropout, which inductor draws in its own way; what is left is its rounding in training."""
    callback = RankWatch(**SETTINGS)
    train(tmp_path / "plain", callback, dropout=0.0)
    inductor = {"backend": "inductor", "dropout": 0.0}
    check(tmp_path, ranks(callback), when=when, what=what, tolerance=1e-4, **inductor)
