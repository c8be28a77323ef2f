"""Drift in a run: what a user sees of it, that all processes see the same, and that nothing but it fails with it."""

import dataclasses
import json
import warnings

import pytest
import torch
from processes import Processes
from torch import nn

from rankwatch import RowSampling, Watch
from rankwatch.arguments.settings import Settings
from rankwatch.extraction.rows.row_buffer import RowBuffer
from rankwatch.extraction.rows.row_sampling import SampledRows, whole_sample
from rankwatch.monitor.collected_rows import CollectedRows
from rankwatch.monitor.evaluator import Evaluator
from rankwatch.readings.drift.drift_memory import DriftMemory
from rankwatch.readings.protocol import Protocol

ROWS = RowSampling(n_utterances=64, frames_per_utterance=2, brief_utterances=None)


class Encoder(nn.Module):
    """Frames of 8 samples through three layers."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.front = nn.Conv1d(1, 16, 8, 8)
        self.layers = nn.ModuleList(nn.TransformerEncoderLayer(16, 2, 16, 0.0, batch_first=True) for _ in "abc")

    def forward(self, waveforms):
        x = self.front(waveforms[:, None]).transpose(1, 2)
        for layer in self.layers:
            x = layer(x)
        return x


def train(folder, reset_at=None, readings=12, **settings):
    model = Encoder()
    optimizer = torch.optim.SGD(model.parameters(), 1e-2)
    watch = Watch(model, folder, rows=ROWS, every_n_steps=1, max_overhead=None, **settings)
    for step in range(7 + readings):
        if step == reset_at:
            with torch.no_grad():
                for parameter in model.layers[1].parameters():
                    parameter.normal_(generator=torch.Generator().manual_seed(5))
        batch = torch.randn(8, 160, generator=torch.Generator().manual_seed(step))
        with watch.batch(batch):
            model(batch).square().mean().backward()
        optimizer.step()
        optimizer.zero_grad()
        watch.step()
    watch.close()
    return watch


@pytest.fixture(scope="module")
def broken(tmp_path_factory):
    """A run in which the middle layer is reset before the step of its last reading but three."""
    folder = tmp_path_factory.mktemp("run")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return folder, train(folder, reset_at=16, strict=True)


def test_a_layer_that_is_reset_is_a_warning_that_names_it_first(broken):
    _, watch = broken
    alarms = [alarm for alarm in watch.alarms if alarm.kind == "abrupt_change"]
    assert alarms
    assert {alarm.severity for alarm in alarms} == {"warning"}
    assert {alarm.step for alarm in alarms} == {17}
    named = [alarm.layer for alarm in alarms if alarm.level == "frame"]
    assert named[0] == "layers.1"
    assert "layers.0" not in named


def test_it_is_in_the_records_and_among_the_scalars(broken):
    folder, watch = broken
    records = [json.loads(line) for line in (folder / "RankWatch.jsonl").read_text().splitlines()]
    last = [record for record in records if record["record"] == "reading"][-1]
    assert [one["since"] for one in last["drift"]] == ["previous", "first"]
    assert set(last["drift"][0]) == {"since", "step", "value", "low", "high", "status"}
    summary = [record for record in records if record["record"] == "summary"][-1]["summary"]
    newest = [one for one in watch.readings if one.step == watch.readings[-1].step and one.level == "frame"]
    worst = max(one.drift_since("first").value for one in newest)
    assert summary["frame/drift_first/worst"] == worst
    assert {one.level for one in watch.readings if one.drift} == {"frame", "utterance"}


def test_it_can_be_turned_off(tmp_path):
    watch = train(tmp_path, readings=3, watch=("frame",))
    assert not any(one.drift for one in watch.readings)
    assert watch.state_dict()["monitor"]["evaluation"]["drift"] == []


def test_its_failures_cost_nothing_else_and_are_told_once(tmp_path, monkeypatch):
    def fail(*args, **options):
        raise RuntimeError("no memory left")

    monkeypatch.setattr(DriftMemory, "take", fail)
    with pytest.warns(RuntimeWarning, match="drift failed: RuntimeError: no memory left") as caught:
        watch = train(tmp_path, readings=3)
    assert len([one for one in caught if "no memory left" in str(one.message)]) == 1
    assert len({one.step for one in watch.readings}) >= 3


def collected(part, step):
    """A process's share of 64 utterances of two layers, which move from step to step."""
    window = RowBuffer("first_batches", ("frame",))
    keys = torch.arange(64).repeat_interleave(2)
    for number, layer in enumerate(("layers.0", "layers.1")):
        first, more = (torch.randn(128, 24, generator=torch.Generator().manual_seed(seed)) for seed in (number, 9))
        rows, zeros = (first + 0.01 * step * more)[part], torch.zeros(128, dtype=torch.float64)[part]
        none = rows[:0]
        drawn = SampledRows(rows, keys[part], none, keys[:0], zeros, zeros[:0], zeros, 0, whole_sample(rows))
        window.add({layer: drawn}, 0)
    protocols = {("first_batches", "frame"): Protocol("first_batches", "frame", 64, 2, 0, None)}
    return CollectedRows(step, [window], protocols)


def test_all_processes_are_told_what_one_with_all_rows_would_say_to_the_last_bit():
    settings = Settings(every_n_steps=10, rows=ROWS, max_overhead=None, watch=("frame", "drift"))
    names = ["layers.0", "layers.1"]

    def run(group, rank, part):
        evaluator = Evaluator(settings, names, group, first=rank == 0)
        outcomes = [evaluator.evaluate(collected(part, step)).outcome for step in (10, 20, 30)]
        state = evaluator.state_dict()["drift"]
        return [[one.drift for one in outcome.report.readings] for outcome in outcomes], state

    alone, _ = run(None, 0, slice(None))
    assert all(drift and drift[0].value > 0 for drift in alone[-1])
    cuts = [slice(0, 50), slice(50, 128)]
    together = Processes(2).run(lambda group, rank: run(group, rank, cuts[rank]))
    assert [drifts for drifts, _ in together] == [alone, alone]
    assert [bool(state) for _, state in together] == [True, False]  # only the first keeps rows
    assert dataclasses.is_dataclass(alone[-1][0][0])
