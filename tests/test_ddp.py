"""Two processes on CPU: the reading of one, the same decision at the same step, an untouched training."""

import json
from pathlib import Path

import pytest
import torch

pytestmark = pytest.mark.skipif(not torch.distributed.is_available(), reason="this torch has no torch.distributed")


@pytest.fixture(scope="module")
def runs(tmp_path_factory, run_script):
    pytest.importorskip("soundfile")
    folder = tmp_path_factory.mktemp("ddp")
    jobs = ["still:1", "still:2", "collapse:2", "train:2", "train-alone:2", "talking:2"]
    script = Path(__file__).parent / "helpers" / "ddp_run.py"
    done = run_script([script, folder, *jobs])
    assert done.returncode == 0, done.stderr[-4000:]

    def read(name, rank):
        return json.loads((folder / f"{name}.{rank}.json").read_text())

    return read


def _table(seen):
    return {(r["step"], r["level"], r["layer"]): r for r in seen["readings"]}


def test_two_processes_give_the_reading_of_one(runs):
    one, first, second = _table(runs("still-1", 0)), _table(runs("still-2", 0)), _table(runs("still-2", 1))
    assert first == second
    assert one.keys() == first.keys()
    for key, reading in one.items():
        other = first[key]
        assert (reading["n"], reading["protocol"]) == (other["n"], other["protocol"])
        # The rows are float32 and were computed in batches of another size.
        assert other["effective_rank"] == pytest.approx(reading["effective_rank"], rel=1e-4)
        assert other["rankme"] == pytest.approx(reading["rankme"], rel=1e-4)


def test_all_processes_stop_at_one_step(runs):
    first, second = runs("collapse-2", 0), runs("collapse-2", 1)
    assert first["step"] == second["step"] < 40
    assert first["alarms"] == second["alarms"] != []


def test_training_is_bit_identical_with_and_without_us(runs):
    for rank in range(2):
        watched, alone = runs("train-2", rank), runs("train-alone-2", rank)
        assert watched["readings"]
        assert watched["losses"] == alone["losses"]
        assert watched["weights"] == alone["weights"]


def test_an_encoder_that_communicates_is_run_equally_often_everywhere(runs):
    """17 utterances of the folder on one process and 16 on the other: two batches and one."""
    first, second = runs("talking-2", 0), runs("talking-2", 1)
    assert first["step"] == second["step"] == 8
    assert first["readings"] == second["readings"]
    counts = {r["n"] for r in first["readings"] if (r["source"], r["level"]) == ("files", "utterance")}
    assert counts == {33}
