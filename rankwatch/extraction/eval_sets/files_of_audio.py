"""Evaluation sets whose utterances are those of a corpus: some are chosen, each process reads its share."""

from __future__ import annotations

import warnings
from dataclasses import replace
from pathlib import Path
from typing import Protocol

import numpy as np
from torch import Tensor

from rankwatch.corpora.alignments.attach import NO_ALIGNMENT
from rankwatch.corpora.corpus import Corpus, Utterance
from rankwatch.extraction.eval_sets.eval_set import EvalForward, EvalSet, audio_eval_set
from rankwatch.extraction.inputs.audio_files import padded_batches
from rankwatch.extraction.inputs.utterance_keys import fingerprint
from rankwatch.runtime.distributed import World, quota

BATCH_SIZE = 16
"""Utterances in one forward pass of an evaluation set that is read from files."""

_SHOWN = 5
"""Files that are named at most in a warning."""


class OfFiles(Protocol):
    """What a user names as an evaluation set, where its utterances are files of audio.

    Attributes:
        sample_rate: Samples per second that the model expects.
        max_seconds: Where longer files are cut.
        forward: What runs a batch through the model, or None.
    """

    sample_rate: int
    max_seconds: float
    forward: EvalForward | None


def eval_set_of_corpus(
    source: OfFiles, name: str, corpus: Corpus, path: Path, *, count: int, seed: int, world: World, first: int = 0
) -> tuple[EvalSet, dict[int, Tensor]]:
    """This process's share of some of the utterances.

    Args:
        source: Says how files are read, and what runs them.
        name: What the user calls the set.
        corpus: All among which is chosen, the same on all processes. What was left out of it is named in a warning.
        path: Where it was read from, for the table.
        count: Utterances over all processes.
        seed: Seed of the choice.
        world: This process among the others.
        first: Utterances over all processes that a brief reading takes, whose batches come first; 0 for none.

    Returns:
        The set, with utterances of like length in one batch, and its waveforms by their place in the corpus.
    """
    left_out = {what: why for what, why in corpus.left_out.items() if why != NO_ALIGNMENT}  # which a set may lack
    if left_out:
        reasons = "; ".join(replace(corpus, left_out=left_out).left_out_in_words())
        warnings.warn(f"evaluation set {name!r}: left out of {path}: {reasons}", stacklevel=3)
    utterances = read_chosen(
        corpus,
        count=count,
        sample_rate=source.sample_rate,
        max_seconds=source.max_seconds,
        seed=seed,
        rank=world.rank,
        world_size=world.size,
    )
    audio, head = list(utterances.values()), quota(first, world.rank, world.size)
    batches = [batch for part in (audio[:head], audio[head:]) for batch in padded_batches(part, BATCH_SIZE)]
    eval_set = audio_eval_set(name, batches)
    eval_set.origins = {int(fingerprint(audio[None])): _origin(corpus.utterances[i]) for i, audio in utterances.items()}
    eval_set.forward, eval_set.max_seconds = source.forward, source.max_seconds
    total, others = len(corpus.utterances), f", {corpus.passed_over}" if corpus.passed_over else ""
    eval_set.choice = f"{min(count, total)} of {total} audio files in {path}{others}"
    return eval_set, utterances


def read_chosen(
    corpus: Corpus,
    *,
    count: int,
    sample_rate: int = 16_000,
    max_seconds: float = 15.0,
    seed: int = 0,
    rank: int = 0,
    world_size: int = 1,
) -> dict[int, Tensor]:
    """This process's share of `count` of the utterances, chosen at random with a fixed seed.

    One that can't be read is named in a warning and skipped.

    Args:
        corpus: The utterances.
        count: How many are chosen over all processes.
        sample_rate: Samples per second that the model expects.
        max_seconds: Where longer ones are cut.
        seed: Seed of the choice.
        rank: This process's number.
        world_size: How many processes there are.

    Returns:
        (T_i,) float32 on the CPU, by their place in the corpus.

    Raises:
        ImportError: If soundfile isn't installed.
        ValueError: If no utterance could be read.
    """
    order = np.random.default_rng(seed).permutation(len(corpus.utterances))[:count]
    utterances: dict[int, Tensor] = {}
    broken = []
    for index in order[rank::world_size].tolist():
        try:
            utterances[index] = corpus.read(corpus.utterances[index], sample_rate, max_seconds)
        except ImportError:
            raise
        except Exception as error:
            broken.append(str(error))
    if broken:
        shown = "; ".join(broken[:_SHOWN]) + (f"; and {len(broken) - _SHOWN} more" if len(broken) > _SHOWN else "")
        warnings.warn(f"evaluation set: {len(broken)} files could not be read: {shown}", stacklevel=2)
        if not utterances and world_size == 1:
            raise ValueError(f"evaluation set: not one audio file could be read: {shown}")
    return utterances


def _origin(utterance: Utterance) -> str:
    """The file, and which part of it."""
    whole = utterance.start is None and utterance.end is None and utterance.content is None
    return str(utterance.audio) if whole else f"{utterance.audio} ({utterance.id})"
