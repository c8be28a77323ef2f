"""Whether training is given one batch again and again, from the samples alone."""

import pytest
import torch

from rankwatch.extraction.inputs.repeated_batches import RepeatedBatches


def seen(batches):
    repeats = RepeatedBatches()
    for batch in batches:
        repeats.see(batch)
    return repeats.take()


def batch(seed, size=6):
    generator = torch.Generator().manual_seed(seed)
    return {"waveforms": torch.randn(size, 400, generator=generator), "lengths": torch.full((size,), 400)}


def test_the_same_samples_in_other_tensors_are_one_batch():
    assert seen([batch(0) for _ in range(5)])


@pytest.mark.parametrize("seeds", [(0, 1, 2), (0, 0, 1), (0, 1, 0), (0, 0)])
def test_one_other_batch_or_too_few_say_nothing(seeds):
    assert not seen(batch(seed) for seed in seeds)


def test_one_sample_of_one_of_the_first_utterances_tells_batches_apart():
    other = batch(0)
    other["waveforms"][3, 7] += 1e-3
    assert not seen([batch(0), batch(0), other])


def test_batches_of_other_sizes_are_other_batches():
    assert not seen([batch(0, size) for size in (3, 2, 1)])


def test_each_reading_begins_anew_and_only_the_batches_after_it_count():
    repeats = RepeatedBatches()
    for reading in ([0, 0, 0, 1, 2], [3, 4, 5], [6, 6, 6]):
        for seed in reading:
            repeats.see(batch(seed))
        assert repeats.take() is (reading[0] == reading[1])


def test_where_a_batch_holds_no_audio_nothing_is_said_and_nothing_raised():
    assert not seen([[1, 2, 3]] * 4)
    assert not seen([object()] * 4)
    assert not seen([{"index": torch.arange(4)}] * 4)


def test_bfloat16_integers_and_lists_of_waveforms_are_read():
    for one in (batch(0)["waveforms"].bfloat16(), (batch(0)["waveforms"] * 100).short(), list(batch(0)["waveforms"])):
        assert seen([one] * 3)
