"""The use of codes: what is counted, when, by how many processes, and what it does to a run: nothing."""

import copy
import dataclasses
import math
import warnings

import pytest
import torch
from processes import Processes
from quantizer_toys import PerplexingQuantizer, RandomQuantizer, hooks, wav2vec2
from torch import nn
from toys import Encoder, Module, Noise, collate, loader, trainer

from rankwatch import RowSampling, Watch
from rankwatch.alarms.mute_switch import MuteFile
from rankwatch.arguments.settings import Settings
from rankwatch.extraction.hooks.code_outputs import CodeAssignments
from rankwatch.monitor.collected_rows import CollectedRows
from rankwatch.monitor.evaluator import Evaluator
from rankwatch.monitor.monitor import Monitor
from rankwatch.monitor.outcome import Outcome
from rankwatch.monitor.reading_exchange import merge, pack_share
from rankwatch.readings.codebook_usage import CodeUsage, read_usage
from rankwatch.readings.protocol import Protocol
from rankwatch.reporting.jsonl_records import read_codebooks
from rankwatch.runtime.plain_data import from_plain, to_plain

PROTOCOL = Protocol("train", "codebook", 512, 0, 0, None, mode="train")


def usage(codes, known=8):
    return CodeUsage.of([CodeAssignments(codes=torch.tensor(codes, dtype=torch.int32).reshape(len(codes), -1))], known)


def read(*parts):
    return read_usage(CodeUsage.joined(parts), step=1, quantizer="quantizer", protocol=PROTOCOL)


def test_all_codes_alike_read_v_and_one_code_reads_1():
    even = read(usage(list(range(8)) * 10))
    assert even.perplexity == pytest.approx(8.0)
    assert (even.active_code_fraction, even.normalized_perplexity) == pytest.approx((1.0, 1.0))
    assert (even.status, even.n_assignments, even.n_codes) == (set(), 80, 8)
    assert (even.protocol.d, even.protocol.power) == (8, "codes")
    one = read(usage([3] * 80))
    assert one.perplexity == one.value == 1.0
    assert (one.active_code_fraction, one.normalized_perplexity) == pytest.approx((1 / 8, 1 / 8))
    assert one.key == ("train", "codebook", "quantizer")


def test_groups_are_averaged_and_frames_that_do_not_count_are_left_out():
    codes = [[i % 8, 5] for i in range(80)] + [[-1, -1]] * 1000
    reading = read(usage(codes))
    assert reading.perplexity == pytest.approx((8 + 1) / 2)
    assert reading.active_code_fraction == pytest.approx(9 / 16)
    assert reading.n_assignments == 160


def test_few_draws_and_an_unknown_number_of_codes_are_said():
    assert read(usage(list(range(8)) * 4)).status == {"too_few_assignments"}
    for reading in read(usage([0, 1, 2, 3] * 20, known=0)), read(usage([0, 1, 2, 9] * 20)):  # 9 of 8
        assert reading.perplexity == pytest.approx(4.0)
        assert (reading.n_codes, reading.status) == (0, set())
        assert math.isnan(reading.active_code_fraction)
        assert math.isnan(reading.normalized_perplexity)
    assert read(usage([-1, -1])) is None


def perplexing(*values, codes=10):
    return CodeUsage.of([CodeAssignments(perplexity=torch.tensor(value)) for value in values], codes)


def test_a_perplexity_stands_for_codes_that_are_not_there():
    reading = read(perplexing(4.0, 6.0), perplexing(8.0))
    assert reading.perplexity == pytest.approx(6.0)
    assert reading.normalized_perplexity == pytest.approx(0.6)
    assert math.isnan(reading.active_code_fraction)
    assert (reading.n_assignments, reading.protocol.power) == (0, "perplexity")
    assert read(perplexing(math.nan)).status == {"non_finite"}
    with pytest.raises(ValueError, match=r"0\.3 is no perplexity of 10 codes"):
        perplexing(0.3)


@pytest.mark.parametrize("cut", [[40, 40], [80, 0], [1, 79], [10] * 8])
def test_several_processes_read_what_one_reads(cut):
    codes = torch.randint(0, 8, (80, 2), generator=torch.Generator().manual_seed(0)).tolist()
    starts = [sum(cut[:i]) for i in range(len(cut))]
    parts = [codes[start : start + size] for start, size in zip(starts, cut, strict=True)]
    packed = [pack_share({}, {}, "", [PROTOCOL], {"quantizer": usage(part)} if part else {}) for part in parts]
    assert read(*merge(packed).usages["quantizer"]) == read(usage(codes))


