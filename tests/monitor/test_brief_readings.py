"""Readings of a set's first utterances between full ones: what they run, what they say, and how they join the curve."""

import dataclasses
import itertools
import json
import math

import eval_passes
import pytest
import torch
from readings import reading
from torch import nn

from rankwatch import RowSampling, Watch
from rankwatch.extraction.eval_sets.eval_set import audio_eval_set
from rankwatch.extraction.rows.row_sampling import BRIEF, FULL, draw_frames, sample_rows
from rankwatch.numerics import Sample, estimate_from_sample
from rankwatch.readings.brief_links import BriefLinks

ROWS = RowSampling(n_utterances=64, frames_per_utterance=2, brief_utterances=16, full_every=4, projection=None)
ALWAYS_FULL = RowSampling(n_utterances=64, frames_per_utterance=2, brief_utterances=None, projection=None)


class Encoder(nn.Module):
    """Frames of 8 samples through three layers."""

    def __init__(self, width=24):
        super().__init__()
        torch.manual_seed(0)
        self.layers = nn.ModuleList(nn.TransformerEncoderLayer(width, 2, width, 0.0, batch_first=True) for _ in "ab")
        self.front = nn.Conv1d(1, width, 8, 8)

    def forward(self, waveforms):
        if not self.training:
            eval_passes.SEEN.append(len(waveforms))
        x = self.front(waveforms[:, None]).transpose(1, 2)
        for layer in self.layers:
            x = layer(x)
        return x


def train(folder, rows=ROWS, steps=60, state=None, **settings):
    """Returns the watch, and what a restart needs."""
    eval_passes.SEEN.clear()
    model = Encoder()
    optimizer = torch.optim.SGD(model.parameters(), 1e-2)
    settings = {"every_n_steps": 5, "max_overhead": None, "strict": True, **settings}
    watch = Watch(model, folder, rows=rows, **settings)
    if state is not None:
        model.load_state_dict(state["model"])
        watch.load_state_dict(state["watch"])
    for step in range(0 if state is None else state["step"], steps):
        batch = torch.randn(8, 320, generator=torch.Generator().manual_seed(step))
        with watch.batch(batch):
            loss = model(batch).square().mean()
            loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        watch.step()
    kept = {"model": model.state_dict(), "watch": watch.state_dict(), "step": steps}
    watch.close()
    return watch, kept


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """One run for all tests that want no other: its folder, its watch, and the utterances of each of its passes."""
    folder = tmp_path_factory.mktemp("whole")
    watch, _ = train(folder)
    return folder, watch, list(eval_passes.SEEN)


def by_step(readings):
    return {step: list(some) for step, some in itertools.groupby(readings, lambda one: one.step)}


def test_between_full_readings_only_the_first_utterances_are_run_and_frames_are_read(whole):
    _, watch, seen = whole
    steps = by_step(watch.readings)
    full = [step for step, some in steps.items() if not some[0].brief]
    # The first four; then, until there are twelve readings, every second and third; then every fourth.
    numbers = [list(steps).index(step) for step in full]
    assert numbers == [0, 1, 2, 3, 5, 7, 10]
    for step, some in steps.items():
        assert {one.brief for one in some} == {step not in full}
        assert {one.utterances for one in some} == ({64} if step in full else {16})
        assert {one.level for one in some} == ({"frame", "utterance"} if step in full else {"frame"})
        assert {one.n for one in some if one.level == "frame"} == {128}  # as many rows
    passes = [8 * [8] if step in full else [8, 8] for step in steps]
    first = seen[: len(seen) - sum(map(len, passes[1:]))]  # the first reading may look twice
    assert set(first) == {8}
    assert seen[len(first) :] == list(itertools.chain(*passes[1:]))


def test_full_readings_are_those_of_a_run_without_brief_ones(tmp_path, whole):
    _, watch, _ = whole
    other, _ = train(tmp_path, ALWAYS_FULL)
    always = {(one.step, one.key): one for one in other.readings}
    for one in watch.readings:
        twin = always[one.step, one.key]
        if not one.brief:
            assert dataclasses.replace(one, drift=twin.drift) == twin  # whose reading before is another one
        else:
            assert one.protocol == twin.protocol
            assert one.effective_rank == pytest.approx(twin.effective_rank, rel=0.15)


def test_brief_and_full_readings_form_one_curve(whole):
    """The weights hardly move, so nearly every step of the curve is the change of size."""
    _, watch, _ = whole
    curve = [one for one in watch.readings if one.key == ("first_batches", "frame", "layers.1")]
    linked = [one for one in curve if one.brief]
    assert linked
    assert all(one.link != 1.0 for one in linked)
    for one in linked:
        before = [other for other in curve if not other.brief and other.step < one.step][-1]
        assert one.effective_rank == pytest.approx(before.effective_rank, rel=0.1)
        width = math.log(one.effective_rank_high / one.effective_rank_low)
        assert width > math.log(before.effective_rank_high / before.effective_rank_low)  # wider, and shown so


