"""From windows to one outcome for all processes."""

import dataclasses

import pytest
import torch
from processes import Processes

from rankwatch import RowSampling
from rankwatch.alarms.detectors import Finding
from rankwatch.arguments.settings import Settings
from rankwatch.extraction.rows.row_buffer import RowBuffer
from rankwatch.extraction.rows.row_sampling import SampledRows, whole_sample
from rankwatch.monitor.collected_rows import CollectedRows
from rankwatch.monitor.evaluator import Evaluator, ExchangeFailedError
from rankwatch.monitor.outcome import Outcome
from rankwatch.readings.protocol import Protocol
from rankwatch.runtime.plain_data import from_plain, to_plain

SETTINGS = Settings(every_n_steps=10, rows=RowSampling(n_utterances=64), max_overhead=None)
LAYERS = ["layers.0", "layers.1"]


def drawn(rows, keys):
    zeros = torch.zeros(len(rows), dtype=torch.float64)
    return SampledRows(rows, keys, rows[::2], keys[::2], zeros, zeros[::2], zeros, 0, whole_sample(rows))


def gathered(part, step=10, spoil=()):
    """Every process's share of 128 rows of two layers; `part` is a slice of them."""
    window = RowBuffer("first_batches", ("frame", "utterance"))
    generator = torch.Generator().manual_seed(step)
    for layer in LAYERS:
        rows = torch.randn(128, 24, generator=generator) * torch.arange(1, 25) ** -0.5
        keys = torch.arange(64).repeat_interleave(2)
        kept = rows[part][:, :20] if layer in spoil else rows[part]
        window.add({layer: drawn(kept, keys[part])}, 0)
    protocols = {
        ("first_batches", level): Protocol("first_batches", level, 64, 4, 0, None) for level in SETTINGS.levels
    }
    return CollectedRows(step, [window], protocols)


def evaluator(group=None, rank=0, layers=LAYERS, mute=None):
    return Evaluator(SETTINGS, layers, group, first=rank == 0, mute=mute)


def together(shares):
    processes = Processes(len(shares))
    found = processes.run(lambda group, rank: evaluator(group, rank).evaluate(shares[rank]()))
    return found, processes


def numbers(outcome):
    return [(r.level, r.layer, r.n, r.effective_rank) for r in outcome.report.readings]


@pytest.mark.parametrize("cut", [[64, 64], [128, 0], [2, 100, 26], [16] * 8])
def test_all_processes_have_one_outcome_that_of_one_with_all_rows(cut):
    alone = evaluator().evaluate(gathered(slice(None))).outcome
    ends = torch.tensor(cut).cumsum(0).tolist()
    shares = [lambda a=end - size, b=end: gathered(slice(a, b)) for end, size in zip(ends, cut, strict=True)]
    found, processes = together(shares)
    outcomes = [one.outcome for one in found]
    assert all(outcome == outcomes[0] for outcome in outcomes)
    assert len(numbers(outcomes[0])) == len(numbers(alone)) == 4
    for level, layer, n, rank in numbers(alone):
        other = next(r for r in outcomes[0].report.readings if (r.level, r.layer) == (level, layer))
        assert other.n == n
        assert other.effective_rank == pytest.approx(rank, rel=1e-9)
    assert all(calls == ["gather_to_rank0", "broadcast_from_rank0"] for calls in processes.calls)  # and no other


@dataclasses.dataclass(frozen=True)
class Once:
    """Finds something at one step."""

    kind: str
    step: int
    can_be_critical: bool
    patience: int = 1

    def check(self, reading, past, context):
        return Finding("made up", 0.5, can_be_critical=self.can_be_critical) if reading.step == self.step else None


def test_a_critical_alarm_that_holds_is_not_borne_out_by_a_warning():
    settings = dataclasses.replace(SETTINGS, sensitivity=(Once("gone", 10, True), Once("odd", 20, False)))
    judging = Evaluator(settings, LAYERS, None, first=True)
    now, later = (judging.evaluate(gathered(slice(None), step)).outcome for step in (10, 20))
    assert now.collapsed
    assert later.report.alarm_level == 2
    assert {alarm.kind for alarm in later.report.open_alarms} == {"gone", "odd"}
    assert not later.collapsed


@pytest.mark.parametrize("muted", ["first", "second"])
def test_only_the_first_process_looks_whether_it_is_muted(tmp_path, muted):
    (tmp_path / muted).touch()
    processes = Processes(2)

    def evaluate(group, rank):
        mute = tmp_path / ("first", "second")[rank]
        return evaluator(group, rank, mute=mute).evaluate(gathered(slice(64 * rank, 64 * rank + 64)))

    outcomes = [found.outcome for found in processes.run(evaluate)]
    assert outcomes[0] == outcomes[1]
    assert outcomes[1].muted == (muted == "first")
    assert from_plain(Outcome, to_plain(outcomes[0])) == outcomes[0]


def test_a_process_that_failed_is_named_and_the_others_go_on():
    broken = dataclasses.replace(gathered(slice(64, 128)), windows=[], error="OSError: gone")
    found, _ = together([lambda: gathered(slice(0, 64)), lambda: broken])
    assert found[0].outcome.notes["processes"] == (
        "some processes failed and were left out of a reading: process 1: OSError: gone"
    )
    assert found[0].outcome == found[1].outcome
    assert {r.n for r in found[1].outcome.report.readings} == {64, 32}


def test_a_layer_of_another_width_elsewhere_is_told_and_the_other_layer_read():
    found, _ = together([lambda: gathered(slice(0, 64)), lambda: gathered(slice(64, 128), spoil=["layers.0"])])
    assert {r.layer for r in found[1].outcome.report.readings} == {"layers.1"}
    assert {trouble.subject for trouble in found[0].troubles} == {"measuring layers.0"}


def test_what_fails_on_the_first_process_fails_on_all_and_nobody_waits(monkeypatch):
    def explode(*_):
        raise FloatingPointError("made up")

    monkeypatch.setattr("rankwatch.monitor.evaluator.codebook_readings", explode)
    found, processes = together([lambda: gathered(slice(0, 64)), lambda: gathered(slice(64, 128))])
    assert isinstance(found[0], FloatingPointError)
    assert "on the first process: FloatingPointError: made up" in str(found[1])
    assert all(calls == ["gather_to_rank0", "broadcast_from_rank0"] for calls in processes.calls)


def test_a_collective_that_fails_is_told_apart():
    class Gone:
        def gather_to_rank0(self, payload, about):
            raise OSError("connection reset")

    with pytest.raises(ExchangeFailedError, match="connection reset"):
        evaluator(Gone()).evaluate(gathered(slice(None)))


def test_an_outcome_goes_there_and_back_to_the_last_bit():
    outcome = evaluator().evaluate(gathered(slice(None))).outcome
    assert from_plain(Outcome, to_plain(outcome)) == outcome


def test_its_state_goes_on_with_the_layers_that_there_still_are():
    one, other = evaluator(), evaluator()
    one.evaluate(gathered(slice(None), 10))
    assert other.load_state_dict(one.state_dict()) == ""
    assert other.tables() == one.tables()
    fewer = evaluator(layers=["layers.1", "layers.9"])
    told = fewer.load_state_dict(one.state_dict())
    assert "without layers.0" in told
    assert "with layers.9" in told
    steps, ranks = fewer.tables()["first_batches", "frame"]
    assert steps == [10]
    assert ranks[0] == one.tables()["first_batches", "frame"][1][1]