def test_all_processes_are_told_of_one_reading():
    settings = Settings(every_n_steps=10, max_overhead=None)
    parts = [usage([0, 1, 2, 3] * 10), usage([4, 5, 6, 7] * 10)]

    def evaluate(group, rank):
        gathered = CollectedRows(10, protocols={("train", "codebook"): PROTOCOL}, usages={"quantizer": parts[rank]})
        return (
            Evaluator(settings, [], group, first=rank == 0, mute=MuteFile(None), quantizers=["quantizer"])
            .evaluate(gathered)
            .outcome
        )

    first, second = Processes(2).run(evaluate)
    assert first == second == from_plain(Outcome, to_plain(first))
    (reading,) = second.report.codebooks
    assert not second.report.readings
    assert dataclasses.replace(reading, step=1) == read(*parts)
    assert reading.perplexity == pytest.approx(8.0)


def test_the_past_of_a_quantizer_outlives_a_restart_and_that_of_one_that_is_gone_does_not():
    settings = Settings(every_n_steps=10, max_overhead=None)
    gathered = CollectedRows(10, protocols={("train", "codebook"): PROTOCOL}, usages={"quantizer": usage([0, 1] * 40)})
    before = Evaluator(settings, [], None, first=True, mute=MuteFile(None), quantizers=["quantizer"])
    before.evaluate(gathered)
    for names, kept in (["quantizer"], 1), (["other"], 0):
        after = Evaluator(settings, [], None, first=True, mute=MuteFile(None), quantizers=names)
        after.load_state_dict(before.state_dict())
        assert len(after.state_dict()["alarms"]["history"]) == kept


class BestRq(nn.Module):
    """An encoder, and targets from the waveforms themselves."""

    def __init__(self, quantizer=None):
        super().__init__()
        self.encoder = Encoder(dropout=0.0, layer_drop=0.0)
        self.quantizer = RandomQuantizer(width=20) if quantizer is None else quantizer

    def forward(self, waveforms, lengths):
        targets = self.quantizer(waveforms.unfold(1, 20, 20))
        return self.encoder(waveforms, lengths), targets


def train(monitor, model, steps, batch, accumulate=1):
    """Steps at which hooks were on the quantizer, and the readings of codes that were made."""
    listened, readings = [], []
    for step in range(steps):
        for _ in range(accumulate):
            monitor.batch_starts(batch, step)
            listened += [step] if hooks(model.quantizer) else []
            model(*batch)[0].sum().backward()
            monitor.batch_ends(batch)
            assert hooks(model.quantizer) == []
        if monitor.agree_whether_due(step + 1):
            readings += monitor.read(step + 1).report.codebooks
    return listened, readings


