"""A layer that is suddenly another one is told once, from its drift alone, and as a warning."""

import dataclasses

import pytest
from readings import reading

from rankwatch.alarms.alarm_state import AlarmState
from rankwatch.alarms.detectors import AbruptChange
from rankwatch.readings.drift.layer_drift import FIRST, PREVIOUS, LayerDrift

EVERY = 10


def drifted(i, value, rank=50.0, *, half_width=0.01, status=(), spans=1, layer="layers.0"):
    """Reading number i, which has moved by so much since the one `spans` before it."""
    flags = frozenset(status)
    drift = tuple(
        LayerDrift(since, step, value, value - half_width, value + half_width, flags)
        for since, step in ((PREVIOUS, EVERY * (i - spans)), (FIRST, 0))
    )
    return dataclasses.replace(reading(EVERY * i, rank, layer=layer), drift=drift)


def assessed(readings, detector=None, rates=None):
    """Steps at which it was told, and the assessments."""
    state = AlarmState("first_batches", [detector or AbruptChange()])
    found = []
    for i, some in enumerate(readings):
        some = some if isinstance(some, list) else [some]
        found.append(state.assess(some[0].step, some, None if rates is None else rates[i]))
    return [alarm.step for one in found for alarm in one.raised], found


QUIET = [drifted(i, 0.03 + 0.005 * (i % 3)) for i in range(12)]


def test_a_layer_that_turns_over_while_its_rank_holds_is_a_warning_once():
    steps, found = assessed([*QUIET, drifted(12, 0.6), *(drifted(i, 0.05) for i in range(13, 20))])
    assert steps == [120]
    (alarm,) = found[12].raised
    assert (alarm.kind, alarm.severity) == ("abrupt_change", "warning")
    assert "drift since step 110 is 0.6 [0.59, 0.61], usually 0.04 in as many steps" in alarm.message
    assert found[12].healthy  # no checkpoint is refused for it
    assert found[12].health == pytest.approx(1.0)
    assert found[-1].level == 0


@pytest.mark.parametrize(
    "last",
    [
        drifted(12, 0.15),  # much more than usual, and little all the same
        drifted(12, 0.6, rank=20.0),  # the rank has fallen, too: others speak of it
        drifted(12, 0.25, half_width=0.1),  # within its own error
        drifted(12, 0.6, status=["dependent_rows"]),  # not to be trusted
        reading(120, 50.0),  # a brief reading, or nothing to compare with
    ],
)
def test_what_is_no_abrupt_change(last):
    assert assessed([*QUIET, last])[0] == []


def test_a_layer_that_moves_much_all_the_time_is_not_abrupt():
    assert assessed([*(drifted(i, 0.3) for i in range(12)), drifted(12, 0.6)])[0] == []


def test_more_steps_between_two_readings_may_move_more():
    often = [drifted(i, 0.06) for i in range(12)]
    assert assessed([*often, drifted(24, 0.6, spans=13)])[0] == []
    assert assessed([*often, drifted(12, 0.6)])[0] == [120]


def at(steps, drifts, level="frame"):
    """Readings at steps that lie unevenly apart, each with its drift since the one before."""
    found = []
    for before, step, value in zip(steps[:-1], steps[1:], drifts, strict=True):
        drift = LayerDrift(PREVIOUS, before, value, value - 0.01, value + 0.01)
        found.append(dataclasses.replace(reading(step, 50.0, level=level), drift=(drift,)))
    return [reading(steps[0], 50.0, level=level), *found]


STUDY = (0, 25, 50, 100, 150, 200, 250, 300, 400, 500, 600, 700, 850, 1000, 1150, 1300, 1450, 1600, 1800, 2000)
YOUNG = {  # of the study's models: a warm-up of 200 steps that a replay doesn't know of
    "bestrq": [0.012, 0.020, 0.036, 0.136, 0.283, 0.260, 0.137, 0.173, 0.161, 0.158, 0.143, 0.124, 0.107, 0.149, 0.059,
               0.037, 0.025, 0.022, 0.013],
    "hubert": [0.003, 0.011, 0.038, 0.090, 0.330, 0.280, 0.132, 0.142, 0.160, 0.151, 0.111, 0.085, 0.082, 0.095, 0.048,
               0.029, 0.017, 0.010, 0.007],
}  # fmt: skip


