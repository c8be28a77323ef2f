"""The training pass as people run it: with activation checkpoints, parts without gradients, and batches that fail."""

import warnings

import pytest
import torch
from torch.utils.checkpoint import checkpoint
from toys import Encoder, Noise, collate

from rankwatch import FirstBatches, RowSampling, Watch
from rankwatch.arguments.settings import WATCH

ROWS = RowSampling(n_utterances=6)
LAYERS = ["feature_extractor", "layers.0", "layers.1"]


class Rewritten(Encoder):
    """Its blocks run within activation checkpoints, its front end without gradients."""

    def __init__(self, reentrant=None, frozen=False, **arguments):
        super().__init__(layer_drop=0.0, depth=2, dropout=0.0, **arguments)
        self.reentrant, self.frozen = reentrant, frozen

    def forward(self, waveforms, lengths):
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.frozen):
            x = self.feature_extractor(waveforms.unsqueeze(1)).transpose(1, 2)
        padding = torch.arange(x.shape[1]) >= self.frames(lengths).clamp(min=1).unsqueeze(1)
        for layer in self.layers:
            if self.reentrant is None or not torch.is_grad_enabled():
                x = layer(x, padding)
            else:
                x = checkpoint(layer, x, padding, use_reentrant=self.reentrant)
        return x


def train(folder, model, batches, fails=()):
    """Readings of the training pass, by step and layer; batches of these numbers fail and are skipped."""
    optimizer = torch.optim.SGD(model.parameters(), 0.0)
    rows = RowSampling(n_utterances=6)
    with Watch(model, folder, every_n_steps=1, max_overhead=None, rows=rows, watch=WATCH) as watch:
        for number, batch in enumerate(batches):
            try:
                with watch.batch(batch):
                    loss = model(*batch).square().mean()
                    if number in fails:
                        raise MemoryError
                    loss.backward()
            except MemoryError:
                assert not watch._session.monitor.row_collector._train._layer_hooks._outputs  # nothing stays alive
                continue
            optimizer.step()
            optimizer.zero_grad()
            watch.step()
    return {(r.step, r.layer, r.level): r.effective_rank for r in watch.readings if r.source == "train"}


def batches(count, longest=1200):
    items = [item[:longest] for item in Noise(6 * count, shortest=900).items]
    return [collate(items[start : start + 6]) for start in range(0, len(items), 6)]


@pytest.mark.parametrize("reentrant", [pytest.param(False, marks=pytest.mark.slow), True])
def test_blocks_under_a_checkpoint_read_as_without_one(tmp_path, reentrant):
    readings = {}
    for kind in (None, reentrant):
        torch.manual_seed(0)
        readings[kind] = train(tmp_path / str(kind), Rewritten(kind), batches(2))
    assert {layer for _, layer, _ in readings[reentrant]} == set(LAYERS)
    assert readings[reentrant] == readings[None]


def test_a_layer_that_runs_without_gradients_is_named_and_the_others_are_read(tmp_path):
    with pytest.warns(RuntimeWarning, match=r"feature_extractor ran without gradients .* in the training pass"):
        readings = train(tmp_path, Rewritten(frozen=True), batches(2))
    assert {layer for _, layer, _ in readings} == set(LAYERS[1:])


@pytest.mark.filterwarnings("ignore:RankWatch. first_batches could not be read")
@pytest.mark.parametrize("sources", [("train",), ("first_batches", "train")])
def test_layers_of_the_training_pass_have_taps_whether_evaluation_sets_can_be_read_or_not(tmp_path, sources):
    def forward(module, batch):
        if len(sources) == 1:
            raise MemoryError
        module(*batch)

    model = Rewritten()
    arguments = {"eval_sets": FirstBatches(forward=forward), "watch": WATCH}
    layers = ["auto", "layers.*.inner.linear2"]
    with Watch(model, tmp_path, every_n_steps=1, max_overhead=None, rows=ROWS, layers=layers, **arguments) as watch:
        for batch in batches(2):
            with watch.batch(batch):
                model(*batch).square().mean().backward()
            watch.step()
    branch = "linear" if len(sources) == 1 else "before_sum"  # what comes next isn't in the gradients
    expected = {"feature_extractor": "activation"} | {f"layers.{i}": "norm" for i in range(2)}
    expected |= {f"layers.{i}.inner.linear2": branch for i in range(2)}
    taps = {(r.source, r.layer): r.protocol.tap for r in watch.readings}
    assert taps == {(source, layer): tap for source in sources for layer, tap in expected.items()}


@pytest.mark.parametrize("longest", [900, pytest.param(1200, marks=pytest.mark.slow)])
def test_a_batch_that_fails_and_is_skipped_counts_for_nothing(tmp_path, longest):
    """With equal lengths its outputs would pass for those of the next batch."""
    all_of_them = batches(4, longest)
    readings = []
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        for fails in ((), (1,)):
            torch.manual_seed(0)
            shown = [batch for number, batch in enumerate(all_of_them) if fails or number != 1]
            readings.append(train(tmp_path / str(fails), Rewritten(), shown, fails))
    assert len({step for step, _, _ in readings[0]}) == 3
    assert readings[0] == readings[1]
