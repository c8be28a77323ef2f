"""The detectors on the histories of real runs, healthy and broken (`tests/benchmarks/zoo`)."""

import sys
from pathlib import Path

import pytest

ZOO = Path(__file__).resolve().parents[1] / "benchmarks" / "zoo"
sys.path.insert(0, str(ZOO))

import monitors  # noqa: E402
from harm import harm  # noqa: E402
from record import read  # noqa: E402

from rankwatch.monitor.history import History as Past  # noqa: E402
from rankwatch.monitor.history import key_of  # noqa: E402
from rankwatch.monitor.judge import Judge  # noqa: E402

HISTORIES = {path.name.removesuffix(".jsonl.gz"): path for path in sorted((ZOO / "histories").glob("*.jsonl.gz"))}
HEALTHY = [name for name in HISTORIES if "-healthy-" in name]
BROKEN = [name for name in HISTORIES if name not in HEALTHY]


@pytest.fixture(scope="module")
def told():
    """What the defaults say about every run."""
    return {name: monitors.ours(read(path)) for name, path in HISTORIES.items()}


def test_the_zoo_is_as_large_as_is_said():
    assert len(HEALTHY) >= 40
    assert len(BROKEN) >= 40


@pytest.mark.parametrize("name", HEALTHY)
def test_a_healthy_run_raises_nothing_critical(name, told):
    assert not told[name].critical


def test_one_healthy_run_in_twenty_warns_at_most(told):
    assert sum(bool(told[name].warnings) for name in HEALTHY) <= len(HEALTHY) / 20


@pytest.mark.parametrize("name", [name for name in BROKEN if "no_stop_gradient" in name or "rate_x20" in name])
def test_a_run_that_is_interrupted_after_each_reading_alarms_as_one_that_is_not(name, told):
    history = read(HISTORIES[name])
    judge, past, raised = Judge("held_back"), Past(), []
    for step, readings in history.readings.by_step.items():
        raised += judge.judge(readings, past, monitors.rate_at(history, step)).raised
        again, before = Judge("held_back"), Past()
        again.load_state_dict(judge.state_dict(), {key_of(reading) for reading in readings})
        before.load_state_dict(past.state_dict())
        judge, past = again, before
    assert tuple(raised) == told[name].alarms


@pytest.mark.parametrize("name", BROKEN)
def test_a_harmful_run_is_found_after_it_was_broken(name, told):
    history = read(HISTORIES[name])
    found = [step for step in told[name].critical if step > history.run.switch]
    if history.run.variant == "one_cluster":  # nothing is lost, nothing is learnt: a standstill is a warning
        found += told[name].warnings
    assert not [step for step in told[name].critical if step <= history.run.switch]
    if harm(history, read(HISTORIES[history.run.twin])).really:
        assert found
