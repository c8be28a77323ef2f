"""Rows on disk while an analysis goes on, so that utterances that are done needn't be run again."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from rankwatch.analysis.rows.utterance_rows import SpanRows, UtteranceRows
from rankwatch.corpora import Utterance
from rankwatch.runtime.files.file_actions import write

TOGETHER = 16
"""Utterances in one file."""


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
    """

    def __init__(self, folder: Path | None, model: str, settings: Mapping[str, Any]) -> None:
        digest = hashlib.blake2b(json.dumps(settings, sort_keys=True).encode(), digest_size=6).hexdigest()
        slug = re.sub(r"[^A-Za-z0-9_-]+", "-", model).strip("-")[:40] or "model"
        self._folder = folder / f"{slug}-{digest}" if folder is not None else None
        self._waiting: list[tuple[str, UtteranceRows]] = []
        self._count = 0

    def load(self) -> dict[str, UtteranceRows]:
        """What is there already, by `fingerprint_of_audio`; a file that is damaged counts as not there."""
        found: dict[str, UtteranceRows] = {}
        files = sorted(self._folder.glob("rows-*.pt")) if self._folder is not None and self._folder.is_dir() else []
        for file in files:
            self._count = max(self._count, int(file.stem.rpartition("-")[2]) + 1)
            try:
                for one in torch.load(file, weights_only=True):
                    audio = one.pop("audio")
                    found[audio] = _unpacked(one)
            except Exception:
                continue
        return found

    def add(self, audio: str, rows: UtteranceRows) -> None:
        """Rows of one utterance, whose `fingerprint_of_audio` it is; they are written some utterances at a time."""
        if self._folder is not None:
            self._waiting.append((audio, rows))
            if len(self._waiting) >= TOGETHER:
                self.flush()

    def flush(self) -> None:
        """Write what waits to be written."""
        if self._folder is None or not self._waiting:
            return
        content = [{"audio": audio, **dataclasses.asdict(rows)} for audio, rows in self._waiting]
        write(self._folder / f"rows-{self._count:05d}.pt", lambda file: torch.save(content, file))
        self._count += 1
        self._waiting = []


def _unpacked(content: dict[str, Any]) -> UtteranceRows:
    spans = {tier: SpanRows(**one) for tier, one in content.pop("spans").items()}
    return UtteranceRows(**content, spans=spans)
