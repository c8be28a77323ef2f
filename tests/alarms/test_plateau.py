"""Information that is no alarm, once."""

import dataclasses
import math

import pytest
from readings import reading

from rankwatch.alarms.history import History
from rankwatch.alarms.plateau import Plateau
from rankwatch.readings.drift.layer_drift import LayerDrift


def plateaus(columns, alarmed=False, **made):
    """Information about a plateau, for columns of {layer: rank} or {layer: (rank, accuracy)}."""
    plateau, history, found = Plateau(), History(), []
    for i, column in enumerate(columns):
        readings = []
        for layer, value in column.items():
            rank, accuracy = value if isinstance(value, tuple) else (value, math.nan)
            readings.append(reading(i, rank, layer=layer, probe_accuracy=accuracy, **made))
        series = history.open_series(readings)
        for one in readings:
            series[one.key].add(one, clean=True)
        plateau_now = plateau.check(readings, series, "first_batches", alarmed=alarmed)
        found += [plateau_now] if plateau_now is not None else []
    return found


def test_flat_curves_are_told_once_after_as_many_readings():
    (found,) = plateaus([{"a": 60.0 + i % 2, "b": 40.0} for i in range(100)])
    assert (found.step, found.since, found.severity) == (39, 0, "info")
    assert "all 2 layers" in found.message


@pytest.mark.parametrize("slope", [0.05, -0.05])
def test_one_layer_that_still_changes_is_enough_for_silence(slope):
    assert not plateaus([{"a": 60.0, "b": 40.0 + slope * i} for i in range(100)])


def test_after_a_change_a_second_plateau_is_told_again():
    columns = [{"a": 40.0}] * 60 + [{"a": 40.0 + i} for i in range(20)] + [{"a": 60.0}] * 60
    assert [one.step for one in plateaus(columns)] == [39, pytest.approx(119, abs=20)]


def test_a_probe_that_still_learns_is_no_plateau():
    assert not plateaus([{"a": (60.0, 0.3 + 0.002 * i)} for i in range(100)])
    assert plateaus([{"a": (60.0, 0.5)} for _ in range(100)])


def test_the_training_pass_and_nan_are_not_looked_at():
    assert not plateaus([{"a": 60.0}] * 60, source="train")
    assert not plateaus([{"a": math.nan if i % 30 == 0 else 60.0} for i in range(60)])


def test_a_flat_curve_is_no_good_sign_while_an_alarm_holds():
    assert not plateaus([{"a": 2.0} for _ in range(100)], alarmed=True)


def test_noise_at_the_border_of_flat_tells_nothing_again():
    """The halves' medians differ by 1 to 3 % now and then; only what clearly leaves is a new plateau."""
    columns = [{"a": 60.0 + 0.6 * math.sin(0.15 * i) + (i * 7919 % 13) / 13} for i in range(400)]
    assert len(plateaus(columns)) <= 1


def test_a_flat_rank_is_no_plateau_as_long_as_the_layers_turn_over():
    def after(drifts, n=60):
        plateau, history, found = Plateau(), History(), []
        for i in range(n):
            previous, first = drifts(i)
            moved = tuple(
                LayerDrift(since, 0, value, value, value)
                for since, value in (("previous", previous), ("first", first))
                if i % 4 == 0 and value is not None  # the others are brief
            )
            one = dataclasses.replace(reading(i, 60.0), drift=moved)
            series = history.open_series([one])
            series[one.key].add(one, clean=True)
            found += [plateau.check([one], series, "first_batches", alarmed=False)]
        return [one for one in found if one is not None]

    assert not after(lambda i: (0.01, 0.01 * i))  # it goes on and on
    assert not after(lambda i: (0.2, 0.6))  # and this one goes in circles
    (still,) = after(lambda i: (0.001, 0.6))
    assert "turns over any more" in still.message
    (unknown,) = after(lambda i: (None, None))  # not watched: the rank alone decides
    assert "turns over" not in unknown.message
    assert not after(lambda i: (0.2, None))  # the first reading was lost
