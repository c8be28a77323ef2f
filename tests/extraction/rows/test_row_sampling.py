"""Drawing: an exact simple random sample that hangs on the utterance alone."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rankwatch.extraction.inputs.utterance_keys import fingerprint, mix64
from rankwatch.extraction.rows.row_sampling import sample_frames, sample_rows


def _batch(lengths, width=5, seed=0, longest=None, filler=0.0):
    generator = torch.Generator().manual_seed(seed)
    utterances = [torch.randn(n, width, generator=generator) for n in lengths]
    hidden = torch.full((len(lengths), longest or max(max(lengths), 1), width), filler)
    for row, utterance in zip(hidden, utterances, strict=True):
        row[: len(utterance)] = utterance
    return hidden, torch.tensor(lengths)


def test_mix64_is_splitmix64():
    # The first output of SplitMix64 seeded with 0 is the finaliser of the golden ratio's odd fraction.
    golden = torch.tensor([0x9E3779B97F4A7C15 - (1 << 64)])
    assert int(mix64(golden)) % (1 << 64) == 0xE220A8397B1DCDAF


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.int16])
def test_key_ignores_zero_padding_and_tells_utterances_apart(dtype):
    x = (100 * torch.randn(4, 50, generator=torch.Generator().manual_seed(1))).to(dtype)
    padded = torch.cat([x, torch.zeros(4, 13, dtype=dtype)], dim=1)
    assert torch.equal(fingerprint(x), fingerprint(padded))
    assert len(set(fingerprint(x).tolist())) == 4


@pytest.mark.parametrize("shape", [(3, 80, 50), (3, 50, 80), (3, 1, 400)])
def test_keys_of_features_ignore_padding_along_either_axis(shape):
    x = torch.randn(shape, generator=torch.Generator().manual_seed(2))
    assert torch.equal(fingerprint(x), fingerprint(torch.nn.functional.pad(x, (0, 7))))
    assert torch.equal(fingerprint(x), fingerprint(torch.nn.functional.pad(x, (0, 0, 0, 7))))
    assert not torch.equal(fingerprint(x), fingerprint(x.roll(1, dims=2)))


def test_key_sees_a_shift_in_time():
    x = torch.randn(1, 50, generator=torch.Generator().manual_seed(1))
    assert not torch.equal(fingerprint(x), fingerprint(x.roll(1, dims=1)))


@given(st.lists(st.integers(0, 30), min_size=1, max_size=8), st.integers(1, 10), st.integers(0, 1000))
@settings(max_examples=50, deadline=None)
def test_positions_are_valid_distinct_and_as_many_as_asked(lengths, count, seed):
    keys = torch.arange(len(lengths)) * 7919
    drawn = sample_frames(torch.tensor(lengths), keys, count, seed)
    for valid, positions in zip(lengths, drawn, strict=True):
        assert len(positions) == min(count, valid)
        assert len(set(positions.tolist())) == len(positions)
        assert all(0 <= p < valid for p in positions.tolist())


def test_every_frame_is_drawn_equally_often():
    frames, keys = torch.full((4000,), 10), torch.arange(4000) * 104729
    counts = torch.bincount(torch.cat(sample_frames(frames, keys, 3)), minlength=10).float()
    expected = 4000 * 3 / 10
    assert ((counts - expected).abs() < 5 * expected**0.5).all()  # five standard deviations


@pytest.mark.parametrize("filler", [0.0, float("nan")])
def test_rows_do_not_change_under_padding_order_or_batching(filler):
    lengths = [7, 40, 23, 12, 3, 0, 31]
    keys = torch.arange(len(lengths)) * 31 + 5

    def rows(order, longest, split):
        hidden, frames = _batch(lengths, longest=longest, filler=filler)
        parts = []
        for chunk in torch.tensor(order).split(split):
            parts.append(sample_rows(hidden[chunk], frames[chunk], keys[chunk], per_utterance=4))
        by_key = {}
        for part in parts:
            for key in part.utterance_keys.tolist():
                by_key[key] = (
                    part.frame_rows[part.frame_keys == key],
                    part.utterance_rows[part.utterance_keys == key],
                )
        return by_key

    plain = rows(range(7), 40, 7)
    shuffled = rows([6, 2, 0, 5, 4, 1, 3], 173, 2)
    assert plain.keys() == shuffled.keys()
    for key in plain:
        for ours, theirs in zip(plain[key], shuffled[key], strict=True):
            assert torch.equal(ours, theirs)


def test_mean_is_over_valid_frames_and_short_utterances_are_used_whole():
    hidden, frames = _batch([2, 9, 0])
    drawn = sample_rows(hidden, frames, torch.tensor([1, 2, 3]), per_utterance=4)
    assert drawn.dropped == 1
    assert drawn.frame_keys.tolist() == [1, 1, 2, 2, 2, 2]
    torch.testing.assert_close(drawn.utterance_rows[1], hidden[1, :9].mean(0))
    assert torch.equal(drawn.frame_rows[:2], hidden[0, :2])


def test_only_wanted_levels_are_drawn():
    hidden, frames = _batch([5, 6])
    drawn = sample_rows(hidden, frames, torch.tensor([1, 2]), per_utterance=4, levels=("utterance",))
    assert len(drawn.frame_rows) == 0
    assert drawn.utterance_rows.shape == (2, 5)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_a_mean_says_how_much_rounding_is_left_in_it(dtype):
    exact = 0.2 + torch.randn(3, 400, 2000, generator=torch.Generator().manual_seed(0))
    frames, keys = torch.tensor([400, 50, 4]), torch.tensor([1, 2, 3])
    drawn = sample_rows(exact.to(dtype), frames, keys, per_utterance=4)
    for i, count in enumerate(frames.tolist()):
        mean = exact[i, :count].double().mean(dim=0)
        error = (drawn.utterance_rows[i].double() - mean).square().mean()
        # Means of so few frames still show the float32 rounding of the row itself.
        own = (mean * 2.0**-24).square().mean() / 3.0
        assert float(drawn.utterance_rounding[i]) == pytest.approx(2000 * float(error - own), rel=0.1)
    frame = exact[0][sample_frames(frames, keys, 4)[0]]
    error = (drawn.frame_rows[:4].double() - frame.double()).square().sum(dim=1)
    torch.testing.assert_close(drawn.frame_rounding[:4].double(), error, rtol=0.2, atol=0.0)
    assert sample_rows(exact, frames, keys, per_utterance=4).utterance_rounding.tolist() == [0.0, 0.0, 0.0]


def test_activations_that_were_widened_are_still_known_as_rounded():
    hidden = torch.randn(4, 50, 16, generator=torch.Generator().manual_seed(0)).bfloat16()
    frames, keys = torch.tensor([50, 40, 30, 20]), torch.arange(4)
    narrow, wide = (sample_rows(x, frames, keys, per_utterance=5) for x in (hidden, hidden.float()))
    assert torch.equal(narrow.frame_rounding, wide.frame_rounding)
    assert torch.equal(narrow.utterance_rounding, wide.utterance_rounding)
    assert (narrow.frame_rounding > 0).all()


@pytest.mark.parametrize("shape", [(3, 100), (2, 50, 8), (2, 3, 4, 5), (4, 0), (0, 7)])
def test_the_key_is_the_same_however_much_of_it_is_summed_at_once(monkeypatch, shape):
    x = torch.randn(shape)
    whole = fingerprint(x)
    for at_once in (1, 7, 64):
        monkeypatch.setattr("rankwatch.extraction.inputs.utterance_keys._AT_ONCE", at_once)
        assert torch.equal(fingerprint(x), whole)
