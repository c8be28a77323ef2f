"""How far a layer has moved between readings: what it is compared with, and what it survives."""

import dataclasses

import pytest
import torch
from readings import reading

import rankwatch
from rankwatch.extraction.rows.row_buffer import Rows
from rankwatch.extraction.rows.row_labels import unlabelled
from rankwatch.extraction.rows.row_sampling import whole_sample
from rankwatch.numerics.rows.projection import project
from rankwatch.numerics.similarity.similarity_result import IMPRECISE, ROUNDED
from rankwatch.readings.drift.drift_memory import DriftMemory
from rankwatch.readings.drift.drift_rows import DriftRows
from rankwatch.readings.drift.layer_drift import FIRST, PREVIOUS, LayerDrift
from rankwatch.runtime.plain_data import from_plain, to_plain

WIDTH = 24
KEYS = torch.randperm(64, generator=torch.Generator().manual_seed(9)).repeat_interleave(4) * 1_000_003


def normal(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def rows_of(values, keys=KEYS):
    return Rows(values, keys, torch.zeros(len(keys)).double(), whole_sample(keys), unlabelled(len(keys)))


def moved(share, seed=1):
    """Rows of which a share of the standard deviation was replaced."""
    return rows_of((1 - share) * normal(256, WIDTH) + share * normal(256, WIDTH, seed=seed))


def take(memory, step, rows, settled=True, **changes):
    found = memory.take(dataclasses.replace(reading(step, 10.0), **changes), rows, seed=0, settled=settled)
    return {one.since: one for one in found.drift}


def test_the_reading_before_and_the_first_one_after_the_warm_up():
    memory = DriftMemory()
    assert take(memory, 10, moved(0.0), settled=False) == {}
    early = take(memory, 20, moved(0.3), settled=False)
    assert set(early) == {PREVIOUS}
    assert set(take(memory, 30, moved(0.4))) == {PREVIOUS}  # the first after the warm-up: nothing before it counts
    found = take(memory, 40, moved(0.6))
    assert {since: one.step for since, one in found.items()} == {PREVIOUS: 30, FIRST: 30}
    assert found[PREVIOUS].value == found[FIRST].value
    found = take(memory, 50, moved(0.6))
    assert {since: one.step for since, one in found.items()} == {PREVIOUS: 40, FIRST: 30}
    assert found[PREVIOUS].value == 0.0  # nothing has moved
    assert (found[PREVIOUS].low, found[PREVIOUS].high) == (0.0, 0.0)
    assert found[FIRST].low < found[FIRST].value < found[FIRST].high


def test_it_is_one_minus_the_public_similarity_of_a_few_random_columns():
    memory = DriftMemory()
    take(memory, 10, moved(0.0))
    found = take(memory, 20, moved(0.5))[PREVIOUS]
    few = [project(rows.rows, 16, 0) for rows in (moved(0.0), moved(0.5))]  # a column for each four of 64 utterances
    wanted = rankwatch.similarity(*few, groups=KEYS)
    assert found.value == pytest.approx(1.0 - wanted.value, abs=1e-4)
    assert found.low == pytest.approx(1.0 - wanted.high, abs=0.01)


def test_the_order_in_which_utterances_come_and_their_processes_make_no_difference():
    """Bit for bit; frames of one utterance stay in the order of time."""
    utterances = torch.randperm(64, generator=torch.Generator().manual_seed(3))
    order = (4 * utterances[:, None] + torch.arange(4)).flatten()
    first, second = moved(0.0), moved(0.5)
    shuffled = Rows(*(part[order] for part in second))
    plain, other = DriftMemory(), DriftMemory()
    take(plain, 10, first), take(other, 10, first)
    assert take(plain, 20, second) == take(other, 20, shuffled)


def test_a_restart_goes_on_exactly(tmp_path):
    plain, stopped = DriftMemory(), DriftMemory()
    for memory in (plain, stopped):
        take(memory, 10, moved(0.0)), take(memory, 20, moved(0.2))
    torch.save(stopped.state_dict(), tmp_path / "state")
    resumed = DriftMemory()
    resumed.load_state_dict(torch.load(tmp_path / "state", weights_only=True), {reading(10, 1.0).key})
    assert take(resumed, 30, moved(0.3)) == take(plain, 30, moved(0.3))
    gone = DriftMemory()
    gone.load_state_dict(torch.load(tmp_path / "state", weights_only=True), set())
    assert take(gone, 30, moved(0.3)) == {}


def test_what_is_remembered_is_small_however_wide_the_layer():
    memory = DriftMemory()
    keys = torch.arange(512).repeat_interleave(4)
    for step in (10, 20, 30):
        take(memory, step, rows_of(normal(2048, 800, seed=step), keys))
    earlier = next(iter(memory.state_dict()))[1]
    assert set(earlier) == {PREVIOUS, FIRST}
    for one in earlier.values():
        tensors = [value for value in one["rows"].values() if isinstance(value, torch.Tensor)]
        assert sum(value.nbytes for value in [one["keys"], *tensors]) < 2048 * 49 * 2 + 512 * 5 * 8 + 1


def test_a_first_reading_of_another_number_of_columns_is_replaced():
    """As a checkpoint of another release may hold it: nothing would ever be comparable with it."""
    memory = DriftMemory()
    take(memory, 10, rows_of(normal(256, 10))), take(memory, 20, moved(0.1))
    assert set(take(memory, 30, moved(0.2))) == {PREVIOUS, FIRST}


def test_only_the_same_utterances_and_frames_are_compared():
    memory = DriftMemory()
    take(memory, 10, moved(0.0)), take(memory, 20, moved(0.1))
    half = Rows(*(part[:128] for part in moved(0.2)))  # a process failed
    assert take(memory, 30, half) == {}
    back = take(memory, 40, moved(0.3))
    assert set(back) == {FIRST}  # the reading before was of other rows
    assert set(take(memory, 50, moved(0.3))) == {PREVIOUS, FIRST}
    protocol = dataclasses.replace(reading(10, 1.0).protocol, eval_set="other")
    assert take(memory, 60, moved(0.3), protocol=protocol) == {}
    assert set(take(memory, 70, moved(0.3), protocol=protocol)) == {PREVIOUS, FIRST}


@pytest.mark.parametrize("before", ["fewer utterances", "other utterances"])
def test_a_first_reading_of_fewer_or_other_utterances_is_replaced(before):
    """A process was missing then, or the run went on with another set: nothing would ever be comparable with it."""
    memory, rows = DriftMemory(), moved(0.0)
    first = Rows(*(part[:128] for part in rows)) if before == "fewer utterances" else rows_of(rows.rows, KEYS + 1000)
    take(memory, 10, first), take(memory, 20, moved(0.1))
    found = take(memory, 30, moved(0.2))
    assert {since: one.step for since, one in found.items()} == {PREVIOUS: 20, FIRST: 20}


def test_rows_that_are_not_numbers_or_do_not_vary_have_no_drift():
    memory = DriftMemory()
    take(memory, 10, moved(0.0))
    spoilt = moved(0.1)
    spoilt.rows[5, 3] = torch.nan
    assert take(memory, 20, spoilt) == {}
    assert take(memory, 30, rows_of(torch.ones(256, WIDTH))) == {}
    assert set(take(memory, 40, moved(0.1))) == {PREVIOUS, FIRST}
    assert DriftRows.of(rows_of(torch.zeros(0, WIDTH), KEYS[:0]), 0) is None


def test_readings_carry_it_as_plain_data_and_old_ones_are_read_without():
    memory = DriftMemory()
    take(memory, 10, moved(0.0))
    found = memory.take(reading(20, 10.0), moved(0.5), seed=0, settled=True)
    assert from_plain(type(found), to_plain(found)) == found
    plain = to_plain(found)
    del plain["drift"]
    assert from_plain(type(found), plain).drift == ()


def test_a_value_that_something_stands_against_is_no_metric():
    memory = DriftMemory()
    take(memory, 10, moved(0.0))
    found = memory.take(reading(20, 10.0), moved(0.5), seed=0, settled=True)
    assert found.numbers["drift_previous"] == found.drift[0].value
    flagged = dataclasses.replace(found.drift[0], status=frozenset({"dependent_rows"}))
    assert "drift_previous" not in dataclasses.replace(found, drift=(flagged,)).numbers
    wide = dataclasses.replace(found.drift[0], status=frozenset({"imprecise"}))
    assert "drift_previous" in dataclasses.replace(found, drift=(wide,)).numbers


def test_only_the_width_of_the_interval_does_not_stand_against_a_value():
    assert LayerDrift(PREVIOUS, 3, 0.1, None, None, frozenset({IMPRECISE})).trusted
    assert not LayerDrift(PREVIOUS, 3, 0.1, None, None, frozenset({IMPRECISE, ROUNDED})).trusted
