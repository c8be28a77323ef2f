"""The conditions of a measurement, under which readings may be compared."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from functools import cached_property

from rankwatch.runtime.plain_data import to_plain

Level = str
"""``"frame"`` or ``"utterance"``, or `CODEBOOK` for the codes that a quantizer uses."""

CODEBOOK = "codebook"

TRAIN = "train"
"""Name of the source that is the training forward pass itself, which is no evaluation set."""


@dataclass(frozen=True)
class Protocol:
    """Everything that a number's comparability depends on.

    Two readings may be compared when their protocols have the same `id`. The number of rows actually
    drawn stands in the reading (`Reading.n`): the estimate is corrected for it.

    Attributes:
        source: Name of the evaluation set, or ``"train"``.
        level: ``"frame"`` (valid frames, equally many from each utterance), ``"utterance"`` or ``"codebook"`` (codes
            of all frames that the quantizer received, padding included).
        utterances: Utterances of the evaluation set, over all processes; where training batches are read (the training
            pass, codebooks), those asked for.
        frames_per_utterance: Frames drawn from each utterance (1 pooled row at utterance level, 0 for all: codebooks).
        d: Width of the layer; codes in each group of a quantizer.
        k: Columns after the random projection, or None.
        centred: Whether the mean was removed before the spectrum was taken.
        power: ``"sigma"`` (RankMe's p = sigma / sum sigma) or ``"sigma^2"``; of a quantizer ``"codes"`` (how often each
            was used) or ``"perplexity"`` (its own).
        pooling: ``"none"`` at frame level, ``"mean"`` over valid frames at utterance level.
        input: ``"clean"`` (known to be unmasked), ``"replayed"`` (the training call in eval mode, with whatever
            masks it was given), ``"user"`` (by the set's own `forward`), ``"masked"`` (the training pass) or
            ``"unknown"``.
        frames: ``"all"``, or where a mask over time was seen in the call ``"unmasked"`` (frames without it) or
            ``"masked"``.
        mode: ``"eval"`` or ``"train"`` (with dropout and masking).
        precision: The trainer's precision, for example ``"bf16-mixed"``.
        seed: Seed of the drawing and of the projection.
        eval_set: Fingerprint of the evaluation set's content, empty for the training pass.
        version: Version of the arithmetic; raised whenever equal rows would read differently.
    """

    source: str
    level: Level
    utterances: int
    frames_per_utterance: int
    d: int
    k: int | None
    centred: bool = True
    power: str = "sigma"
    pooling: str = "none"
    input: str = "unknown"
    frames: str = "all"
    mode: str = "eval"
    precision: str = "32-true"
    seed: int = 0
    eval_set: str = ""
    version: int = 1

    @cached_property
    def id(self) -> str:
        """Eight hexadecimal digits that name this protocol."""
        text = json.dumps(to_plain(self), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:8]
