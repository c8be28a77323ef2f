"""The first batches: as the loader gave them, or as the model was called with them, or both."""

import pytest
import torch
from torch import nn
from toys import Encoder, Noise, collate

from rankwatch import AudioFolder, FirstBatches, RowSampling
from rankwatch.arguments.settings import Settings
from rankwatch.extraction.eval_sets.eval_set import EvalSet
from rankwatch.extraction.eval_sets.first_batches import FirstBatchCollector
from rankwatch.extraction.hooks.replayable_calls import recorder_for
from rankwatch.extraction.model.layers import find_layers
from rankwatch.monitor.monitor import Monitor


def run(module, batch):
    module(*batch)


def batches(count=6):
    return [collate(Noise(4, seed=seed).items) for seed in range(count)]


def collect(collector, model, some, *, calls=True):
    """Train on the batches; how many were needed until the collector was full."""
    needed = 0
    for batch in some:
        needed += not collector.full
        collector.batch_starts(batch)
        if calls:
            model(*batch)
        collector.batch_ends(batch)
    collector.close()
    return needed


@pytest.mark.parametrize(("forward", "recorded"), [(None, True), (run, False), (run, True)])
def test_a_set_with_its_own_forward_takes_batches_and_any_other_takes_calls(forward, recorded):
    model = Encoder(layer_drop=0.0)
    new_recorder = (lambda: recorder_for(model, find_layers(model))) if recorded else None
    collector = FirstBatchCollector(EvalSet("mine", forward=forward), 8, new_recorder)
    assert collect(collector, model, batches()) == 2
    assert collector.eval_set.utterances == 8
    assert all(bool(batch.args or batch.kwargs) == (forward is None) for batch in collector.eval_set.batches)
    assert torch.equal(collector.eval_set.batches[0].batch[0], batches()[0][0])
    assert (collector.template is not None) == recorded
    assert not any(module._forward_pre_hooks for module in model.modules())


class WritesIntoItsBatch(nn.Module):
    """Adds noise to its batch in place, as NeMo's dither, before the encoder is called with it."""

    def __init__(self):
        super().__init__()
        self.encoder = Encoder(layer_drop=0.0)

    def forward(self, waveforms, lengths):
        return self.encoder(waveforms.add_(1.0), lengths)


@pytest.mark.parametrize("forward", [None, run])
def test_batches_are_as_they_came_and_calls_as_they_were_made(forward):
    model = WritesIntoItsBatch()
    new_recorder = lambda: recorder_for(model.encoder, find_layers(model.encoder))  # noqa: E731
    collector = FirstBatchCollector(EvalSet("mine", forward=forward), 8, new_recorder)
    collect(collector, model, batches())
    for held, came in zip(collector.eval_set.batches, batches(), strict=False):
        assert torch.equal(held.batch[0], came[0])
        if forward is None:
            assert torch.equal(held.args[0], came[0] + 1.0)


def test_batches_are_collected_also_where_no_call_can_be_recorded():
    """Then other sets' audio has no call to be put into, which is not waited for in vain."""
    model = Encoder(layer_drop=0.0)
    collector = FirstBatchCollector(EvalSet("mine", forward=run), 8, lambda: recorder_for(model, find_layers(model)))
    assert collect(collector, model, batches(10), calls=False) == 5
    assert collector.eval_set.utterances == 8
    assert collector.template is None


def test_utterances_that_come_again_are_counted_once_and_end_the_collecting():
    model = Encoder(layer_drop=0.0)
    collector = FirstBatchCollector(EvalSet("mine", forward=run), 100, None)
    assert collect(collector, model, batches(2) * 10) == 2 + 4
    assert collector.eval_set.utterances == 8


def test_a_batch_without_utterances_is_passed_over():
    model = Encoder(layer_drop=0.0)
    collector = FirstBatchCollector(EvalSet("mine", forward=run), 8, None)
    assert collect(collector, model, [None, (torch.zeros(0, 9), torch.zeros(0)), *batches(3)], calls=False) == 4


def test_one_set_is_run_by_its_forward_and_another_by_the_recorded_call(tmp_path):
    soundfile = pytest.importorskip("soundfile")
    for index, samples in enumerate(Noise(8, seed=9).items):
        soundfile.write(tmp_path / f"{index}.wav", 0.1 * samples.numpy(), 16_000)
    asked = []

    def own(module, batch):
        asked.append(batch)
        module(*batch)

    sets = {"inside": FirstBatches(forward=own), "files": tmp_path, "same": AudioFolder(tmp_path, forward=own)}
    model = Encoder(layer_drop=0.0)
    monitor = Monitor(Settings(eval_sets=sets, rows=RowSampling(n_utterances=8), strict=True))
    monitor.attach(model)
    for step, batch in enumerate(batches(3)):
        monitor.batch_starts(batch, step)
        model(*batch)
        monitor.batch_ends(batch)
    assert monitor.agree_whether_due(3)
    readings = monitor.read(3).report.readings
    monitor.close()
    inputs = {r.source: r.protocol.input for r in readings}
    assert inputs == {"inside": "user", "files": "replayed", "same": "user"}
    ranks = {name: [r.effective_rank for r in readings if r.source == name] for name in sets}
    assert ranks["files"] == pytest.approx(ranks["same"])
    assert len(asked) == 2 + 1  # two training batches, and all files in one
