"""Checkpoints of a run in two processes, read again in two and in one."""

import subprocess
import sys
from pathlib import Path

import pytest
from test_equal_to_live import HISTORY, differing, quietly
from tiny_audio import write_audio

from rankwatch import replay

HELPERS = Path(__file__).parents[1] / "helpers"


@pytest.fixture(scope="module")
def run(tmp_path_factory, free_port):
    folder = tmp_path_factory.mktemp("two")
    for i in range(30):
        write_audio(folder / "audio" / f"{i}.wav", 0.1 + 0.002 * i, seed=i)
    script = HELPERS / "replay_processes_run.py"
    done = subprocess.run([sys.executable, script, folder, free_port], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("processes", ["on_two", "on_one"])
def test_readings_equal_those_of_the_run(processes, run):
    again = run / processes
    if processes == "on_one":
        checkpoints = str(run / "*.pt")
        with pytest.raises(
            ValueError, match=r"without an import path \(AudioFolder\(forward=...\)\).*pass it as forward"
        ):
            replay("toys:Encoder", checkpoints, like=run / "run", out=again)
        forward = "replay_processes_run:on_audio"
        found = replay(
            "toys:Encoder", checkpoints, like=run / "run", out=again, device="cpu", say=quietly, forward=forward
        )
        assert found.steps == [2, 4, 6, 8, 10]
        assert {one.source for one in found.readings} == {"first_batches", "folder"}
        assert {one.brief for one in found.readings} == {True, False}
    live, steps = run / "run" / "RankWatch.jsonl", {4, 6, 8, 10}
    assert differing(live, again / "RankWatch.jsonl", steps) <= {HISTORY}
    assert not differing(live, again / "RankWatch.jsonl", {6, 8, 10})
