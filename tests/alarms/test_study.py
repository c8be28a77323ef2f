"""The detector of abrupt changes on the study's healthy models: twenty checkpoints, and no learning rate known."""

import gzip
import itertools
from pathlib import Path

import pytest

from rankwatch.alarms.alarm_state import AlarmState
from rankwatch.alarms.detectors import AbruptChange
from rankwatch.reporting.jsonl_records import read_jsonl

RESULTS = sorted((Path(__file__).resolve().parents[1] / "benchmarks" / "study" / "results").glob("*.jsonl.gz"))


@pytest.mark.slow
@pytest.mark.parametrize("path", RESULTS, ids=lambda path: path.name.removesuffix(".jsonl.gz"))
def test_no_healthy_model_is_warned_of_an_abrupt_change(path, tmp_path):
    (tmp_path / "run.jsonl").write_bytes(gzip.decompress(path.read_bytes()))
    readings = [one for one in read_jsonl(tmp_path / "run.jsonl") if one.source == "unseen"]
    state, drifts, raised = AlarmState("unseen", [AbruptChange()]), 0, []
    for step, at_step in itertools.groupby(readings, lambda one: one.step):
        at_step = list(at_step)
        drifts += sum(one.drift_since("previous") is not None for one in at_step)
        raised += state.assess(step, at_step, None).raised
    assert drifts > 100
    assert [(one.step, one.layer) for one in raised if one.kind == "abrupt_change"] == []
