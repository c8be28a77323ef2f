"""Two processes without Lightning: sharded models, uneven work, and processes that fail, stray or are gone."""

import contextlib
import json
from pathlib import Path

import pytest
import torch

pytestmark = pytest.mark.skipif(not torch.distributed.is_available(), reason="this torch has no torch.distributed")

KINDS = ["fsdp1", "fsdp1-original"]
with contextlib.suppress(ImportError):  # torch 2.6 and newer
    from torch.distributed.fsdp import fully_shard

    KINDS = ["fsdp2", *KINDS] if callable(fully_shard) else KINDS
SHARDED = [KINDS[0], *(pytest.param(kind, marks=pytest.mark.slow) for kind in KINDS[1:])]
ENDS = ["collapse", "collapse-trainer"]
FAULTS = ["uneven", "brief", "raising", "raising-first", "lost", "stretched", "gone", "apart"]


@pytest.fixture(scope="module")
def seen(tmp_path_factory, run_script):
    """What two processes found in a job; those of the default suite in one start of both, others when asked for."""
    folder = tmp_path_factory.mktemp("processes")
    script = Path(__file__).parent / "helpers" / "processes_run.py"
    done = []

    def run(jobs):
        found = run_script([script, folder, *jobs])
        assert found.returncode == 0, found.stderr[-4000:]
        done.extend(jobs)

    def read(name, rank):
        if name not in done:
            run([name])
        return json.loads((folder / f"{name}.{rank}.json").read_text())

    run(["ddp", *ENDS, *FAULTS, KINDS[0], f"{KINDS[0]}+alone"])
    return read


def _steps(found):
    return sorted({reading["step"] for reading in found["readings"]})


def _ranks(found):
    return {(r["step"], r["level"], r["layer"]): r["effective_rank"] for r in found["readings"]}


@pytest.mark.parametrize("kind", SHARDED)
@pytest.mark.parametrize("how", ["", pytest.param("+late", marks=pytest.mark.slow)])
def test_a_sharded_model_trains_as_without_us_and_reads_as_a_whole_one(seen, kind, how):
    whole = _ranks(seen("ddp", 0))
    for rank in range(2):
        watched, alone = seen(kind + how, rank), seen(f"{kind}+alone", rank)
        assert watched["weights"] == alone["weights"]
        assert _ranks(watched) == pytest.approx(whole, rel=1e-3)  # summed in another order
        assert _steps(watched) == [2, 4, 8, 12]


def test_a_collapse_is_raised_on_all_processes_after_the_first_one_has_written_all(seen):
    first, second = seen("collapse", 0), seen("collapse", 1)
    assert first["error"] == second["error"]
    step, message, checkpoint = first["error"]
    assert step == 13  # collapsed from step 7 on: the readings of 8, 10 and 12
    assert "CRITICAL at step 12" in message
    assert checkpoint.endswith("collapse-0/RankWatch.last_healthy.ckpt")
    assert (first["last"]["record"], first["last"]["stopped"]) == ("end", True)


def test_under_lightning_the_checkpoint_and_the_books_are_there_when_it_is_raised(seen):
    first, second = seen("collapse-trainer", 0), seen("collapse-trainer", 1)
    assert first["error"] == second["error"]
    assert first["error"][0] == first["step"] == second["step"] == 5
    assert first["batch"] == second["batch"] == 1  # the second of an epoch's eight: it ends there
    for found in (first, second):
        assert "RankWatch-collapse-step=5.ckpt" in found["files"]
        assert (found["last"]["record"], found["last"]["stopped"]) == ("end", True)


def test_processes_with_other_numbers_of_batches_meet_at_optimiser_steps(seen):
    first, second = seen("uneven", 0), seen("uneven", 1)
    assert first["readings"] == second["readings"]
    assert _steps(first) == [1, 4, 8, 12]
    assert first["told"] == second["told"] == []


def test_all_processes_read_briefly_at_the_same_steps_and_each_its_part_of_the_same_utterances(seen):
    first, second = seen("brief", 0), seen("brief", 1)
    assert first["readings"] == second["readings"]
    assert first["told"] == second["told"] == []
    read = {r["step"]: (r["brief"], r["n"], r["utterances"]) for r in first["readings"] if r["level"] == "frame"}
    full, brief = (False, 64, 32), (True, 64, 8)
    assert set(read.values()) == {full, brief}
    assert [step for step, size in read.items() if size == full] == [4, 6, 8, 10, 14, 18, 24]
    assert list(read) == [*range(4, 31, 2)]


def test_a_process_whose_passes_fail_is_named_and_the_other_one_is_read(seen):
    first, second = seen("raising", 0), seen("raising", 1)
    assert first["readings"] == second["readings"]
    assert {r["n"] for r in first["readings"] if r["level"] == "utterance"} == {8}
    assert any(
        "left out of a reading: process 1: first_batches could not be read: OSError" in one for one in first["told"]
    )
    assert first["steps"] == second["steps"] == 12


def test_where_the_first_process_fails_the_others_rows_are_read_all_the_same(seen):
    first, second = seen("raising-first", 0), seen("raising-first", 1)
    assert first["readings"] == second["readings"]
    assert _steps(first) == [2, 4, 8, 12]
    assert {r["n"] for r in first["readings"] if r["level"] == "utterance"} == {8}
    assert any("left out of a reading: process 0" in one for one in second["told"])


def test_a_state_that_one_process_lacks_is_left_aside_by_all(seen):
    first, second = seen("lost", 0), seen("lost", 1)
    assert first["readings"] == second["readings"]
    assert _steps(first) == [2, 4, 8, 12]


def test_one_process_decides_when_to_read(seen):
    """The second one is slower, and by its own clock each step could have a reading."""
    first, second = seen("stretched", 0), seen("stretched", 1)
    assert _steps(first) == _steps(second)
    assert 10 < len(_steps(first)) < 40  # by the first one's clock, every other step can: a reading takes two seconds
    assert any("max_overhead=0.5" in one for one in first["told"])


def test_a_process_that_is_gone_is_told_of_in_bounded_time_and_the_other_one_goes_on(seen):
    found = seen("gone", 0)
    assert found["steps"] == 12
    assert any("the exchange between processes failed" in one for one in found["told"])
    assert _steps(found)[-1] <= 8


def test_processes_that_make_other_numbers_of_steps_find_out_and_go_on(seen):
    """The first one is done after 4 steps, while the second one still asks who is collecting."""
    for rank, steps in ((0, 4), (1, 12)):
        found = seen("apart", rank)
        assert found["steps"] == steps
        assert not found["readings"]
        assert any("out of step" in one for one in found["told"])
