"""The detectors on the histories of real runs, healthy and broken (`tests/benchmarks/zoo`).

Seeds 6 and above, which were looked at once, after the last change to a detector; the others are slow only because
there are so many.
"""

import functools
import sys
from pathlib import Path

import pytest

ZOO = Path(__file__).resolve().parents[1] / "benchmarks" / "zoo"
sys.path.insert(0, str(ZOO))

import monitors  # noqa: E402
from harm import harm  # noqa: E402
from record import read  # noqa: E402

from rankwatch.alarms.alarm_state import AlarmState  # noqa: E402
from rankwatch.alarms.detectors import SlowPerplexityDecline  # noqa: E402

HISTORIES = {path.name.removesuffix(".jsonl.gz"): path for path in sorted((ZOO / "histories").glob("*.jsonl.gz"))}
HEALTHY = [name for name in HISTORIES if "-healthy-" in name]
BROKEN = [name for name in HISTORIES if name not in HEALTHY]
FRESH = 6
_RATE = "healthy runs lose as much of their rank while the learning rate rises"
MISSED = {
    "vicreg-decay_x1000-start-2": "its last layer has the rank of its healthy twin's, and a third fewer digits",
    "bestrq-rate_x20-start-2": _RATE,
    "bestrq-rate_x20-start-6": _RATE,
}
WARNED = {
    "vicreg-no_variance-start-2": "it converges to a shared vector, nine tenths of the rank are left",
    "bestrq-one_cluster-start-1": "it converges and then stands still, nothing is lost, nothing is learnt",
    "bestrq-rate_x20-start-1": _RATE,
    "bestrq-rate_x20-start-4": _RATE,
}


def runs(names):
    """Names as parameters; those of seeds below `FRESH` are slow."""
    return [pytest.param(name, marks=[] if int(name[-1]) >= FRESH else pytest.mark.slow) for name in names]


@functools.cache
def told(name):
    """What the defaults say about a run."""
    return monitors.ours(read(HISTORIES[name]))


def test_the_zoo_is_as_large_as_is_said():
    assert len(HEALTHY) == 220
    assert len(BROKEN) == 245


@pytest.mark.parametrize("name", runs(HEALTHY))
def test_a_healthy_run_raises_nothing_critical(name):
    assert not told(name).critical


@pytest.mark.parametrize("name", runs([name for name in HEALTHY if name.startswith("wav2vec2")]))
def test_no_healthy_codebook_slides_slowly_even_if_runs_of_any_length_are_judged(name):
    history = read(HISTORIES[name])
    assert len(history.readings.by_step) > 20
    assert not monitors.ours(history, [SlowPerplexityDecline(steps=0)]).alarms


@pytest.mark.parametrize("seeds", [pytest.param({2, 3, 4, 5}, marks=pytest.mark.slow), {6, 7}], ids=str)
def test_one_healthy_run_in_twenty_warns_at_most(seeds):
    names = [name for name in HEALTHY if int(name[-1]) in seeds]
    assert sum(bool(told(name).warnings) for name in names) <= len(names) / 20


@pytest.mark.parametrize("name", runs([n for n in BROKEN if "no_stop_gradient" in n or "rate_x20" in n]))
def test_a_run_that_is_interrupted_after_each_reading_alarms_as_one_that_is_not(name):
    history = read(HISTORIES[name])
    state, raised = AlarmState("first_batches"), []
    curves = {reading.key for readings in history.readings.by_step.values() for reading in readings}
    curves |= {("train", "codebook", "quantizer")}
    for step, readings in history.readings.by_step.items():
        raised += state.assess(
            step, readings, monitors.rate_at(history, step), codebooks=monitors.codebook(history, step)
        ).raised
        again = AlarmState("first_batches")
        again.load_state_dict(state.state_dict(), curves)
        state = again
    assert tuple(alarm for alarm in raised if alarm.kind != "plateau") == told(name).alarms


@pytest.mark.parametrize("name", runs(BROKEN))
def test_a_harmful_run_is_found_after_it_was_broken(name):
    history, found = read(HISTORIES[name]), told(name)
    after = [step for step in found.critical if step > history.run.switch]
    assert len(after) == len(found.critical)
    if harm(history, read(HISTORIES[history.run.twin])).really:
        assert bool(after) == (name not in {**MISSED, **WARNED})
        assert bool(after or found.warnings) == (name not in MISSED)
