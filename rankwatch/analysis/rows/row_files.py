"""Rows on disk while an analysis goes on, so that utterances that are done needn't be run again."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from rankwatch.analysis.rows.sequences.sequence_tables import SequenceRows
from rankwatch.analysis.rows.utterance_rows import SpanRows, UtteranceRows
from rankwatch.corpora import Utterance
from rankwatch.runtime.files.file_actions import write

TOGETHER = 16
"""Utterances in one file."""

FORMAT = 3
"""Of what is in the files, and how it was drawn; those of another one are left alone."""


def fingerprint_of(root: nn.Module) -> str:
    """A checksum of a model's weights: another checkpoint's rows are other rows."""
    digest = hashlib.blake2b(digest_size=8)
    for name, value in root.state_dict().items():
        if isinstance(value, torch.Tensor) and value.numel():
            number = float(value.detach().double().abs().sum())
            digest.update(f"{name} {tuple(value.shape)} {number!r}".encode())
    return digest.hexdigest()


def fingerprint_of_audio(utterance: Utterance) -> str:
    """What an utterance's rows are made of: which audio, and which spans in it.

    Args:
        utterance: It.

    Returns:
        A checksum; the file's length and the time of its last change stand for its samples.
    """
    try:
        found = utterance.audio.stat()
        file = [found.st_size, found.st_mtime_ns]
    except OSError:  # reading it will say why
        file = []
    spans = [(tier, [(s.start, s.end, s.label) for s in all_]) for tier, all_ in sorted(utterance.spans.items())]
    parts = (utterance.id, str(utterance.audio.absolute()), *file, utterance.start, utterance.end, spans)
    return hashlib.blake2b(repr(parts).encode(), digest_size=8).hexdigest()


class RowFiles:
    """A folder with the rows of some utterances of one model under one set of settings.

    Args:
        folder: Where analyses keep their rows, or None to keep nothing.
        model: The model's name.
        settings: Everything that rows hang on; other settings have another folder.
        warn: Is told which files are damaged.
    """

    def __init__(
        self, folder: Path | None, model: str, settings: Mapping[str, Any], warn: Callable[[str], None]
    ) -> None:
        hung_on = {**settings, "format": FORMAT}
        digest = hashlib.blake2b(json.dumps(hung_on, sort_keys=True).encode(), digest_size=6).hexdigest()
        slug = re.sub(r"[^A-Za-z0-9_-]+", "-", model).strip("-")[:40] or "model"
        self._folder = folder / f"{slug}-{digest}" if folder is not None else None
        self._warn = warn
        self._waiting: list[tuple[str, UtteranceRows]] = []
        self._count = 0
        self._where: dict[str, Path] = {}
        self._last: tuple[Path | None, dict[str, UtteranceRows]] = (None, {})
        self._look_through()

    def _look_through(self) -> None:
        """Find out which utterances are there; the rows of one file are in memory at a time."""
        files = sorted(self._folder.glob("rows-[0-9]*.pt")) if self._folder is not None else []
        for file in files:
            self._count = max(self._count, int(re.sub(r"\D", "", file.stem)) + 1)
            self._where |= dict.fromkeys(self._read(file), file)

    def get(self, audio: str) -> UtteranceRows | None:
        """The rows of the utterance with this `fingerprint_of_audio`; None where there are none.

        Args:
            audio: The fingerprint. Files are read once where utterances are asked for in the order of `add`.

        Returns:
            The rows. An OSError names their file where it can't be read.
        """
        file = self._where.get(audio)
        if file is None:
            return None
        if self._last[0] != file:
            self._last = (file, self._read(file))
        return self._last[1].get(audio)

    def _read(self, file: Path) -> dict[str, UtteranceRows]:
        """What a file holds; nothing where it is damaged, which is said."""
        try:
            content = file.read_bytes()
        except OSError as error:
            raise OSError(
                f"{file} holds rows of an earlier analysis and can't be read ({error.strerror or error}); make it "
                "readable, delete it, or choose another folder for the results"
            ) from error
        try:
            stored = torch.load(io.BytesIO(content), weights_only=True)
        except Exception as error:  # of many kinds, but of the content alone: the disk has been read
            if _out_of_memory(error):
                raise MemoryError(
                    f"{file}, which holds the rows of at most {TOGETHER} utterances ({len(content) / 1e6:.0f} MB), "
                    f"can't be read into memory ({str(error) or type(error).__name__}). Make memory free, or allow the "
                    "job more, and start the same analysis again, which goes on where it was; or ask for fewer layers "
                    "or rows"
                ) from error
            reason = f"{type(error).__name__}: {str(error).partition(chr(10))[0]}".rstrip(": ")
            self._warn(f"{file} is damaged or half-written, and its utterances are run again ({reason})")
            return {}
        try:
            return {one.pop("audio"): _unpacked(one) for one in stored}
        except (AttributeError, KeyError, TypeError) as error:
            raise ValueError(
                f"{file} holds something else than rows of utterances ({type(error).__name__}: {error}); move it away, "
                "or choose another folder for the results"
            ) from error

    def add(self, audio: str, rows: UtteranceRows) -> None:
        """Rows of one utterance, whose `fingerprint_of_audio` it is; they are written some utterances at a time."""
        if self._folder is not None:
            self._waiting.append((audio, rows))
            if len(self._waiting) >= TOGETHER:
                self.flush()

    def flush(self) -> None:
        """Write what waits to be written.

        Raises:
            OSError: If it can't be written, with the file's name.
        """
        if self._folder is None or not self._waiting:
            return
        content = [{"audio": audio, **dataclasses.asdict(rows)} for audio, rows in self._waiting]
        file = self._folder / f"rows-{self._count:05d}.pt"
        try:
            write(file, lambda there: torch.save(content, there))
        except (OSError, RuntimeError) as error:  # the latter of torch's writer, where the disk is full
            raise OSError(f"rows could not be written to {file} ({error}); is there place on the disk?") from error
        self._where |= {audio: file for audio, _ in self._waiting}
        self._count += 1
        self._waiting = []


def _out_of_memory(error: Exception) -> bool:
    return isinstance(error, MemoryError) or "can't allocate memory" in str(error)


def _unpacked(content: dict[str, Any]) -> UtteranceRows:
    spans = {tier: SpanRows(**one) for tier, one in content.pop("spans").items()}
    sequences = {tier: SequenceRows(**one) for tier, one in content.pop("sequences", {}).items()}
    return UtteranceRows(**content, spans=spans, sequences=sequences)
