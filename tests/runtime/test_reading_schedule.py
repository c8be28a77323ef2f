"""Readings are made as often as asked for, as long as they take no more of the run's time than allowed."""

import itertools

import pytest

from rankwatch.runtime.reading_schedule import FAR_APART, NextReading, ReadingSchedule


@pytest.fixture(autouse=True)
def _time_counts(monkeypatch, real_allowance):
    """In other tests it doesn't."""
    monkeypatch.setattr("rankwatch.runtime.reading_schedule._ALLOWANCE", real_allowance)


def run(every, share, pace, cost, steps, first=3):
    """A run of `steps` optimiser steps of `pace` seconds; the steps of readings, and the share they took."""
    budget = ReadingSchedule(every, share)
    budget.begin(0)
    elapsed = spent = 0.0
    due, readings = first, []
    for step in range(1, steps + 1):
        elapsed += pace
        if step >= due:
            took = cost(step) if callable(cost) else cost
            elapsed, spent = elapsed + took, spent + took
            readings.append(step)
            due = budget.plan_next(step, elapsed, spent, brief=False).step
    return readings, spent / elapsed


def test_cheap_readings_are_at_every_multiple():
    readings, _ = run(100, 0.01, pace=0.2, cost=0.1, steps=1000)
    assert readings == [3, *range(100, 1001, 100)]


@pytest.mark.parametrize("pace", [0.05, 0.4, 3.0])
@pytest.mark.parametrize("cost", [2.0, 30.0])
@pytest.mark.parametrize("share", [0.001, 0.01, 0.05])
def test_the_share_is_held_in_a_run_of_any_length(pace, cost, share):
    readings, taken = run(20, share, pace, cost, steps=60_000)
    total = 60_000 * pace
    assert taken <= max(share * 1.02, 2.5 * cost / total)
    assert all(step % 20 == 0 for step in readings[1:])
    if share * total > 10 * cost:  # and what is allowed is used
        regular = 60_000 / 20 * cost / total
        assert taken > 0.8 * min(share, regular)


def test_no_limit_is_no_limit():
    readings, taken = run(10, None, pace=0.01, cost=5.0, steps=200)
    assert readings == [3, *range(10, 201, 10)]
    assert taken > 0.9


def test_a_short_run_has_its_readings():
    """Two minutes, twenty readings of a tenth of a second: 1.6 % of the time, but nothing to wait for."""
    readings, taken = run(60, 0.01, pace=0.1, cost=0.1, steps=1200)
    assert len(readings) == 21
    assert 0.01 < taken < 0.02


def test_one_pause_of_the_file_system_does_not_end_the_readings():
    readings, _ = run(100, 0.01, pace=0.2, cost=lambda step: 300.0 if step == 5000 else 0.1, steps=20_000)
    after = next(step for step in readings if step > 5000)
    assert 5000 < after <= 5500  # and not 5000 + 300 s / 1 % / 0.2 s


def test_after_a_restart_steps_count_from_there():
    budget = ReadingSchedule(10, 0.01)
    budget.begin(100_000)
    budget.begin(100_001)  # the next batch
    assert (
        budget.plan_next(100_010, elapsed=1000.0, spent=12.0, brief=False).step == 100_030
    )  # 100 s a step: 20 s more are needed


def test_its_state_is_what_readings_cost():
    one, other = ReadingSchedule(10, 0.01), ReadingSchedule(10, 0.01)
    one.plan_next(10, 2000.0, 7.0)
    other.load_state_dict(one.state_dict())
    assert other.state_dict() == one.state_dict()
    assert one.state_dict() == {"costs": [7.0], "brief_costs": [], "readings": 1, "since_full": 1}


@pytest.mark.parametrize(("every", "lag", "later"), [(500, 50, 125), (10, 1, 2), (3, 1, 2), (1, 1, 2)])
def test_a_breach_is_confirmed_after_a_quarter_of_the_interval_once_its_outcome_is_known(every, lag, later):
    assert ReadingSchedule(every, 0.01).sooner(1000, lag) == 1000 + later


def run_of_sizes(share, pace, brief_cost, full_cost, steps, every=20, full_every=12):
    """A run whose sets can be read briefly: (step, full) of each reading, and the share they took."""
    budget = ReadingSchedule(every, share, full_every)
    budget.begin(0)
    elapsed = spent = 0.0
    coming, readings = NextReading(3, full=True), []
    for step in range(1, steps + 1):
        elapsed += pace
        if step >= coming.step:
            took = full_cost if coming.full else brief_cost
            elapsed, spent = elapsed + took, spent + took
            readings.append((step, coming.full))
            coming = budget.plan_next(step, elapsed, spent, full=coming.full)
    return readings, spent / elapsed