def test_a_set_that_is_too_small_is_read_as_a_whole_always(tmp_path):
    rows = RowSampling(n_utterances=64, frames_per_utterance=2, brief_utterances=33, full_every=4)
    watch, _ = train(tmp_path, rows, steps=40)
    assert not any(one.brief for one in watch.readings)
    assert {one.level for one in watch.readings} == {"frame", "utterance"}


def test_where_only_utterances_are_watched_every_reading_is_full(tmp_path):
    watch, _ = train(tmp_path, steps=40, watch=["utterance"])
    assert not any(one.brief for one in watch.readings)


@pytest.mark.parametrize("cut", [27, 46])
def test_a_run_that_is_resumed_reads_as_one_that_was_not(tmp_path, whole, cut):
    first, kept = train(tmp_path / "cut", steps=cut)
    rest, _ = train(tmp_path / "cut", state=kept)
    resumed = [*first.readings, *rest.readings]
    known = {(one.step, one.key): one for one in resumed}
    assert len(known) == len(resumed)
    for one in whole[1].readings:
        if one.step < cut - 1 or one.step > cut + 5:
            assert known[one.step, one.key] == one


def test_records_say_which_readings_are_brief(whole):
    folder, watch, _ = whole
    records = [json.loads(line) for line in (folder / "RankWatch.jsonl").read_text().splitlines()]
    written = [(one["step"], one["brief"], one["utterances"]) for one in records if one["record"] == "reading"]
    assert written == [(one.step, one.brief, one.utterances) for one in watch.readings]


def test_frames_of_a_full_reading_are_among_those_of_a_brief_one():
    frames, keys = torch.tensor([9, 3, 40, 40]), torch.tensor([5, 6, 7, 8])
    drawn = draw_frames(frames, keys, 4, brief=3, brief_count=12)
    alone = draw_frames(frames, keys, 4)
    for positions, samples, expected in zip(drawn.positions, drawn.samples, alone.positions, strict=True):
        assert torch.equal(positions[(samples & FULL) != 0], expected)
    assert [int(((samples & BRIEF) != 0).sum()) for samples in drawn.samples] == [9, 3, 12, 0]
    hidden = torch.randn(4, 40, 5)
    rows = sample_rows(hidden, frames, keys, per_utterance=4, drawn=drawn)
    whole = sample_rows(hidden, frames, keys, per_utterance=4)
    assert torch.equal(rows.frame_rows[(rows.frame_samples & FULL) != 0], whole.frame_rows)


def test_the_first_utterances_are_whole_batches_first_and_a_part_of_one():
    batches = [(torch.randn(6, 50), torch.full((6,), 50)) for _ in range(3)]
    assert [part.brief for part in audio_eval_set("a", batches).parts(8)] == [6, 2, 0]
    assert [part.brief for part in audio_eval_set("a", batches).parts(0)] == [0, 0, 0]


def cloud(rank_exponent, n, seed=0):
    scale = torch.arange(1, 33) ** -rank_exponent
    return torch.randn(n, 32, generator=torch.Generator().manual_seed(seed)) * scale


def test_links_multiply_rank_and_interval_and_are_kept_where_a_reading_is_no_number():
    links = BriefLinks()
    brief = estimate_from_sample(Sample.from_rows(cloud(1.0, 200), torch.arange(200) // 4))
    full = reading(10, 2.0 * brief.value, half_width=0.2 * brief.value)
    links.learn(full, brief)
    again = links.apply(reading(15, 7.0, half_width=0.7))
    assert (again.effective_rank, again.link) == pytest.approx((14.0, 2.0))
    own, other = 0.5 * math.log(7.7 / 6.3), 0.5 * math.log(2.2 / 1.8)
    assert math.log(again.effective_rank_high / 14.0) == pytest.approx(math.hypot(own, other))
    assert again.effective_rank_low * again.effective_rank_high == pytest.approx(14.0**2)
    links.learn(reading(20, math.nan), brief)
    assert links.apply(reading(25, 7.0)).effective_rank == pytest.approx(14.0)
    assert links.apply(reading(25, 7.0)).effective_rank_low is None
    unknown = links.apply(reading(25, 7.0, layer="layers.9"))
    assert (unknown.effective_rank, unknown.link, unknown.brief) == (7.0, 1.0, True)
    restored = BriefLinks()
    restored.load_state_dict(json.loads(json.dumps(links.state_dict())))
    assert restored.apply(reading(25, 7.0)) == links.apply(reading(25, 7.0))
