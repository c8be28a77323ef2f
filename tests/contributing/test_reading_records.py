"""The comparison of two versions' numbers finds what differs in the last digit, and nothing else."""

import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import pytest
from readings import reading

BENCHMARKS = Path(__file__).resolve().parents[1] / "benchmarks"
CURVE = ("step", "source", "level", "layer")


@pytest.fixture(autouse=True)
def _benchmarks_by_name(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))


def _recorded(rank=60.0, **changed):
    """A line as `reading_recorder` writes it."""
    from reading_recorder import _plain

    made = reading(10, rank, dead_dimension_fraction=0.25)
    fields = {field.name: getattr(made, field.name) for field in dataclasses.fields(made) if field.name != "protocol"}
    line = {"type": "Reading", "test": "", **fields, "metrics": dict(made.metrics), **changed}
    return json.loads(json.dumps(line, default=_plain))


def _compare(base, head):
    from reading_records import canonical_reading, compare

    return compare("readings", [map(canonical_reading, side) for side in (base, head)], CURVE)


def test_a_number_that_differs_in_its_last_digit_is_named():
    found = _compare([_recorded(0.1 + 0.2)], [_recorded(0.3)])
    assert str(found) == "1 readings compared, 1 differ"
    assert "effective_rank 0.30000000000000004 -> 0.3" in found.examples[0]


def test_equal_readings_are_equal_however_often_and_in_whatever_order_they_are_made():
    some = [_recorded(40.0), _recorded(float("nan"), layer="layers.1")]
    assert str(_compare(some, [*reversed(some), some[0]])) == "2 readings compared, 0 differ"


def test_a_reading_that_only_one_version_makes_is_named():
    one, other = _recorded(), _recorded(layer="layers.1")
    assert ["only in head" in line for line in _compare([one], [one, other]).examples] == [True]
    assert ["only in base" in line for line in _compare([one, other], [one]).examples] == [True]


def test_old_names_are_those_of_today():
    old = _recorded(source="held_back", status="few_utterances+dependent_rows")
    old["metrics"] = {
        {"dead_dimension_fraction": "dead_dimensions", "mean_energy_fraction": "mean_share"}.get(name, name): value
        for name, value in old["metrics"].items()
    }
    new = _recorded(status=frozenset({"dependent_rows", "few_utterances"}))
    assert _compare([old], [new]).examples == []
    assert len(_compare([old], [_recorded(status=frozenset({"dependent_rows"}))]).examples) == 1


def test_a_quantizers_reading_is_found_in_either_type():
    old = _recorded(12.5, level="codebook", source="train", layer="quantizer", metrics={"coverage": 0.5}, n=640, d=64)
    new = {"type": "CodebookReading", "test": "", "step": 10, "source": "train", "quantizer": "quantizer"}
    new |= {"perplexity": 12.5, "status": [], "n_codes": 64, "n_assignments": 640}
    new |= {"active_code_fraction": 0.5, "normalized_perplexity": float("nan")}
    assert _compare([old], [new]).examples == []
    assert len(_compare([old], [new | {"perplexity": 12.500000000000002}]).examples) == 1


def test_alarms_are_compared_by_todays_names():
    from reading_records import canonical_alarm

    old = {"step": 3, "kind": "shared_vector", "severity": "notice", "source": "held_back", "since": 2}
    new = {"step": 3, "kind": "anisotropy", "severity": "info", "source": "first_batches", "since": 2}
    assert canonical_alarm(old) == canonical_alarm(new) == new


def test_recorded_readings_come_back_to_the_last_digit(tmp_path):
    """In a process of its own, since the class stays wrapped."""
    code = (
        "import sys; from pathlib import Path; import reading_recorder; from readings import reading; "
        "reading_recorder.record_readings(Path(sys.argv[1])); "
        "[reading(step, 0.1 + 0.2, source='train') for step in (1, 2)]"
    )
    helpers = BENCHMARKS.parent / "helpers"
    root = BENCHMARKS.parents[1]
    file = tmp_path / "readings.jsonl"
    environment = {"PYTHONPATH": f"{root}:{BENCHMARKS}:{helpers}", "PATH": ""}
    subprocess.run([sys.executable, "-c", code, str(file)], env=environment, check=True)
    lines = [json.loads(line) for line in file.open()]
    assert [(line["step"], line["source"], line["effective_rank"]) for line in lines] == [
        (1, "train", 0.1 + 0.2),
        (2, "train", 0.1 + 0.2),
    ]
    assert "protocol" not in lines[0]
