"""Folders of audio become ragged batches; what is unusable is named."""

import logging

import numpy as np
import pytest
import soundfile
import torch
from audio_data import SAMPLE_RATE, AudioDataModule, AudioFolder, collate, find_audio, read_audio, standardise


def tone(path, seconds, rate=16_000, hertz=440.0, channels=1):
    path.parent.mkdir(parents=True, exist_ok=True)
    t = np.arange(int(seconds * rate)) / rate
    wave = 0.5 * np.sin(2 * np.pi * hertz * t)
    soundfile.write(path, np.stack([wave] * channels, axis=1), rate)
    return path


def test_collate_pads_with_zeros_and_counts_samples():
    batch = collate([torch.ones(3), torch.ones(5)])
    assert batch.lengths.tolist() == [3, 5]
    assert batch.waveforms.tolist() == [[1, 1, 1, 0, 0], [1, 1, 1, 1, 1]]


@pytest.mark.parametrize(("rate", "name"), [(8000, "a.wav"), (44_100, "a.flac"), (48_000, "a.ogg"), (16_000, "a.WAV")])
def test_any_rate_and_format_becomes_16_khz_with_the_same_pitch(tmp_path, rate, name):
    waveform = read_audio(tone(tmp_path / name, 1.0, rate, hertz=440.0, channels=2))
    assert waveform.dtype == torch.float32
    assert abs(len(waveform) - SAMPLE_RATE) <= 2
    middle = waveform[4000:12_000] * torch.hann_window(8000)
    peak = torch.fft.rfft(middle).abs().argmax() * SAMPLE_RATE / 8000
    assert abs(float(peak) - 440.0) <= 2.0


def test_find_audio_is_sorted_recursive_and_counts_what_it_leaves_out(tmp_path, caplog):
    tone(tmp_path / "b" / "long.flac", 0.5)
    tone(tmp_path / "a.wav", 0.25)
    tone(tmp_path / "short.wav", 0.02)
    (tmp_path / "broken.wav").write_bytes(b"RIFF, but nothing that follows")
    (tmp_path / "notes.txt").write_text("not audio")
    with caplog.at_level(logging.WARNING):
        files, seconds = find_audio(tmp_path, min_seconds=0.1)
    assert [f.name for f in files] == ["a.wav", "long.flac"]
    assert seconds == pytest.approx(0.75)
    assert "broken.wav" in caplog.text
    assert "1 files shorter than 100 ms" in caplog.text


def test_unusable_folders_are_errors_that_name_them(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere"):
        find_audio(tmp_path / "nowhere", 0.1)
    with pytest.raises(ValueError, match=r"no usable audio in .*no \.wav"):
        find_audio(tmp_path, 0.1)
    tone(tmp_path / "click.wav", 0.01)
    with pytest.raises(ValueError, match="1 of them shorter than 100 ms"):
        find_audio(tmp_path, 0.1)


def test_a_file_that_breaks_while_decoding_is_named_and_replaced(tmp_path, caplog):
    good = tone(tmp_path / "good.wav", 0.5)
    empty = tmp_path / "late.wav"
    soundfile.write(empty, np.full(800, np.nan, dtype=np.float32), 16_000, subtype="FLOAT")
    data = AudioFolder([empty, good], max_seconds=1.0, cache=True)
    with caplog.at_level(logging.WARNING):
        assert torch.equal(data[0], data[1])
        assert torch.equal(data[0], data[1])
    assert caplog.text.count("late.wav") == 1
    with pytest.raises(RuntimeError, match=r"late\.wav"):
        AudioFolder([empty], max_seconds=1.0, cache=False)[0]


def test_crops_are_random_reproducible_pieces_of_the_utterance(tmp_path):
    path = tmp_path / "noise.wav"
    soundfile.write(path, np.random.default_rng(0).uniform(-0.5, 0.5, 16_000), 16_000)
    data = AudioFolder([path], max_seconds=0.25, cache=True)
    torch.manual_seed(3)
    first, second = data[0], data[0]
    torch.manual_seed(3)
    assert torch.equal(data[0], first)
    assert len(first) == len(second) == 4000
    assert not torch.equal(first, second)
    whole = data.waveform(0)
    assert any(torch.equal(whole[i : i + 4000], first) for i in range(12_001))


def test_standardise_rejects_what_has_no_scale():
    wave = standardise(torch.tensor([1.0, 2.0, 3.0, 6.0]))
    assert float(wave.mean()) == pytest.approx(0.0, abs=1e-6)
    assert float(wave.std(correction=0)) == pytest.approx(1.0, abs=1e-4)
    # Silence with an offset stays silence: rounding is not blown up to unit variance.
    assert float(standardise(torch.full((8,), 0.3)).abs().max()) < 0.01
    for bad in (torch.zeros(0), torch.tensor([0.0, float("inf")])):
        with pytest.raises(ValueError, match="no samples"):
            standardise(bad)


def test_the_data_module_gives_ragged_batches_of_the_folder(tmp_path):
    for i in range(5):
        tone(tmp_path / f"{i}.wav", 0.2 + 0.1 * i)
    data = AudioDataModule(tmp_path, batch_size=2, max_seconds=0.45)
    data.prepare_data()
    data.setup("fit")
    batches = list(data.train_dataloader())
    assert len(batches) == 2
    for batch in batches:
        assert batch.waveforms.shape == (2, int(batch.lengths.max()))
        assert 3200 <= int(batch.lengths.min()) <= int(batch.lengths.max()) <= 7200


def test_a_folder_smaller_than_a_batch_still_gives_one(tmp_path):
    tone(tmp_path / "only.wav", 0.3)
    data = AudioDataModule(tmp_path, batch_size=8)
    data.setup("fit")
    assert [len(batch.lengths) for batch in data.train_dataloader()] == [1]


@pytest.mark.parametrize("bad", [{"batch_size": 0}, {"min_seconds": 0.0}, {"min_seconds": 3.0, "max_seconds": 2.0}])
def test_impossible_settings_are_errors(bad):
    with pytest.raises(ValueError, match=r"seconds|batch_size"):
        AudioDataModule(**bad)
