"""Checkpoints of two processes that each hold a part of the optimiser's state, or of the weights, read by one."""

import subprocess
import sys
from pathlib import Path

import pytest
from test_equal_to_live import HISTORY, differing, quietly

from rankwatch import replay
from rankwatch.checkpoints.checkpoint_steps import learning_rate_in
from rankwatch.checkpoints.stored_checkpoint import open_checkpoint

SCRIPT = Path(__file__).parents[1] / "helpers" / "sharded_state_run.py"


@pytest.fixture(scope="module")
def runs(tmp_path_factory, free_port):
    folder = tmp_path_factory.mktemp("sharded")
    done = subprocess.run([sys.executable, SCRIPT, folder, free_port], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["zero/file", "zero/folder", "sharded/folder", "sharded/nested"])
def test_readings_equal_those_of_the_run(runs, kind, tmp_path):
    live = runs / kind.split("/")[0] / "run"
    found = replay("toys:Encoder", runs / kind, like=live, out=tmp_path, device="cpu", say=quietly)
    assert found.steps == [2, 4, 6]
    assert not found.failed
    # The run itself had its first batches together at step 3, and has a reading of it.
    assert differing(live / "RankWatch.jsonl", tmp_path / "RankWatch.jsonl", {4}) == {HISTORY}
    assert not differing(live / "RankWatch.jsonl", tmp_path / "RankWatch.jsonl", {6})


@pytest.mark.slow
def test_the_consolidated_state_says_the_learning_rate(runs):
    assert learning_rate_in(open_checkpoint(runs / "zero" / "file" / "step=4.pt").values) == 1e-3
