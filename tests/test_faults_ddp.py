"""Two processes, one of which has the trouble: both go on alike, and nobody waits for anybody."""

import json
from pathlib import Path

import pytest
import torch

pytestmark = pytest.mark.skipif(not torch.distributed.is_available(), reason="this torch has no torch.distributed")


@pytest.fixture(scope="module")
def runs(tmp_path_factory, run_script):
    folder = tmp_path_factory.mktemp("faults")
    script = Path(__file__).parent / "helpers" / "faults_ddp_run.py"
    done = run_script([script, folder, "nan", "raises"])
    assert done.returncode == 0, done.stderr[-4000:]

    def read(name):
        return [json.loads((folder / f"{name}.{rank}.json").read_text()) for rank in range(2)]

    return read, done.stderr


def test_nan_in_one_process_is_a_warning_on_both_and_all_other_utterances_count(runs):
    first, second = runs[0]("nan")
    assert first["step"] == second["step"] == 8  # nothing has stopped it
    assert first["weights"] == second["weights"]
    assert first["readings"] == second["readings"] != []
    assert first["alarms"] == second["alarms"]
    assert {(alarm["kind"], alarm["severity"]) for alarm in first["alarms"]} == {("non_finite", "warning")}
    for reading in first["readings"]:
        assert reading["n"] == (31 if reading["level"] == "utterance" else 31 * 4)
        assert reading["metrics"]["non_finite_fraction"] == pytest.approx(1 / 32)


def test_an_exception_in_one_process_costs_its_own_utterances_and_is_told(runs):
    read, told = runs
    first, second = read("raises")
    assert first["step"] == second["step"] == 8
    assert first["weights"] == second["weights"]
    assert first["readings"] == second["readings"]  # with one protocol
    assert {reading["n"] for reading in first["readings"] if reading["level"] == "utterance"} == {16}
    assert "left out of a reading: process 1: first_batches could not be read: ValueError: made up" in told