def test_without_a_limit_every_twelfth_reading_is_full_and_more_at_the_start():
    readings, _ = run_of_sizes(None, pace=0.1, brief_cost=0.2, full_cost=1.6, steps=8000)
    full = [number for number, (_, is_full) in enumerate(readings) if is_full]
    assert [step for step, _ in readings] == [3, *range(20, 8001, 20)]
    assert full[:8] == [0, 1, 2, 3, 5, 7, 10, 14]
    gaps = [b - a for a, b in itertools.pairwise(full)]
    assert gaps == sorted(gaps)
    assert set(gaps[16:]) == {12}
    assert sum(is_full or 0.125 for _, is_full in readings) / len(readings) <= 0.25  # of the cost of full ones


def test_where_full_readings_cost_too_much_brief_ones_take_their_place_before_readings_get_rarer():
    readings, share = run_of_sizes(0.01, pace=0.5, brief_cost=0.08, full_cost=1.6, steps=60_000)
    late = [(step, full) for step, full in readings if step > 30_000]
    assert [step for step, _ in late] == list(range(30_020, 60_001, 20))  # none is missing
    assert share <= 0.0102
    assert 0 < sum(full for _, full in late) < len(late) / 12


def test_where_even_brief_ones_cost_too_much_they_get_rarer_and_a_full_one_still_comes():
    readings, share = run_of_sizes(0.01, pace=0.05, brief_cost=0.4, full_cost=3.2, steps=400_000)
    late = [one for one in readings if one[0] > 100_000]
    assert share <= 0.0102
    assert any(full for _, full in late)
    assert sum(full for _, full in late) <= len(late) / 40


def run_under_load(slower_training, slower_readings, loaded, steps=40_000, every=20):
    """A run at 1 % in which a step takes half a second and readings .03 and .5 s, but for a while all is slower.

    Returns:
        Steps of readings, and the largest share of the time so far that readings took after the first ten minutes.
    """
    budget = ReadingSchedule(every, 0.01, 12)
    budget.begin(0)
    elapsed = spent = largest = 0.0
    coming, readings = NextReading(3, full=True), []
    for step in range(1, steps + 1):
        busy = step in loaded
        elapsed += 0.5 * (slower_training if busy else 1.0)
        if step >= coming.step:
            took = (0.5 if coming.full else 0.03) * (slower_readings if busy else 1.0)
            elapsed, spent = elapsed + took, spent + took
            largest = max(largest, spent / max(elapsed, 600.0))
            readings.append(step)
            coming = budget.plan_next(step, elapsed, spent, full=coming.full)
    return readings, largest


@pytest.mark.parametrize(("training", "readings"), [(1.0, 3.0), (4.0, 4.0), (2.0, 10.0), (1.0, 10.0)])
def test_on_a_machine_under_load_readings_stay_within_four_intervals_and_the_share_is_held(training, readings):
    """By a clock that runs slower for half of the run: for the training, and still more for what readings compute."""
    loaded = range(10_000, 30_000)
    made, share = run_under_load(training, readings, loaded)
    assert max(b - a for a, b in itertools.pairwise(made)) <= FAR_APART * 20
    assert share <= 0.011  # a full reading that takes ten times as long as the one before can't be foreseen
    calm = [step for step in made if step > loaded.stop + 1000]
    assert calm == list(range(loaded.stop + 1020, 40_001, 20))


def test_an_undecided_reading_is_followed_by_a_full_one_at_the_usual_step():
    budget = ReadingSchedule(20, None, 12)
    for step in range(20, 2001, 20):
        budget.plan_next(step, 1.0, 0.1)
    assert budget.plan_next(2020, 1.0, 0.1, full=True) == NextReading(2040, full=False)
    assert budget.plan_next(2040, 1.0, 0.1, full=False, undecided=True) == NextReading(2060, full=True)
    assert budget.plan_next(2060, 1.0, 0.1, full=True, brief=False) == NextReading(2080, full=True)


def test_the_rhythm_goes_on_after_a_restart():
    one = ReadingSchedule(20, None, 12)
    for step in range(20, 1001, 20):
        one.plan_next(step, 1.0, 0.1, full=step == 900)
    other = ReadingSchedule(20, None, 12)
    other.load_state_dict(one.state_dict())
    for step in range(1020, 1301, 20):
        assert one.plan_next(step, 1.0, 0.1, full=False) == other.plan_next(step, 1.0, 0.1, full=False)
