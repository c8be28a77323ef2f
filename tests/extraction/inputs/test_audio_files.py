"""Folders of audio."""

import numpy as np
import pytest
import torch

from rankwatch import AudioFolder
from rankwatch.extraction.inputs.audio_files import audio_files, padded_batches, read_audio, read_files
from rankwatch.runtime.distributed import World

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
        audio_files(tmp_path / "nowhere")
    with pytest.raises(ValueError, match="no audio in"):
        audio_files(tmp_path)


def test_a_broken_file_is_named_and_skipped(tmp_path):
    _tone(tmp_path / "good.wav", 16_000, 0.5)
    (tmp_path / "broken.wav").write_bytes(b"this is no audio")
    with pytest.warns(UserWarning, match=r"broken\.wav"):
        utterances = read_files(audio_files(tmp_path), count=10)
    assert [len(u) for u in utterances.values()] == [8000]
    (tmp_path / "good.wav").unlink()
    with pytest.raises(ValueError, match="not one audio file"), pytest.warns(UserWarning, match=r"broken\.wav"):
        read_files(audio_files(tmp_path), count=10)


def test_processes_share_the_same_choice(tmp_path):
    for i in range(12):
        _tone(tmp_path / f"{i:02d}.wav", 16_000, 0.1 + 0.01 * i)
    whole = {len(u) for u in read_files(audio_files(tmp_path), count=7).values()}
    parts = [
        {len(u) for u in read_files(audio_files(tmp_path), count=7, rank=r, world_size=2).values()} for r in range(2)
    ]
    assert len(whole) == 7
    assert parts[0] | parts[1] == whole
    assert not parts[0] & parts[1]


def test_batches_are_of_like_length_and_zero_padded():
    utterances = [torch.ones(n) for n in (3, 5000, 0, 4000, 10, 5001)]
    batches = padded_batches(utterances, 2)
    assert [lengths.tolist() for _, lengths in batches] == [[0, 3], [10, 4000], [5000, 5001]]
    assert batches[0][0].shape[1] >= 400  # a front end's receptive field
    for waveforms, lengths in batches:
        assert torch.equal(waveforms.sum(dim=1).long(), lengths)


def test_the_table_says_how_many_files_there_are_and_how_many_are_read(tmp_path):
    for i in range(3):
        _tone(tmp_path / "disk" / f"{i}.wav", 16_000, 0.5, 200.0 + i)
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "speaker").symlink_to(tmp_path / "disk")
    (tmp_path / "set" / "transcript.txt").touch()
    made = AudioFolder(tmp_path / "set").load("outside", count=2, seed=0, world=World())
    assert made.utterances == 2
    assert made.describe().endswith(f"; 2 of 3 audio files in {tmp_path / 'set'}, 1 others passed over (1 .txt)")
    (tmp_path / "none").mkdir()
    (tmp_path / "none" / "0.sph").touch()
    with pytest.raises(ValueError, match=r"no audio in .*\.aif; 1 others passed over \(1 \.sph\)\)"):
        audio_files(tmp_path / "none")
