"""Folders of audio."""

import numpy as np
import pytest
import torch

from rankwatch.extraction.inputs.audio_files import find_audio, padded_batches, read_audio

soundfile = pytest.importorskip("soundfile")


def _tone(path, rate, seconds, frequency=440.0, channels=1):
    path.parent.mkdir(exist_ok=True)
    t = np.arange(int(rate * seconds)) / rate
    wave = 0.5 * np.sin(2 * np.pi * frequency * t)
    soundfile.write(path, np.stack([wave] * channels, axis=1), rate)


@pytest.mark.parametrize(("rate", "channels", "suffix"), [(8000, 1, "wav"), (44100, 2, "flac"), (16000, 1, "ogg")])
def test_any_rate_becomes_the_wanted_one(tmp_path, rate, channels, suffix):
    _tone(tmp_path / f"a.{suffix}", rate, 1.0, channels=channels)
    wave = read_audio(tmp_path / f"a.{suffix}", 16_000, 15.0)
    assert abs(len(wave) - 16_000) <= 1
    spectrum = torch.fft.rfft(wave[:16_000], n=16_000).abs()
    assert spectrum.argmax().item() == 440
    assert wave[2000:14000].abs().max().item() == pytest.approx(0.5, abs=0.02)


def test_long_files_are_cut(tmp_path):
    _tone(tmp_path / "a.wav", 16_000, 3.0)
    assert len(read_audio(tmp_path / "a.wav", 16_000, 1.5)) == 24_000


def test_missing_and_empty_folders_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere"):
        find_audio(tmp_path / "nowhere")
    with pytest.raises(ValueError, match="no audio in"):
        find_audio(tmp_path)


def test_batches_are_of_like_length_and_zero_padded():
    utterances = [torch.ones(n) for n in (3, 5000, 0, 4000, 10, 5001)]
    batches = padded_batches(utterances, 2)
    assert [lengths.tolist() for _, lengths in batches] == [[0, 3], [10, 4000], [5000, 5001]]
    assert batches[0][0].shape[1] >= 400  # a front end's receptive field
    for waveforms, lengths in batches:
        assert torch.equal(waveforms.sum(dim=1).long(), lengths)
