"""Monitors that people use today, with which the zoo of encoders (`tests/benchmarks`) compares alarms."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "benchmarks"))

from zoo_of_encoders.beside_others import beside_others
from zoo_of_encoders.catalogue import Run
from zoo_of_encoders.harm import HARMFUL, Harm, Loss
from zoo_of_encoders.monitors import MONITORS, early_stopping, plain_rankme, std_guard, std_normalised
from zoo_of_encoders.record import History


def watched(method, losses, **facts):
    """A run of 300 steps with a fact each ten steps: its loss, and other numbers that hold throughout."""
    usual = {"target_std": 1.0, "prediction_std": 1.0, "std_normalised": 0.9, "rankme": 70.0}
    rows = [{"step": 10 * (i + 1), "loss": loss, **usual, **facts} for i, loss in enumerate(losses)]
    return History(Run("gru", method, 0), {}, {}, {}, rows, [], [], [])


def test_other_monitors_say_what_they_would_in_a_run():
    falling = [1.0 - 0.01 * i for i in range(30)]
    assert all(alarmed(watched("byol", falling)) == [] for alarmed in MONITORS.values())
    assert early_stopping(watched("byol", [1.0, 0.9, 0.95, 0.91, 0.9, 0.8])) == [50]  # three without a better one
    assert early_stopping(watched("byol", [1.0, None, 0.5])) == [20]  # not finite
    after_warm_up = [10 * i for i in range(4, 31)]
    assert plain_rankme(watched("byol", falling, rankme=47.0)) == after_warm_up  # half of 96 is 48
    assert std_normalised(watched("byol", falling, std_normalised=0.49)) == after_warm_up
    assert std_guard(watched("byol", falling, prediction_std=0.009)) == after_warm_up
    assert std_guard(watched("hubert", falling, prediction_std=0.009)) == []  # nothing is compared with a vector
    assert plain_rankme(watched("byol", falling, rankme=None)) == []  # NaN, which they don't see


def test_a_row_beside_other_monitors_counts_what_comes_after_the_break():
    healthy, broken = watched("byol", []), watched("byol", [])
    broken.run = Run("gru", "byol", 0, "nan", "middle")
    harms = {"broken": Harm(Loss(0.5, 0.5, 0.0, ""), 0.01, HARMFUL, True, 150)}
    ours = {"early": {"healthy": [], "broken": [90, 120]}, "never": {"healthy": [50], "broken": []}}
    lines = beside_others(ours, {"healthy": healthy, "broken": broken}, harms)
    assert lines[2] == "| early | 0 of 1 (< 95.0%) | 1 | 1 of 1 | 0 of 0 | 20 / 20 | 30 / 30 |"
    assert lines[3] == "| never | 1 of 1 (< 100.0%) | 0 | 0 of 1 | 0 of 0 | - | - |"
