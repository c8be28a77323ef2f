"""Runs in which nothing is learnt: one batch again and again, from the loop to the alarm; layers that stand still."""

import dataclasses

import pytest
import torch
from curves import past_of, reading
from torch import nn

from rankwatch import RowSampling, Watch
from rankwatch.alarms.alarm_state import AlarmState
from rankwatch.alarms.detectors import FrozenRepresentation, StepContext
from rankwatch.readings.drift.layer_drift import PREVIOUS, LayerDrift


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


def standstill_by_drift(drifts, *, rates=None, status=(), other=5e-4, every=10):
    """Steps at which it is told of two layers whose ranks move, by the drift of the first; None stands for a brief one.

    A full reading's drift is since the full one before it.
    """
    state, told, full = AlarmState("first_batches", [FrozenRepresentation()]), [], 0
    for i, drift in enumerate(drifts):
        step = every * i
        layers = [reading(step, 60.0 + i % 2, layer=name) for name in ("a", "b")]
        if drift is not None:
            since = [LayerDrift(PREVIOUS, full, value, None, None, frozenset(status)) for value in (drift, other)]
            layers = [dataclasses.replace(r, drift=(one,)) for r, one in zip(layers, since, strict=True)]
            full = step
        rate = 1e-3 if rates is None else rates[i]
        raised = state.assess(step, layers, rate).raised
        told += [alarm.step for alarm in raised if alarm.kind == "frozen_representation"]  # and no plateau
    return told


def test_a_network_whose_batch_norms_alone_move_stands_still_by_its_drift():
    drifts = [0.02] * 8 + [7e-4] * 12
    assert standstill_by_drift(drifts) == [140, 140]  # eight readings, and no movement between them
    assert standstill_by_drift([7e-4] * 20) == [120, 120]  # six readings at one rate may be a warm-up


def test_layers_may_stand_still_in_their_own_ways():
    """One by its rank, though its drift isn't to be trusted; the other, with its batch norms, by its drift."""
    state, told = AlarmState("first_batches", [FrozenRepresentation()]), []
    for i in range(16):
        still = LayerDrift(PREVIOUS, 10 * i - 10, 7e-4, None, None)
        layers = [reading(10 * i, 60.0, layer="a"), reading(10 * i, 60.0 + i % 2, layer="b")]
        flagged = dataclasses.replace(still, status=frozenset({"rounded"}))
        layers = [dataclasses.replace(r, drift=(d,)) for r, d in zip(layers, (flagged, still), strict=True)]
        told += [alarm.step for alarm in state.assess(10 * i, layers, 1e-3).raised]
    assert told == [120, 120]


@pytest.mark.parametrize(
    ("drifts", "more"),
    [
        ([0.02] * 17, {}),
        ([7e-4, 7e-4, 7e-4, 0.002] * 5, {}),
        ([7e-4] * 17, {"other": 0.01}),  # one layer moves
        ([7e-4] * 17, {"status": ["dependent_rows"]}),  # not to be trusted
        ([7e-4] * 17, {"rates": [1e-4 * (i + 1) for i in range(17)]}),  # the learning rate still rises
        ([7e-4] * 17, {"rates": [1e-3, *16 * [1e-4]]}),  # or has come down
        ([7e-4] * 17, {"rates": [1e-3, *15 * [1e-5], 1e-3]}),  # or has just been raised again
        ([7e-4] * 17, {"every": 5}),  # over so few steps little movement is no standstill
    ],
)
def test_what_is_no_standstill_by_drift(drifts, more):
    assert standstill_by_drift(drifts, **more) == []


@pytest.mark.parametrize("restart_at", [None, 12])
def test_a_standstill_of_ranks_at_a_low_rate_is_none_when_the_rate_is_raised_again(restart_at):
    state, told = AlarmState("first_batches", [FrozenRepresentation()]), []
    for i, rate in enumerate([1e-3, *10 * [1e-5], *9 * [1e-3]]):
        if i == restart_at:  # the rates of before are in the state, or it would be told at once
            plain, state = state.state_dict(), AlarmState("first_batches", [FrozenRepresentation()])
            state.load_state_dict(plain, {reading(i, 60.0).key})
        told += [alarm.step for alarm in state.assess(i, [reading(i, 60.0)], rate).raised]
    assert told == [17]  # eight readings, of which the last one at the low rate is the first


def test_full_readings_apart_stand_for_the_brief_ones_between_them():
    brief = [*([0.02] * 8), *([None] * 5), 0.02]  # a full reading at 130
    assert standstill_by_drift([*brief, *([None] * 5), 7e-4]) == []  # it reaches back over seven readings
    assert standstill_by_drift([*brief, *([None] * 6), 7e-4]) == [200, 200]
    assert standstill_by_drift([*brief, *([None] * 3), 7e-4, *([None] * 3), 7e-4]) == [210, 210]


def test_brief_readings_end_no_standstill_and_a_full_one_that_moves_does():
    still = [*([0.02] * 8), *([None] * 6), 7e-4, *([None] * 6), 7e-4, *([None] * 11), 7e-4, *([None] * 11), 7e-4]
    assert standstill_by_drift(still) == [140, 140]
    moves = [*still, 0.02, 0.02, 0.02, *([None] * 11), 7e-4]
    assert standstill_by_drift(moves) == [140, 140, 10 * (len(moves) - 1), 10 * (len(moves) - 1)]
