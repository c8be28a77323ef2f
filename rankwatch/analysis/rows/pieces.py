"""Which utterances of a corpus are used, and which part of long ones."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from rankwatch.corpora import Corpus, Span, Utterance

_SHORTEST = 0.1
"""Seconds below which a piece at the end of a recording isn't used."""


@dataclass(frozen=True)
class Piece:
    """An utterance, or a piece of a long one.

    Attributes:
        utterance: It, with times of its own: spans begin at the piece's start.
        recording: The id of the utterance that it comes from.
    """

    utterance: Utterance
    recording: str


def choose_pieces(corpus: Corpus, count: int, max_seconds: float, seed: int = 0) -> list[Piece]:
    """Choose utterances at random, and of long ones pieces.

    First one piece of each utterance, in an order that its id and the seed alone decide; then, where there are fewer
    utterances than wanted, further pieces of long ones. A larger choice holds every smaller one.

    Args:
        corpus: All utterances, with their lengths where they are known.
        count: How many are wanted.
        max_seconds: Length of a piece; an utterance of unknown length is taken to be no longer.
        seed: Seed of the choice.

    Returns:
        At most so many pieces.
    """
    order = sorted(corpus.utterances, key=lambda one: draw_number(one.id, seed))
    pieces: list[Piece] = []
    further = {one.id: _places(one, max_seconds, seed) for one in order}
    turn = 0
    while len(pieces) < count and any(len(places) > turn for places in further.values()):
        for one in order:
            if len(further[one.id]) > turn and len(pieces) < count:
                pieces.append(_piece(one, further[one.id][turn], max_seconds))
        turn += 1
    return pieces


def draw_number(name: str, seed: int) -> int:
    """A number that a name and a seed decide, the same on every machine."""
    return int.from_bytes(hashlib.blake2b(f"{seed}:{name}".encode(), digest_size=8).digest(), "big")


def generator_of(name: str, seed: int) -> np.random.Generator:
    """Random numbers that a name and a seed decide."""
    return np.random.default_rng(draw_number(name, seed))


def _places(utterance: Utterance, max_seconds: float, seed: int) -> list[float]:
    """Where pieces begin, in a random order; the only one of a short utterance at its start."""
    seconds = utterance.seconds
    if seconds is None or seconds <= max_seconds:
        return [0.0]
    count = max(1, math.floor((seconds - _SHORTEST) / max_seconds) + 1)
    starts = [k * max_seconds for k in range(count) if seconds - k * max_seconds >= _SHORTEST]
    return [starts[k] for k in generator_of(f"{utterance.id} pieces", seed).permutation(len(starts)).tolist()]


def _piece(utterance: Utterance, start: float, max_seconds: float) -> Piece:
    if utterance.seconds is None or utterance.seconds <= max_seconds:
        return Piece(utterance, utterance.id)
    end = min(start + max_seconds, utterance.seconds)
    begin = utterance.start or 0.0
    cut = replace(
        utterance,
        id=f"{utterance.id}[{start:g}-{end:g}]",
        start=begin + start,
        end=begin + end,
        seconds=end - start,
        text=None,
        spans=_shifted(utterance.spans, start, end),
    )
    return Piece(cut, utterance.id)


def _shifted(spans: Mapping[str, tuple[Span, ...]], start: float, end: float) -> dict[str, tuple[Span, ...]]:
    """Spans that lie within the piece, on its own clock; those that its ends cut are left out."""
    return {
        tier: tuple(Span(s.start - start, s.end - start, s.label) for s in all_ if start <= s.start and s.end <= end)
        for tier, all_ in spans.items()
    }
