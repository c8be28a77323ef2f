"""How near healthy runs came to an alarm, and the thresholds that follow."""

from dataclasses import replace

import numpy as np
import pytest
from readings import reading

from rankwatch.alarms.alarm_state import AlarmState
from rankwatch.alarms.detectors import RankDecline, SuddenRankDrop
from rankwatch.alarms.detectors.calibration import Calibration, conditions, worst


def steps_of(ranks, **made):
    return [([reading(10 * i, rank, **made)], False) for i, rank in enumerate(ranks)]


def alarmed(ranks, detectors, **made):
    state = AlarmState("first_batches", detectors)
    found = [state.assess(readings[0].step, readings) for readings, _ in steps_of(ranks, **made)]
    return any(alarm.severity != "info" for assessment in found for alarm in assessment.raised)


DIP = [60.0] * 10 + [45.0, 44.0, 43.0, 46.0] + [60.0] * 6


def test_the_worst_value_is_the_threshold_at_which_an_alarm_begins():
    value = worst(steps_of(DIP), "first_batches")["frame"]
    assert value == pytest.approx(45.0 / 60.0)
    assert not alarmed(DIP, (RankDecline(below=value - 1e-6, initial_counts_for=0),))
    assert alarmed(DIP, (RankDecline(below=value + 1e-6, initial_counts_for=0),))


def test_a_dip_shorter_than_the_patience_counts_by_what_lasts():
    assert worst(steps_of([60.0] * 10 + [10.0, 10.0] + [60.0] * 6), "first_batches")["frame"] > 0.9


def test_levels_and_sudden_drops_have_thresholds_of_their_own():
    found = worst(steps_of(DIP, level="utterance"), "first_batches")
    assert found["utterance"] == pytest.approx(0.75)
    assert set(found) == {"utterance"}  # nothing was compared at frame level
    drop = worst(steps_of([60.0] * 10 + [33.0] * 5), "first_batches")["sudden"]
    assert drop == pytest.approx(0.55)


def test_without_a_comparison_there_is_no_threshold():
    assert worst(steps_of(DIP, source="music"), "first_batches") == {}
    assert worst([(readings, True) for readings, _ in steps_of(DIP)], "first_batches") == {}  # all in the warm-up


def made(tmp_path, **changes):
    level = conditions(reading(0, 60.0).protocol)
    thresholds = {"frame": 0.7, "utterance": 0.4, "sudden": 0.6}
    calibration = Calibration(thresholds, {"frame": level}, 500, [f"run{i}" for i in range(9)])
    return replace(calibration, **changes)


def test_it_is_read_back_as_it_was_written(tmp_path):
    calibration = made(tmp_path)
    calibration.save(tmp_path / "team.yaml")
    assert Calibration.load(tmp_path / "team.yaml") == calibration
    assert "0 of 9 healthy runs" in (tmp_path / "team.yaml").read_text()


def test_the_rate_holds_for_thresholds_that_were_chosen_on_the_same_runs(tmp_path):
    """Three thresholds at the smallest of 20 uniform values each: the share below any of them, by simulation."""
    rng = np.random.default_rng(0)
    worst_of_runs = rng.uniform(size=(20_000, 20, 3)).min(axis=1)
    share = 1.0 - (1.0 - worst_of_runs).prod(axis=1)
    told = made(tmp_path, runs=[str(i) for i in range(20)]).rate_at_most
    assert np.quantile(share, 0.95) <= told < 1.1 * np.quantile(share, 0.95)
    assert made(tmp_path, runs=["a", "b"]).rate_at_most == 1.0


@pytest.mark.parametrize(
    ("names", "told"), [(["sudden"], "For frame and utterance too little"), (["frame", "utterance", "sudden"], "")]
)
def test_thresholds_that_could_not_be_found_are_named(tmp_path, names, told):
    path = tmp_path / "team.yaml"
    levels = {"frame": {}, "utterance": {}}
    Calibration(dict.fromkeys(names, 0.5), levels, 60, ["a"]).save(path)
    assert ("too little was read" in path.read_text()) == bool(told)
    assert told in path.read_text()
    assert Calibration.load(path).thresholds == dict.fromkeys(names, 0.5)


def test_thresholds_reach_their_detectors(tmp_path):
    detectors = made(tmp_path).detectors()
    falling = next(d for d in detectors if isinstance(d, RankDecline))
    assert (falling.below, falling.utterance_below) == (0.7, 0.4)
    assert next(d for d in detectors if isinstance(d, SuddenRankDrop)).below == 0.6


def test_another_protocol_is_named(tmp_path):
    protocol = reading(0, 60.0).protocol
    calibration = made(tmp_path)
    assert calibration.unlike(protocol, 500) == ""
    assert calibration.unlike(replace(protocol, seed=7, d=512, eval_set="abc"), 500) == ""
    assert calibration.unlike(replace(protocol, utterances=128), 500) == "utterances 512 there, 128 here"
    assert calibration.unlike(protocol, 1000) == "every_n_steps 500 there, 1000 here"
    assert "not in these runs" in calibration.unlike(replace(protocol, level="utterance"), 500)


@pytest.mark.parametrize("text", ["", "form: 2", "[1, 2]", "form: 1\nthresholds: {}", "a: [", "{"])
def test_other_files_are_refused(tmp_path, text):
    path = tmp_path / "other.yaml"
    path.write_text(text)
    with pytest.raises(ValueError, match="calibrate"):
        Calibration.load(path)
    with pytest.raises(FileNotFoundError):
        Calibration.load(tmp_path / "nothing.yaml")
