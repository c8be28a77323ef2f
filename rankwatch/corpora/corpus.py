"""A corpus as plain data: utterances with their audio, speaker, text, labels and spans, and what was left out of it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, Protocol

from torch import Tensor

from rankwatch.extraction.inputs.audio_files import read_audio

_SHOWN = 3
"""Things of one reason that are named in one line."""


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of an utterance with a label: a phone, a word, a named entity.

    Attributes:
        start: Where it begins, in seconds from the utterance's start.
        end: Where it ends, likewise.
        label: What it is.
    """

    start: float
    end: float
    label: str


class AudioContent(Protocol):
    """Audio that lies within another file, as in a data set of Hugging Face's."""

    def open(self) -> BinaryIO:
        """Open it, to be read as a file of audio is."""
        ...


@dataclass(frozen=True, slots=True)
class Utterance:
    """One utterance: a file of audio, or a segment of a longer one.

    Attributes:
        id: Its name, which no other utterance of the corpus has.
        audio: The file.
        start: Where in the file it begins, in seconds, or None for the file's start.
        end: Where in the file it ends, in seconds, or None for the file's end.
        speaker: Who speaks, or None where that isn't known.
        text: What is said, or None.
        labels: Whatever else is known of it, by name: one label (emotion, language, sex), or several at once (dialog
            acts) as a frozenset.
        spans: By tier ("phone", "word", "syllable", "named_entity", ...) its spans, ordered by their start.
        seconds: Its length, where the audio's header was read or a manifest says it, or None.
        content: What opens the audio where it lies within another file, whose path `audio` then is; or None.
    """

    id: str
    audio: Path
    start: float | None = None
    end: float | None = None
    speaker: str | None = None
    text: str | None = None
    labels: Mapping[str, str | frozenset[str]] = field(default_factory=dict, hash=False)
    spans: Mapping[str, tuple[Span, ...]] = field(default_factory=dict, hash=False)
    seconds: float | None = None
    content: AudioContent | None = field(default=None, compare=False)


@dataclass(frozen=True)
class Corpus:
    """Utterances, and what was found but left out.

    Attributes:
        name: What it is called in tables.
        utterances: All of them, in the order of the manifest or of the files' names.
        left_out: What was left out, and why: files, rows, spans. The rest isn't affected by it.
        passed_over: How many files of a folder are no audio, in words; empty where there are none.
    """

    name: str
    utterances: tuple[Utterance, ...]
    left_out: Mapping[str, str] = field(default_factory=dict, hash=False)
    passed_over: str = ""

    def read(self, utterance: Utterance, sample_rate: int, max_seconds: float | None = None) -> Tensor:
        """Decode one utterance: mono, resampled, and of a longer recording only its own segment.

        Only the samples that are asked for are decoded, so that a segment of a long recording costs no more memory
        than a short file.

        Args:
            utterance: One of `utterances`.
            sample_rate: Samples per second that are wanted.
            max_seconds: Where longer utterances are cut, or None.

        Returns:
            (T,) float32 in [-1, 1], on the CPU.

        Raises:
            ImportError: If soundfile isn't installed.
            ValueError: If the audio can't be decoded; names the utterance and its file.
        """
        start = utterance.start or 0.0
        limits = [max_seconds] if max_seconds is not None else []
        limits += [utterance.end - start] if utterance.end is not None else []
        try:
            source = utterance.audio if utterance.content is None else utterance.content.open()
            return read_audio(source, sample_rate, min(limits, default=None), start)
        except ImportError:
            raise
        except Exception as error:
            raise ValueError(f"{utterance.id}: {utterance.audio} could not be read ({error})") from error

    def left_out_in_words(self) -> list[str]:
        """One line for each reason for which something was left out, the commonest first, with examples."""
        return counted_in_words(self.left_out)

    def tiers(self) -> dict[str, int]:
        """How many spans each tier has over all utterances, in the tiers' alphabetical order."""
        found: dict[str, int] = defaultdict(int)
        for utterance in self.utterances:
            for tier, spans in utterance.spans.items():
                found[tier] += len(spans)
        return dict(sorted(found.items()))

    def __repr__(self) -> str:
        return f"Corpus({self.name!r}, {len(self.utterances)} utterances, {len(self.left_out)} left out)"


def counted_in_words(reasons: Mapping[str, str]) -> list[str]:
    """Say for what reasons things were left out.

    Args:
        reasons: Why, by what was left out.

    Returns:
        One line for each reason, the commonest first, with how many there are and the first three of them.

    Example:
        >>> counted_in_words({"a.wav": "too short", "b.wav": "too short"})
        ['too short: 2 (a.wav, b.wav)']
    """
    found: dict[str, list[str]] = defaultdict(list)
    for what, why in reasons.items():
        found[why].append(what)
    lines = []
    for why, names in sorted(found.items(), key=lambda item: -len(item[1])):
        rest = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
        lines.append(f"{why}: {len(names)} ({', '.join(names[:_SHOWN])}{rest})")
    return lines
