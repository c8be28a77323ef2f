"""Models compiled with ``fullgraph=True``, where a hook within the graph ends the run."""

import pytest
import torch
import torch._dynamo
from torch.utils.data import DataLoader
from toys import Encoder, collate, pl, trainer

from rankwatch import RankWatch, RowSampling
from rankwatch.arguments.settings import WATCH

pytestmark = pytest.mark.filterwarnings("ignore:RankWatch. the trainer has no logger")

SETTINGS = {"every_n_steps": 3, "rows": RowSampling(n_utterances=16), "strict": False, "max_overhead": None}


@pytest.fixture(autouse=True)
def _nothing_compiled_before():
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


class Straight(Encoder):
    """Without layer drop, whose branches no single graph can hold."""

    def forward(self, waveforms, lengths):
        x = self.feature_extractor(waveforms.unsqueeze(1)).transpose(1, 2)
        padding = torch.arange(x.shape[1]) >= self.frames(lengths).unsqueeze(1)
        for layer in self.layers:
            x = layer(x, padding)
        return x


class Whole(pl.LightningModule):
    """Everything in one graph: nothing is logged or looked at. A hook of ours in it would end the run."""

    def __init__(self, when=None, how="wrapped"):
        super().__init__()
        self.encoder, self.when, self.how = Straight(dropout=0.0), when, how
        self.at("init")

    def at(self, when):
        if when == self.when and self.how == "in place":
            self.encoder.compile(backend="eager", fullgraph=True)
        elif when == self.when and self.how == "forward":
            self.encoder.forward = torch.compile(self.encoder.forward, backend="eager", fullgraph=True)
        elif when == self.when:
            self.encoder = torch.compile(self.encoder, backend="eager", fullgraph=True)

    def on_train_start(self):
        self.at("on_train_start")

    def on_train_batch_end(self, outputs, batch, batch_idx):
        self.at(f"step {batch_idx + 1}")

    def training_step(self, batch, batch_idx):
        return self.encoder(*batch).square().mean()

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 1e-3)


def data():
    """Equal lengths, since a graph is made for each otherwise."""
    clips = [torch.randn(800, generator=torch.Generator().manual_seed(index)) for index in range(32)]
    return DataLoader(clips, 8, collate_fn=collate)


def whole(folder, callback, module):
    run = trainer(folder, *callback, max_steps=4, logger=False, enable_checkpointing=False)
    run.fit(module, data())
    return run.global_step


@pytest.mark.parametrize(
    ("when", "how"),
    [
        ("init", "wrapped"),
        pytest.param("on_train_start", "wrapped", marks=pytest.mark.slow),
        pytest.param("init", "in place", marks=pytest.mark.slow),
        ("step 1", "in place"),
        ("init", "forward"),
    ],
)
def test_a_full_graph_is_never_split(tmp_path, when, how):
    callback = RankWatch(**SETTINGS)
    assert whole(tmp_path, [callback], Whole(when, how)) == 4
    assert {r.step for r in callback.readings} == {2, 3, 4}


@pytest.mark.parametrize(
    ("when", "how"),
    [
        ("init", "wrapped"),
        pytest.param("on_train_start", "wrapped", marks=pytest.mark.slow),
        ("step 1", "in place"),
        ("init", "forward"),
    ],
)
def test_the_training_pass_of_a_full_graph_is_told_to_be_out_of_reach(tmp_path, when, how):
    callback = RankWatch(watch=WATCH, **SETTINGS)
    with pytest.warns(RuntimeWarning, match=r"train is not read: .* fullgraph=True.*each of its blocks in place"):
        assert whole(tmp_path, [callback], Whole(when, how)) == 4
    assert {r.source for r in callback.readings} == {"first_batches"}


def test_blocks_in_full_graphs_of_their_own_are_read_in_training_as_the_message_says(tmp_path):
    module, callback = Whole(), RankWatch(watch=WATCH, **SETTINGS)
    for block in module.encoder.layers:
        block.compile(backend="eager", fullgraph=True)
    assert whole(tmp_path, [callback], module) == 4
    assert {r.source for r in callback.readings} == {"first_batches", "train"}


def test_a_whole_module_in_one_graph_is_told_how_it_can_be_watched(tmp_path):
    try:
        whole(tmp_path / "a", [], torch.compile(Whole(), backend="eager", fullgraph=True))
    except Exception as error:
        pytest.skip(f"Lightning's own step can't be one graph here: {type(error).__name__}")
    callback = RankWatch(**SETTINGS)
    with pytest.warns(RuntimeWarning, match=r"fullgraph=True: use encoder = torch\.compile\(encoder\)"):
        assert whole(tmp_path / "b", [callback], torch.compile(Whole(), backend="eager", fullgraph=True)) == 4
    assert not callback.readings
