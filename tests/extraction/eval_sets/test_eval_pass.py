"""An evaluation set is run equally often everywhere, and asks the other processes equally often."""

import contextlib

import pytest
import torch
from toys import Encoder

from rankwatch.extraction.eval_sets.eval_pass import EvalPass
from rankwatch.extraction.eval_sets.eval_runner import EvalRunner
from rankwatch.extraction.eval_sets.eval_set import EvalSet, audio_eval_set
from rankwatch.extraction.model.layers import find_layers
from rankwatch.extraction.rows.row_buffer import RowBuffer
from rankwatch.extraction.rows.row_extraction import RowExtractor
from rankwatch.runtime.diagnostics import Diagnostics
from rankwatch.runtime.stopwatch import Stopwatch

WAVES = torch.randn(4, 900, generator=torch.Generator().manual_seed(0))


class Writing(Encoder):
    """Writes into the first block's output."""

    def forward(self, waveforms, lengths):
        x = self.feature_extractor(waveforms.unsqueeze(1)).transpose(1, 2)
        for layer in self.layers:
            x = layer(x, None)
            x += 1
        return x


def fill(batches, model=None, passes=None, taps=None):
    """Fills two windows, and says the taps; returns the numbers asked for, the passes made, and the windows."""
    taps = {} if taps is None else taps
    model = model or Encoder()
    asked, made = [], []
    layers = find_layers(model)
    model.register_forward_hook(lambda *_: made.append(1))

    def numbers(value, about):
        asked.append(value)
        return [value, passes or value]

    row_extractor = RowExtractor(layers, model, levels=["frame"], per_utterance=4)
    eval_pass = EvalPass(
        model, layers, row_extractor, Diagnostics("test", strict=True), numbers, contextlib.nullcontext, Stopwatch()
    )
    eval_pass.runner = EvalRunner(model, None)
    eval_set = audio_eval_set("set", batches) if batches else EvalSet("set")
    eval_set.forward = lambda module, batch: module(*batch)
    windows = [RowBuffer("set", ("frame",)) for _ in range(2)]
    for window in windows:
        eval_pass.fill(window, eval_set)
    taps.update({layer.name: row_extractor.taps.of("set", layer.name) for layer in layers})
    return asked, len(made), windows


PAIRS = [(WAVES[:2], torch.tensor([900, 900])), (WAVES[2:], torch.tensor([900, 900]))]


@pytest.mark.parametrize("batches", [[], PAIRS[:1], PAIRS])
def test_a_process_asks_the_others_equally_often_whatever_it_holds(batches):
    asked, _, _ = fill(batches)
    assert len(asked) == 4  # passes, fingerprint, number, and once whether outputs are written into


def test_passes_are_made_as_often_as_elsewhere():
    _, made, windows = fill(PAIRS[:1], passes=3)
    assert made == 6 + 1  # two readings of three, and one since another process saw an output written into
    assert [window.utterances for window in windows] == [2, 2]


def test_outputs_that_are_written_into_are_read_as_the_layer_gave_them():
    torch.manual_seed(0)
    model = Writing(layer_drop=0.0)
    _, made, windows = fill(PAIRS, model)
    assert made == 5
    x = model.eval().feature_extractor(WAVES.unsqueeze(1)).transpose(1, 2)
    first = model.layers[0](x, None)
    rows = windows[0].take("frame", "layers.0")
    assert len(rows.rows) == 16
    mean = rows.rows.double().mean()
    assert abs(mean - first.double().mean()) < 0.5  # written into it would be above by 1


class Unfollowed(Encoder):
    """Can't bear that its operations are followed, as an operation of somebody else's may not."""

    def forward(self, *batch):
        if torch.utils._python_dispatch._get_current_dispatch_mode() is not None:
            raise NotImplementedError
        return super().forward(*batch)


def test_a_model_whose_operations_cannot_be_followed_is_read_all_the_same():
    torch.manual_seed(0)
    model, taps = Unfollowed(layer_drop=0.0), {}
    asked, _, windows = fill(PAIRS, model, taps=taps)
    assert len(asked) == 4
    assert set(taps.values()) == {"unknown"}
    torch.manual_seed(0)
    _, _, plain = fill(PAIRS, Encoder(layer_drop=0.0), taps=taps)
    assert set(taps.values()) == {"activation", "norm"}
    for ours, theirs in zip(windows, plain, strict=True):
        assert torch.equal(ours.take("frame", "layers.0").rows, theirs.take("frame", "layers.0").rows)