@pytest.mark.parametrize("method", YOUNG)
def test_sparse_checkpoints_of_a_young_run_are_not_abrupt_and_a_break_among_them_is(method):
    whole = at(STUDY, YOUNG[method])
    assert assessed(whole)[0] == []
    for place in (12, 15, 18):
        broken = [*YOUNG[method]]
        broken[place] = 0.7
        assert assessed(at(STUDY, broken))[0] == [STUDY[place + 1]]


def test_checkpoints_at_doubling_steps_move_alike_and_a_break_among_them_is_told():
    steps = [0, *(100 * 2**i for i in range(9))]
    quiet = [0.10, 0.12, 0.11, 0.10, 0.12, 0.11, 0.10, 0.11]
    assert assessed(at(steps, [*quiet, 0.2]))[0] == []
    assert assessed(at(steps, [*quiet, 0.5]))[0] == [steps[-1]]


def test_a_layer_that_moves_at_one_speed_is_not_abrupt_at_doubling_steps():
    steps = [0, *(100 * 2**i for i in range(7))]
    assert assessed(at(steps, [0.01 * 2**i for i in range(6)] + [0.4]))[0] == []


def test_where_much_moves_each_time_a_drift_can_still_be_abrupt():
    """Similarities multiply: from 0.8 of it kept each time to 0.25 is six readings' worth at once."""
    assert assessed([*(drifted(i, 0.2) for i in range(12)), drifted(12, 0.75)])[0] == [120]


def test_the_start_and_the_warm_up_of_the_learning_rate_tell_nothing():
    for earlier in range(7):
        quiet = [drifted(1 + i, 0.03) for i in range(earlier)]
        assert assessed([reading(0, 50.0), *quiet, drifted(1 + earlier, 0.6)])[0] == (
            [] if earlier < 5 else [10 + 10 * earlier]
        )
    rates = [1e-4 * (i + 1) for i in range(13)]
    assert assessed([*QUIET, drifted(12, 0.6)], rates=rates)[0] == []


def test_several_layers_are_one_message():
    steps = [[drifted(i, 0.03, layer=f"layers.{k}") for k in range(3)] for i in range(12)]
    steps.append([drifted(12, 0.02, layer="layers.0"), *(drifted(12, 0.7, layer=f"layers.{k}") for k in (1, 2))])
    _, found = assessed(steps)
    assert found[12].message.count("abrupt change") == 1
    assert "2 of 3 layers" in found[12].message


def pair(i, first, second):
    """Two neighbours, the second of which has moved by so much."""
    moved = enumerate((first, second))
    return [drifted(i, value, half_width=0.002, layer=f"layers.{k}") for k, value in moved]


PAIRS = [pair(i, 0.03 + 0.005 * (i % 3), 0.04 + 0.005 * (i % 3)) for i in range(12)]


def test_a_layer_that_leaves_the_one_before_it_behind_is_told_though_little_has_moved():
    """What drives all of training moves neighbours alike: here both come to rest, until one is reset."""
    steps, found = assessed([*PAIRS, pair(12, 0.01, 0.09)])
    assert steps == [120]
    (alarm,) = found[12].raised
    assert alarm.layer == "layers.1"
    assert "where the layer before has moved as it has" in alarm.message


@pytest.mark.parametrize(("first", "second"), [(0.03, 0.09), (0.001, 0.02), (0.09, 0.01)])
def test_neighbours_that_move_alike_or_hardly_are_not(first, second):
    assert assessed([*PAIRS, pair(12, first, second)])[0] == []


def test_at_utterance_level_neighbours_are_not_compared():
    pairs = [[dataclasses.replace(one, level="utterance") for one in both] for both in [*PAIRS, pair(12, 0.01, 0.09)]]
    assert assessed(pairs)[0] == []


def test_it_goes_on_over_a_restart():
    state = AlarmState("first_batches", [AbruptChange()])
    for one in QUIET:
        state.assess(one.step, [one])
    again = AlarmState("first_batches", [AbruptChange()])
    again.load_state_dict(state.state_dict(), {QUIET[0].key})
    assert again.assess(120, [drifted(12, 0.6)]).raised
