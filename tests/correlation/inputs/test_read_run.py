"""What of a run's records is compared: full readings of evaluation sets, of the newest run, under one protocol."""

import json

import numpy as np
import pytest
from made_up_checks import records_of, write_run

from rankwatch.correlation.inputs.read_run import read_run
from rankwatch.correlation.inputs.run_series import nearest, thinned

RANKS = np.array([[10.0, 20.0, 30.0], [11.0, 21.0, 31.0]])
ACCURACIES = np.array([[0.1, 0.2, 0.3], [0.2, 0.3, 0.4]])


def find(series, name, source="clips", layer="L02"):
    return next(one for one in series if (one.name, one.source, one.layer) == (name, source, layer))


def rewrite(path, change):
    records = [change(record) for record in records_of(path)]
    path.write_text("".join(json.dumps(record) + "\n" for record in records if record is not None))


def test_measures_and_checks_are_what_was_written(tmp_path):
    run = read_run(write_run(tmp_path / "run.jsonl", RANKS, ACCURACIES, labelled=100), "a")
    rank = find(run.measures, "effective_rank")
    assert rank.values.tolist() == [11.0, 21.0, 31.0]
    assert rank.steps.tolist() == [1000, 2000, 3000]
    assert {one.name for one in run.measures} == {"effective_rank", "rankme", "stable_rank"}
    assert {one.source for one in run.measures} == {"clips", "labelled"}
    check = find(run.checks, "probe_accuracy", "labelled")
    np.testing.assert_allclose(check.values, ACCURACIES[1])
    np.testing.assert_allclose(check.errors, np.sqrt(ACCURACIES[1] * (1 - ACCURACIES[1]) / 100))
    assert check.floor == pytest.approx(0.1)
    assert (run.layers, run.primary) == (["L01", "L02"], "clips")
    assert run.paths["encoder.layers.1"] == "L02"
    assert not run.notes


def test_the_newest_run_counts_and_a_restart_goes_on(tmp_path):
    path = write_run(tmp_path / "run.jsonl", RANKS - 5.0, ACCURACIES, run="old")
    write_run(path, RANKS, ACCURACIES, run="new")
    write_run(path, RANKS[:, :1] + 100, ACCURACIES[:, :1], steps=[4000], run="new")
    run = read_run(path, "a")
    assert find(run.measures, "effective_rank").values.tolist() == [11.0, 21.0, 31.0, 111.0]
    assert "1 earlier runs" in run.notes[0]


def test_what_was_read_beyond_the_checkpoint_that_a_run_was_resumed_from_is_left_out(tmp_path):
    path = write_run(tmp_path / "run.jsonl", RANKS, ACCURACIES, run="one")
    write_run(path, RANKS[:, :1] + 100, ACCURACIES[:, :1], steps=[1500], run="one")
    run = read_run(path, "a")
    rank = find(run.measures, "effective_rank")
    assert (rank.steps.tolist(), rank.values.tolist()) == ([1000, 1500], [11.0, 111.0])
    assert "resumed from a checkpoint before step 1500" in run.notes[0]
    write_run(path, RANKS[:, :1] + 100, ACCURACIES[:, :1], steps=[1500], run="one")  # the same once more
    assert len(read_run(path, "a").notes) == 1


def test_damage_is_named_and_the_rest_is_read(tmp_path):
    path = write_run(tmp_path / "run.jsonl", RANKS, ACCURACIES, end='{"record": "reading", "step": 4\n')
    with path.open("a") as file:
        file.write('{"record": "reading", "step": -4}\n')
    run = read_run(path, "a")
    assert len(find(run.measures, "effective_rank").steps) == 3
    assert any("cut off or broken" in note for note in run.notes)
    assert any("1 records hold something else" in note for note in run.notes)


def test_brief_readings_the_training_pass_and_missing_numbers_are_left_out(tmp_path):
    path = write_run(tmp_path / "run.jsonl", RANKS, ACCURACIES)

    def change(record):
        if record.get("record") == "reading":
            if record["step"] == 2000:
                record["brief"] = True
            if record["step"] == 3000 and record["layer"].endswith("1"):
                record["effective_rank"] = None
            if record["source"] == "clips" and record["layer"].endswith("0"):
                record["source"] = "train"
        return record

    rewrite(path, change)
    run = read_run(path, "a")
    assert find(run.measures, "effective_rank").values.tolist() == [11.0]
    assert find(run.measures, "stable_rank").steps.tolist() == [1000, 3000]
    assert {one.layer for one in run.measures if one.source == "clips"} == {"L02"}
    assert "train" not in {one.source for one in run.measures}


def test_what_was_measured_under_other_conditions_before_is_left_out(tmp_path):
    path = write_run(tmp_path / "run.jsonl", RANKS[:, :2], ACCURACIES[:, :2], seeds=1)
    write_run(path, RANKS[:, 2:], ACCURACIES[:, 2:], steps=[3000], seeds=2)
    run = read_run(path, "a")
    assert find(run.measures, "effective_rank").values.tolist() == [31.0]
    assert "the conditions of 4 curves changed" in run.notes[0]


def test_a_file_without_readings_says_so(tmp_path):
    path = tmp_path / "run.jsonl"
    path.write_text('{"record": "cost"}\n')
    with pytest.raises(ValueError, match="no reading of an evaluation set"):
        read_run(path, "a")
    with pytest.raises(FileNotFoundError):
        read_run(tmp_path / "nothing.jsonl", "a")


def test_the_nearest_step_is_found_within_a_tolerance():
    assert nearest([10, 20, 40], [9, 15, 31, 99], 5).tolist() == [0, 0, -1, -1]
    assert nearest([], [1, 2]).tolist() == [-1, -1]
    assert thinned(range(100), 3) == [0, 50, 99]
