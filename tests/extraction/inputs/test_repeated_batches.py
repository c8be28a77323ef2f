"""Whether training is given one batch again and again, from the samples alone."""

import torch

from rankwatch.extraction.inputs.repeated_batches import RepeatedBatches


def seen(before, after):
    """Said at the reading after the one that lies between the two batches."""
    repeats = RepeatedBatches()
    repeats.see(before, before_reading=True)
    repeats.take()
    repeats.see(after, before_reading=False)
    return repeats.take()


def batch(seed, size=6):
    generator = torch.Generator().manual_seed(seed)
    return {"waveforms": torch.randn(size, 400, generator=generator), "lengths": torch.full((size,), 400)}


def test_the_same_samples_in_other_tensors_are_one_batch():
    assert seen(batch(0), batch(0))
    assert not seen(batch(0), batch(1))


def test_one_sample_of_one_of_the_first_utterances_tells_batches_apart():
    other = batch(0)
    other["waveforms"][3, 7] += 1e-3
    assert not seen(batch(0), other)


def test_batches_of_other_sizes_are_other_batches():
    assert not seen(batch(0, 3), batch(0, 2))


def test_only_the_batches_next_to_a_reading_are_looked_at():
    """Of three batches between readings the last one and, after the reading, the first one."""
    repeats, found = RepeatedBatches(), []
    for numbers in ([0, 1, 2], [3, 4, 5], [5, 4, 6], [7, 6, 6], [6, 8, 9]):
        for number, last in zip(numbers, (False, False, True), strict=True):
            repeats.see(batch(number), before_reading=last)
        found.append(repeats.take())
    assert found == [False, False, True, False, True]


def test_of_a_step_of_several_batches_the_first_one_counts():
    repeats = RepeatedBatches()
    for step in ([0, 1], [0, 1], [0, 1]):
        for number in step:
            repeats.see(batch(number), before_reading=True)
        found = repeats.take()
    assert found


def test_where_a_batch_holds_no_audio_nothing_is_said_and_nothing_raised():
    for one in ([1, 2, 3], object(), {"index": torch.arange(4)}):
        assert not seen(one, one)


def test_bfloat16_integers_and_lists_of_waveforms_are_read():
    for one in (batch(0)["waveforms"].bfloat16(), (batch(0)["waveforms"] * 100).short(), list(batch(0)["waveforms"])):
        assert seen(one, one)
