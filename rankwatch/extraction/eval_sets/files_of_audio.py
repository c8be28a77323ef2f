"""Evaluation sets whose utterances are files of audio: some are chosen, each process reads its share."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from torch import Tensor

from rankwatch.extraction.eval_sets.eval_set import EvalForward, EvalSet, audio_eval_set
from rankwatch.extraction.inputs.audio_files import padded_batches, read_files
from rankwatch.extraction.inputs.utterance_keys import fingerprint
from rankwatch.runtime.distributed import World, quota

BATCH_SIZE = 16
"""Utterances in one forward pass of an evaluation set that is read from files."""


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


def eval_set_of_files(
    source: OfFiles, name: str, files: Sequence[Path], *, count: int, seed: int, world: World, first: int = 0
) -> tuple[EvalSet, dict[int, Tensor]]:
    """This process's share of some of the files.

    Args:
        source: Says how files are read, and what runs them.
        name: What the user calls the set.
        files: All among which is chosen, the same on all processes.
        count: Utterances over all processes.
        seed: Seed of the choice.
        world: This process among the others.
        first: Utterances over all processes that a brief reading takes, whose batches come first; 0 for none.

    Returns:
        The set, with utterances of like length in one batch, and its waveforms by their place among the files.
    """
    utterances = read_files(
        files,
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
    eval_set.origins = {int(fingerprint(audio[None])): str(files[i]) for i, audio in utterances.items()}
    eval_set.forward, eval_set.max_seconds = source.forward, source.max_seconds
    eval_set.choice = f"{min(count, len(files))} of {len(files)} audio files"
    return eval_set, utterances