@pytest.mark.parametrize("accumulate", [1, 2])
def test_only_the_batches_before_a_reading_are_counted(accumulate):
    model, batch = BestRq(), collate(Noise(8).items)
    settings = Settings(rows=RowSampling(n_utterances=16), every_n_steps=10, strict=True, max_overhead=None)
    monitor = Monitor(settings)
    monitor.attach(model)
    listened, readings = train(monitor, model, 30, batch, accumulate)
    near = [8, 9, 18, 19, 28, 29] if accumulate == 1 else [9, 9, 19, 19, 29, 29]
    assert [step for step in listened if step >= 10 - 16 // 8] == near
    frames = batch[0].shape[1] // 20
    assert [r.n_assignments for r in readings if r.step >= 10] == [
        2 * 8 * frames
    ] * 3  # 16 utterances, their padding included
    codes = model(*batch)[1]
    counts = torch.bincount(codes.flatten(), minlength=16)
    expected = read(CodeUsage(16, [counts.tolist()]))
    assert readings[-1].perplexity == pytest.approx(expected.perplexity)
    assert readings[-1].quantizer == "quantizer"
    assert "quantizer (16 codes)" in monitor.row_collector.notes[0]
    monitor.close()


def test_they_can_be_turned_off_and_a_perplexity_alone_is_read():
    batch = collate(Noise(8).items)
    for on in True, False:
        model = BestRq(PerplexingQuantizer())
        model.forward = lambda *batch, model=model: (model.encoder(*batch), model.quantizer(batch[0]))
        watch = ("frame", "utterance", "codebook") if on else ("frame", "utterance")
        monitor = Monitor(Settings(watch=watch, rows=RowSampling(n_utterances=8), every_n_steps=5, strict=True))
        monitor.attach(model)
        _, readings = train(monitor, model, 5, batch)
        assert {(r.perplexity, r.n_codes) for r in readings} == ({(4.0, 10)} if on else set())
        monitor.close()


class GroupsFirst(RandomQuantizer):
    """(groups, B, T), with eight groups."""

    def forward(self, x):
        return torch.stack([(super(GroupsFirst, self).forward(x) + g) % 16 for g in range(8)])


def test_groups_that_cannot_be_told_from_utterances_are_named_and_never_counted_wrongly():
    """Each batch has as many utterances as there are groups, until one of another size comes."""
    model = BestRq(GroupsFirst(width=20))
    monitor = Monitor(Settings(rows=RowSampling(n_utterances=8), every_n_steps=5))
    monitor.attach(model)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        _, readings = train(monitor, model, 10, collate(Noise(8).items))
        assert readings == []
    (message,) = [str(one.message) for one in caught]
    assert "quantizer quantizer are not counted: its codes are of 8 groups in batches of 8 utterances" in message
    batch = collate(Noise(4).items)
    for step in range(10, 15):
        monitor.batch_starts(batch, step)
        model(*batch)[0].sum().backward()
        monitor.batch_ends(batch)
        if monitor.agree_whether_due(step + 1):
            readings += monitor.read(step + 1).report.codebooks
    monitor.close()
    counts = torch.bincount(model(*batch)[1][0].flatten(), minlength=16)  # of one group; all others' are shifted
    assert readings[-1].perplexity == pytest.approx(read(CodeUsage(16, [counts.tolist()])).perplexity)


def test_a_quantizer_that_fails_is_reported_once_and_left_out(monkeypatch):
    def explode(*_):
        raise OSError("made up")

    monkeypatch.setattr("rankwatch.extraction.hooks.code_hooks.integer_codes", explode)
    model = BestRq()
    monitor = Monitor(Settings(rows=RowSampling(n_utterances=8), every_n_steps=5))
    monitor.attach(model)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        listened, readings = train(monitor, model, 12, collate(Noise(8).items))
    (message,) = [str(one.message) for one in caught]
    assert message.startswith("RankWatch: the codes of quantizer quantizer can't be counted")
    assert message.endswith("made up")
    assert (listened, readings) == ([0], [])
    monitor.close()


def test_a_step_that_broke_off_leaves_nothing_after_the_end():
    model, batch = BestRq(), collate(Noise(8).items)
    monitor = Monitor(Settings(rows=RowSampling(n_utterances=8)))
    monitor.attach(model)
    monitor.batch_starts(batch, 0)
    assert hooks(model.quantizer)
    monitor.close()
    assert hooks(model) == []


def pretrained(folder, watched):
    """Losses and weights of some steps of wav2vec 2.0, whose quantizer draws from the global generator."""
    torch.manual_seed(0)
    model = wav2vec2()
    optimizer = torch.optim.AdamW(model.parameters(), 1e-3)
    watch = Watch(model, folder, every_n_steps=3, rows=RowSampling(n_utterances=8), strict=True) if watched else None
    losses = []
    for step in range(7):
        generator = torch.Generator().manual_seed(step)
        audio = torch.randn(4, 1600, generator=generator)
        frames = int(model._get_feat_extract_output_lengths(1600))
        mask = torch.rand(4, frames, generator=generator) < 0.5
        negatives = torch.randint(0, 4 * frames, (4, frames, 5), generator=generator)
        batch = {"input_values": audio, "mask_time_indices": mask, "sampled_negative_indices": negatives}
        if watch is not None:
            with watch.batch(batch):
                loss = model(**batch).loss
                loss.backward()
        else:
            loss = model(**batch).loss
            loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
        if watch is not None:
            watch.step()
    if watch is not None:
        watch.close()
    assert hooks(model) == []
    return losses, copy.deepcopy(model.state_dict()), watch


def test_wav2vec2_pretrains_bit_for_bit_the_same_and_its_codes_are_read(tmp_path):
    plain, weights, _ = pretrained(tmp_path, False)
    losses, watched, watch = pretrained(tmp_path, True)
    assert losses == plain
    assert all(torch.equal(watched[name], weights[name]) for name in weights)
    found = watch.codebook_readings
    assert {r.level for r in watch.readings} == {"frame", "utterance"}
    assert {r.step for r in found} >= {3, 6}
    assert {(r.quantizer, r.n_codes) for r in found} == {("quantizer", 4)}
    assert all(1.0 <= r.perplexity <= 4 and 0.0 < r.active_code_fraction <= 1.0 for r in found)
    assert read_codebooks(tmp_path / "RankWatch.jsonl") == found
    (file,) = tmp_path.glob("events.out.tfevents.*")
    assert b"RankWatch/codebook" in file.read_bytes()


class Targets(Module):
    def __init__(self):
        super().__init__()
        self.target_quantizer = RandomQuantizer(width=20)

    def training_step(self, batch, batch_idx):
        with torch.no_grad():
            self.target_quantizer(batch[0].unfold(1, 20, 20))
        return super().training_step(batch, batch_idx)


def test_under_lightning_one_line_does_it(tmp_path):
    from rankwatch import RankWatch

    module = Targets()
    callback = RankWatch(every_n_steps=5, rows=RowSampling(n_utterances=16), strict=True, max_overhead=None)
    trainer(tmp_path, callback, max_steps=12, enable_checkpointing=False).fit(module, loader())
    found = {r.step: r for r in callback.codebook_readings}
    assert set(found) >= {5, 10}
    assert {r.quantizer for r in found.values()} == {"target_quantizer"}
    assert hooks(module) == []
