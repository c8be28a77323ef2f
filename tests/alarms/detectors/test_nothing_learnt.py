"""Runs in which nothing is learnt: one batch again and again, from the loop to the alarm; layers that stand still."""

import pytest
import torch
from curves import past_of, reading
from torch import nn

from rankwatch import RowSampling, Watch
from rankwatch.alarms.detectors import FrozenRepresentation, StepContext


def train(folder, batch_of, steps=40):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv1d(1, 24, 8, 8), nn.GELU(), nn.Conv1d(24, 24, 1), nn.GELU(), nn.Conv1d(24, 24, 1))
    optimizer = torch.optim.SGD(model.parameters(), 1e-3)
    rows = RowSampling(n_utterances=16, brief_utterances=None)
    settings = {"every_n_steps": 5, "rows": rows, "layers": ["0", "2", "4"], "max_overhead": None, "strict": True}
    with Watch(model, folder, **settings) as watch:
        for step in range(steps):
            batch = batch_of(step)
            with watch.batch(batch):
                model(batch).square().mean().backward()
            optimizer.step()
            optimizer.zero_grad()
            watch.step()
    return [alarm for alarm in watch.alarms if alarm.kind == "repeated_batch"]


def batch(seed):
    return torch.randn(8, 1, 320, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("stuck_from", [0, 12])
def test_a_loader_that_gives_one_batch_for_ever_is_warned_of(tmp_path, stuck_from):
    alarms = train(tmp_path, lambda step: batch(min(step, max(stuck_from, 2))))
    assert {(alarm.severity, alarm.source) for alarm in alarms} == {("warning", "first_batches")}
    assert min(alarm.step for alarm in alarms) in range(stuck_from + 10, stuck_from + 31)


def test_other_batches_each_step_are_not(tmp_path):
    assert train(tmp_path, batch) == []


def test_a_short_epoch_that_comes_round_is_not(tmp_path):
    assert train(tmp_path, lambda step: batch(step % 5)) == []


@pytest.mark.parametrize(
    ("other", "rate", "found"), [(1e-5, 0.5, True), (1e-2, 0.5, False), (1e-5, 0.1, False), (1e-5, float("nan"), False)]
)
def test_a_standstill_is_one_of_all_layers_at_a_high_learning_rate(other, rate, found):
    now = {name: reading(99, 60.0, layer=name) for name in ("a", "b")}
    series = {now["a"].key: past_of([60.0] * 9), now["b"].key: past_of([60.0 * (1 + other)] * 9)}
    context = StepContext("first_batches", {r.key: r for r in now.values()}, series, learning_rate=rate)
    assert (FrozenRepresentation().check(now["a"], series[now["a"].key], context) is not None) is found


def test_a_few_equal_readings_are_no_standstill():
    now = reading(99, 60.0)
    past = past_of([60.0] * 6)
    assert (
        FrozenRepresentation().check(
            now, past, StepContext("first_batches", {now.key: now}, {now.key: past}, learning_rate=1.0)
        )
        is None
    )
