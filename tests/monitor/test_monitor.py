"""The monitor without a trainer: a plain loop, padding, order, and what it refuses."""

import math

import pytest
import torch
from toys import Encoder, Noise, collate

from rankwatch import FirstBatches, RowSampling
from rankwatch.arguments.settings import Settings
from rankwatch.extraction.valid_frames.valid_lengths import AmbiguousLengths
from rankwatch.monitor.monitor import Monitor
from rankwatch.run.startup_table import run_header


class Identity(torch.nn.Module):
    """A stand-in whose single layer returns the embeddings that it is given, and their lengths."""

    def __init__(self):
        super().__init__()
        self.layers = torch.nn.ModuleList([Pass()])

    def forward(self, embeddings, lengths):
        return self.layers[0](embeddings, lengths)


class Pass(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.norm = torch.nn.LayerNorm(24)

    def forward(self, embeddings, lengths):
        return embeddings, lengths


def watch(model, batches, **settings):
    monitor = Monitor(Settings(**{"every_n_steps": 1, "strict": True, **settings}))
    monitor.attach(model)
    for step, batch in enumerate(batches):
        monitor.batch_starts(batch, step)
        model(*batch)
        monitor.batch_ends(batch)
    monitor.complete_eval_sets()
    outcome = monitor.read(100)
    monitor.close()
    return outcome.report.readings


def test_the_same_embeddings_read_the_same_under_padding_order_and_batching():
    generator = torch.Generator().manual_seed(0)
    lengths = torch.randint(1, 60, (40,), generator=generator).tolist()
    utterances = [torch.randn(n, 24, generator=generator) for n in lengths]

    def readings(order, size, extra):
        batches = []
        for start in range(0, len(order), size):
            chosen = [utterances[i] for i in order[start : start + size]]
            padded = torch.nn.utils.rnn.pad_sequence(chosen, batch_first=True)
            batches.append((torch.nn.functional.pad(padded, (0, 0, 0, extra)), torch.tensor([len(u) for u in chosen])))
        return watch(Identity(), batches, layers=["layers.0"], rows=RowSampling(n_utterances=40))

    plain = readings(list(range(40)), 40, 0)
    for order, size, extra in ([*range(40)], 40, 2), ([*reversed(range(40))], 7, 0), ([*range(1, 40), 0], 1, 1):
        assert readings(order, size, extra) == plain
    assert plain[0].n == sum(min(4, n) for n in lengths)


def test_a_plain_loop_works_and_training_is_not_touched():
    torch.manual_seed(0)
    model = Encoder()
    batches = [collate([Noise().items[i] for i in range(j, j + 8)]) for j in range(0, 32, 8)]
    before = torch.get_rng_state()
    with torch.random.fork_rng():
        monitor = Monitor(Settings(rows=RowSampling(n_utterances=32)))
        monitor.attach(model)
        for step, batch in enumerate(batches):
            monitor.batch_starts(batch, step)
            model(*batch)
            monitor.batch_ends(batch)
        state = torch.get_rng_state()
        assert monitor.agree_whether_due(4)
        outcome = monitor.read(4)
        assert torch.equal(torch.get_rng_state(), state)
        assert not monitor.agree_whether_due(4)
        assert not monitor.agree_whether_due(499)
        assert monitor.agree_whether_due(500)
    assert torch.equal(torch.get_rng_state(), before)
    assert model.training
    assert len(outcome.report.readings) == 8
    assert outcome.healthy


@pytest.mark.parametrize("length", [45, 50])
def test_a_handful_of_very_short_files_is_counted(length):
    """10 + 7 * 5 = 45 samples give one frame; the shortest give none."""
    batch = collate([torch.randn(n, generator=torch.Generator().manual_seed(n)) for n in (800, 900, length, 12, 700)])
    monitor = Monitor(Settings(rows=RowSampling(n_utterances=5)))
    monitor.attach(model := Encoder())
    monitor.batch_starts(batch, 0)
    model(*batch)
    monitor.batch_ends(batch)
    assert monitor.agree_whether_due(1)
    with pytest.warns(RuntimeWarning, match="1 utterances are too short"):
        outcome = monitor.read(1)
    frame = next(r for r in outcome.report.readings if (r.level, r.layer) == ("frame", "layers.2"))
    assert frame.n == 3 * 4 + 1
    assert "too_few_rows" in frame.status
    assert not outcome.report.alarms


def test_ambiguous_lengths_name_the_candidates_and_go_quiet():
    class TwoLengths(Encoder):
        def forward(self, waveforms, wave_lengths, other_lengths):
            return super().forward(waveforms, wave_lengths)

    waveforms, lengths = collate(Noise(8).items)
    batch = (waveforms, lengths, lengths.flip(0))
    with pytest.raises((AmbiguousLengths, RuntimeError, ValueError), match=r"wave_lengths.*other_lengths"):
        watch(TwoLengths(), [batch], rows=RowSampling(n_utterances=8))
    model = TwoLengths()
    monitor = Monitor(Settings(rows=RowSampling(n_utterances=8)))
    monitor.attach(model)
    monitor.batch_starts(batch, 0)
    model(*batch)
    monitor.batch_ends(batch)
    assert monitor.agree_whether_due(1)
    with pytest.warns(RuntimeWarning, match="wave_lengths"):
        outcome = monitor.read(1)
    assert not outcome.report.readings
    assert not monitor.agree_whether_due(1000)


class Gone:
    """A group whose other side is gone."""

    def __init__(self):
        self.asked = 0

    def all_gather_int(self, value, about):
        return [value]

    def gather_to_rank0(self, payload, about):
        self.asked += 1
        raise RuntimeError("timed out")

    def close(self):
        pass


def test_after_a_failed_exchange_there_is_no_further_one():
    model, batch, group = Encoder(), collate(Noise(8).items), Gone()
    monitor = Monitor(Settings(rows=RowSampling(n_utterances=8), every_n_steps=1), group=group)
    monitor.attach(model)
    monitor.batch_starts(batch, 0)
    model(*batch)
    monitor.batch_ends(batch)
    assert monitor.agree_whether_due(1)
    with pytest.warns(RuntimeWarning, match="exchange between processes failed"), pytest.raises(RuntimeError):
        monitor.read(1)
    assert not any(monitor.agree_whether_due(step) for step in range(2, 20))
    assert group.asked == 1


def test_nothing_measured_is_not_healthy():
    def broken(module, batch):
        raise OSError("no such thing")

    model, batch = Encoder(), collate(Noise(8).items)
    monitor = Monitor(Settings(eval_sets=FirstBatches(forward=broken), rows=RowSampling(n_utterances=8)))
    monitor.attach(model)
    monitor.batch_starts(batch, 0)
    monitor.batch_ends(batch)
    assert monitor.agree_whether_due(1)
    with pytest.warns(RuntimeWarning, match="no such thing"):
        outcome = monitor.read(1)
    assert not outcome.healthy
    assert math.isnan(outcome.report.health)


def test_a_layer_that_never_fires_is_named():
    class Skips(Encoder):
        def forward(self, waveforms, lengths):
            kept, self.layers = self.layers, self.layers[:2]
            try:
                return super().forward(waveforms, lengths)
            finally:
                self.layers = kept

    model = Skips()
    batch = collate(Noise(8).items)
    monitor = Monitor(Settings(rows=RowSampling(n_utterances=8)))
    monitor.attach(model)
    monitor.batch_starts(batch, 0)
    model(*batch)
    monitor.batch_ends(batch)
    assert monitor.agree_whether_due(1)
    with pytest.warns(RuntimeWarning, match=r"layers\.2 did not fire"):
        monitor.read(1)
    rows = {row.layer: row for row in run_header(monitor.settings, monitor.row_collector, "0").layers}
    assert rows["layers.2"].note == "did not fire"


def test_the_teacher_branch_is_offered_and_off_by_default():
    model = torch.nn.Module()
    model.student, model.teacher = Encoder(), Encoder().requires_grad_(False)
    batch = collate(Noise(8).items)

    def watched(**settings):
        both = FirstBatches(forward=lambda module, batch: (module.student(*batch), module.teacher(*batch)))
        monitor = Monitor(Settings(eval_sets=both, rows=RowSampling(n_utterances=8), **settings))
        monitor.attach(model)
        monitor.batch_starts(batch, 0)
        monitor.batch_ends(batch)
        assert monitor.agree_whether_due(1)
        return {r.layer for r in monitor.read(1).report.readings}, run_header(
            monitor.settings, monitor.row_collector, "0"
        ).notes

    layers, notes = watched()
    assert not any("teacher" in layer for layer in layers)
    offered = next(note for note in notes if "teacher branch" in note)
    layers, notes = watched(layers=[offered.split("'")[1]])
    assert layers
    assert all(layer.startswith("teacher.") for layer in layers)


def test_a_projection_as_wide_as_the_layer_is_left_out_and_said():
    model, batch = Encoder(), collate(Noise(32).items)
    monitor = Monitor(Settings(rows=RowSampling(n_utterances=32, projection=40)))
    monitor.attach(model)
    monitor.batch_starts(batch, 0)
    model(*batch)
    monitor.batch_ends(batch)
    assert monitor.agree_whether_due(1)
    readings = monitor.read(1).report.readings
    assert {r.k for r in readings} == {None}
    assert all(
        "40 columns are not fewer than its width" in row.note
        for row in run_header(monitor.settings, monitor.row_collector, "0").layers
    )
    projected = watch(Encoder(), [batch], rows=RowSampling(n_utterances=32, projection=16))
    assert {r.k for r in projected} == {16}
    assert {r.rankme for r in projected} == {None}


def test_a_model_that_is_never_called_as_a_module_needs_a_forward():
    model, batch = Encoder(), collate(Noise(8).items)

    def run(monitor):
        monitor.attach(model)
        for step in range(6):
            monitor.batch_starts(batch, step)
            model.forward(*batch)  # bypasses hooks
            monitor.batch_ends(batch)
            monitor.agree_whether_due(step)

    silent = Monitor(Settings(rows=RowSampling(n_utterances=8)))
    with pytest.warns(RuntimeWarning, match=r"AudioFolder\(.*forward=f"):
        run(silent)
    assert not silent.agree_whether_due(6)
    own = FirstBatches(forward=lambda module, b: module(*b))
    told = Monitor(Settings(eval_sets=own, rows=RowSampling(n_utterances=8), strict=True))
    run(told)
    assert told.agree_whether_due(6)
    assert len(told.read(6).report.readings) == 8
