"""Models sharded by Lightning's strategies, ZeRO, and passes that fail in a sharded model, on two processes."""

import json
from pathlib import Path

import pytest
import torch
from toys import pl

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not torch.distributed.is_available(), reason="this torch has no torch.distributed"),
    pytest.mark.skipif(not hasattr(pl.strategies, "ModelParallelStrategy"), reason="this Lightning has no FSDP2"),
]

SCRIPT = Path(__file__).parent / "helpers" / "sharded_run.py"
COLLAPSE_AT = 9


@pytest.fixture(scope="module")
def seen(tmp_path_factory, run_script):
    """Each job is run once, when it is asked for."""
    pytest.importorskip("soundfile")
    folders = {}

    def read(name):
        if name not in folders:
            folders[name] = tmp_path_factory.mktemp("sharded")
            done = run_script([SCRIPT, folders[name], name])
            assert done.returncode == 0, done.stderr[-4000:]
        return [json.loads((folders[name] / f"{name}.{rank}.json").read_text()) for rank in range(2)]

    return read


def _ranks(found):
    return {(r["source"], r["step"], r["level"], r["layer"]): r["effective_rank"] for r in found["readings"]}


@pytest.mark.parametrize("kind", ["fsdp", "fsdp2"])
def test_under_lightning_a_sharded_model_reads_as_a_whole_one_and_trains_as_without_us(seen, kind):
    whole = _ranks(seen("lightning+ddp")[0])
    assert {step for _, step, _, _ in whole} == {2, 4, 8, 12, 16, 20}
    for watched, alone in zip(seen(f"lightning+{kind}"), seen(f"lightning+{kind}+alone"), strict=True):
        assert _ranks(watched) == pytest.approx(whole, rel=1e-5)
        assert watched["weights"] == alone["weights"]
        assert (watched["step"], watched["alarms"], watched["preserved"][0]) == (20, [], True)


@pytest.mark.parametrize("kind", ["fsdp", "fsdp2"])
def test_a_collapse_stops_both_processes_at_the_step_of_a_whole_model(seen, kind):
    """The last healthy checkpoint is a folder, with the shards of both."""
    whole = seen("lightning+ddp+collapse")[0]
    assert COLLAPSE_AT < whole["step"] < 60
    for found in seen(f"lightning+{kind}+collapse"):
        assert found["step"] == whole["step"]
        assert [(one["step"], one["kind"], one["layer"]) for one in found["alarms"]] == [
            (one["step"], one["kind"], one["layer"]) for one in whole["alarms"]
        ]
        assert found["preserved"] == [True, ".metadata", "__0_0.distcp", "__1_0.distcp", "meta.pt"]


@pytest.mark.parametrize("kind", ["fsdp", "fsdp2"])
def test_a_users_function_that_fails_on_one_process_leaves_nobody_waiting(seen, kind):
    for watched, alone in zip(seen(f"lightning+{kind}+fails"), seen(f"lightning+{kind}+alone"), strict=True):
        assert watched["weights"] == alone["weights"]
        assert {reading["source"] for reading in watched["readings"]} == {"inside", "files"}
        assert any("process 1: files could not be read: OSError: no such thing" in one for one in watched["told"])


def test_under_zero_all_is_as_without_us(seen):
    for watched, alone in zip(seen("lightning+zero"), seen("lightning+zero+alone"), strict=True):
        assert watched["weights"] == alone["weights"]
        assert watched["preserved"] == [True]
        assert {reading["step"] for reading in watched["readings"]} == {2, 4, 8, 12, 16, 20}


@pytest.mark.parametrize("kind", ["fsdp1", "fsdp1-original", "fsdp2"])
@pytest.mark.parametrize("how", ["one", "everywhere"])
def test_a_block_that_fails_in_an_evaluation_pass_leaves_training_as_it_was(seen, kind, how):
    """FSDP1's parameters stayed gathered, and training went on with them; who failed alone was waited for."""
    for watched, alone in zip(seen(f"loop+{kind}+{how}"), seen(f"loop+{kind}+alone"), strict=True):
        assert watched["weights"] == alone["weights"]
        assert {reading["step"] for reading in watched["readings"]} == (set() if how == "everywhere" else {2, 4, 8, 12})
        assert any("first_batches could not be read: OSError: no such thing" in one for one in watched["told"])
