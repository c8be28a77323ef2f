"""The conditions of a measurement, under which readings may be compared."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, fields, replace
from functools import cached_property

from rankwatch.extraction.taps.operations import TAPS, UNKNOWN
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
        tap: Which operation has made the tensor that is read: ``"residual_sum"``, ``"norm"``, ``"before_sum"`` (a
            branch that is then added to the residual path), ``"activation"``, ``"linear"`` (a linear map, convolution
            or attention), ``"other"``; ``"unknown"`` where that could not be seen, for codebooks, and in records from
            before there was this field.
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
    tap: str = UNKNOWN

    @cached_property
    def id(self) -> str:
        """Eight hexadecimal digits that name this protocol; without the tap where it is unknown, as it always was."""
        plain = to_plain(self)
        if self.tap == UNKNOWN:
            del plain["tap"]
        return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()[:8]

    def differing_fields(self, other: Protocol) -> list[str]:
        """Names of fields in which two protocols differ so that readings can't be compared; a tap if both know it."""
        names = [field.name for field in fields(self) if getattr(self, field.name) != getattr(other, field.name)]
        return [name for name in names if name != "tap" or UNKNOWN not in (self.tap, other.tap)]

    def continuing(self, earlier: str) -> str | None:
        """The id of a curve that was read under another protocol, if it may go on under this one.

        It may if they are the same but for a tap that one of the two doesn't know: a state from before there were taps
        isn't another protocol for that.

        Args:
            earlier: The other one's `id`.

        Returns:
            That one of both ids which knows the tap, or None where readings under both can't be compared.
        """
        if earlier in (self.id, replace(self, tap=UNKNOWN).id):
            return self.id
        unknown = self.tap == UNKNOWN
        return earlier if unknown and any(earlier == replace(self, tap=tap).id for tap in TAPS) else None
