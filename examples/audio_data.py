"""Batches of ragged audio from any folder, or from speech that is synthesised on first use."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import lightning.pytorch as pl
import numpy as np
import soundfile
import torch
from speech_synthesis import synthetic_speech
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torchaudio.functional import resample

SAMPLE_RATE = 16_000
SUFFIXES = {".wav", ".flac", ".ogg"}
logger = logging.getLogger("rankwatch.examples")


class AudioBatch(NamedTuple):
    """Utterances padded with zeros at the end.

    Attributes:
        waveforms: (B, N) float32 at 16 kHz.
        lengths: (B,) int64, valid samples of each.
    """

    waveforms: Tensor
    lengths: Tensor


def find_audio(folder: Path, min_seconds: float) -> tuple[list[Path], float]:
    """Readable audio files below `folder`, sorted by path, and their seconds together.

    Files whose header can't be read are named in a warning and left out; shorter ones than `min_seconds` are
    counted and left out.

    Returns:
        The files, and the seconds of all of them together.

    Raises:
        FileNotFoundError: If the folder doesn't exist.
        ValueError: If nothing usable is in it.
    """
    if not folder.is_dir():
        raise FileNotFoundError(f"--data.folder {folder} is not a folder")
    files, seconds, short, found = [], 0.0, 0, Counter[str]()
    for path in sorted(p for p in folder.rglob("*") if p.suffix.lower() in SUFFIXES):
        found[path.suffix.lower()] += 1
        try:
            duration = soundfile.info(path).duration
        except (soundfile.LibsndfileError, OSError) as error:
            logger.warning("skipped broken audio file %s (%s)", path, error)
            continue
        if duration < min_seconds:
            short += 1
            continue
        files.append(path)
        seconds += duration
    if short:
        logger.warning("left out %d files shorter than %.0f ms in %s", short, 1000 * min_seconds, folder)
    if not files:
        raise ValueError(
            f"no usable audio in {folder}: found {dict(found) or 'no .wav, .flac or .ogg file'}, "
            f"{short} of them shorter than {1000 * min_seconds:.0f} ms"
        )
    return files, seconds


def read_audio(path: Path) -> Tensor:
    """Waveform (n,) float32 at 16 kHz, channels averaged; a broken file raises ``soundfile.LibsndfileError``."""
    samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
    waveform = torch.from_numpy(np.ascontiguousarray(samples.mean(axis=1)))
    return waveform if rate == SAMPLE_RATE else resample(waveform, rate, SAMPLE_RATE)


def standardise(waveform: Tensor) -> Tensor:
    """Zero mean and unit variance.

    Returns:
        The waveform (n,), scaled.

    Raises:
        ValueError: If there are no samples, or some are not finite.
    """
    if waveform.numel() == 0 or not torch.isfinite(waveform).all():
        raise ValueError("no samples, or NaN or Inf among them")
    return (waveform - waveform.mean()) / (waveform.std(correction=0) + 1e-5)


class AudioFolder(Dataset[Tensor]):
    """Waveforms of a list of files, standardised; small corpora stay in memory.

    Args:
        files: Readable audio files.
        max_seconds: Longer utterances are cut to a random crop of this length at each visit.
        cache: Whether a waveform that was read once is kept.

    A file that turns out broken when it is decoded is named in a warning, and the next one takes its place.
    """

    def __init__(self, files: Sequence[Path], max_seconds: float, cache: bool) -> None:
        self.files = list(files)
        self.max_samples = int(max_seconds * SAMPLE_RATE)
        self._cache: dict[int, Tensor] | None = {} if cache else None
        self._broken: set[int] = set()

    def __len__(self) -> int:
        return len(self.files)

    def waveform(self, index: int) -> Tensor:
        """Whole utterance (n,), zero mean and unit variance as wav2vec 2.0 wants it.

        Returns:
            Of this utterance, or of the next one that can be decoded.

        Raises:
            RuntimeError: If not one file can be decoded.
        """
        for candidate in (*range(index, len(self)), *range(index)):
            if self._cache is not None and candidate in self._cache:
                return self._cache[candidate]
            if candidate in self._broken:
                continue
            try:
                waveform = standardise(read_audio(self.files[candidate]))
            except (soundfile.LibsndfileError, ValueError) as error:
                logger.warning("skipped broken audio file %s (%s)", self.files[candidate], error)
                self._broken.add(candidate)
                continue
            if self._cache is not None:
                self._cache[candidate] = waveform
            return waveform
        raise RuntimeError(f"none of {len(self)} audio files can be decoded, {self.files[0]} first")

    def __getitem__(self, index: int) -> Tensor:
        waveform = self.waveform(index)
        spare = len(waveform) - self.max_samples
        if spare <= 0:
            return waveform
        # The global generator, like any recipe's: seed_everything makes it reproducible, workers included.
        start = int(torch.randint(spare + 1, ()))
        return waveform[start : start + self.max_samples]


def collate(waveforms: Sequence[Tensor]) -> AudioBatch:
    """Pad with zeros to the longest."""
    lengths = torch.tensor([len(waveform) for waveform in waveforms])
    return AudioBatch(torch.nn.utils.rnn.pad_sequence(list(waveforms), batch_first=True), lengths)


class AudioDataModule(pl.LightningDataModule):
    """A folder of audio as ragged training batches.

    Args:
        folder: Any folder of wav, flac or ogg at any rate, searched recursively. None: synthesise speech
            with espeak-ng (600 utterances, 14 minutes) and keep it in the user's cache.
        batch_size: Utterances per batch and process.
        max_seconds: Longer utterances are cropped at random.
        min_seconds: Shorter files are left out; at 0.1 s a 20 ms encoder sees 4 frames.
        num_workers: Processes that read ahead. 0 is fastest for what fits in memory.
        cache_hours: Corpora up to this length are kept in memory (230 MB per hour).
    """

    def __init__(
        self,
        folder: Path | None = None,
        batch_size: int = 32,
        max_seconds: float = 2.0,
        min_seconds: float = 0.1,
        num_workers: int = 0,
        cache_hours: float = 2.0,
    ) -> None:
        super().__init__()
        if batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, got {batch_size}")
        if not 0 < min_seconds <= max_seconds:
            raise ValueError(f"need 0 < min_seconds <= max_seconds, got {min_seconds} and {max_seconds}")
        self.folder = folder
        self.batch_size = batch_size
        self.max_seconds = max_seconds
        self.min_seconds = min_seconds
        self.num_workers = num_workers
        self.cache_hours = cache_hours
        self.train_set: AudioFolder | None = None

    def prepare_data(self) -> None:
        """Synthesise once per machine, before the processes go on together."""
        if self.folder is None:
            synthetic_speech()

    def setup(self, stage: str) -> None:
        """Look at every header once."""
        if self.train_set is not None:
            return
        folder = synthetic_speech() if self.folder is None else self.folder
        files, seconds = find_audio(folder, self.min_seconds)
        logger.info("%d utterances, %.1f minutes from %s", len(files), seconds / 60, folder)
        cache = seconds <= 3600 * self.cache_hours
        self.train_set = AudioFolder(files, self.max_seconds, cache)

    def train_dataloader(self) -> DataLoader[Tensor]:
        """Shuffled batches; the last, smaller one is left out where there is another."""
        if self.train_set is None:
            raise RuntimeError("call setup first")
        return DataLoader(
            self.train_set,
            batch_size=self.batch_size,
            shuffle=True,
            num_workers=self.num_workers,
            collate_fn=collate,
            drop_last=len(self.train_set) >= self.batch_size,
            persistent_workers=self.num_workers > 0,
        )
