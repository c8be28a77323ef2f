"""What one reading says, and the conditions under which it may be compared with another."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

Level = str
"""``"frame"`` or ``"utterance"``, or `CODEBOOK` for the codes that a quantizer uses."""

CODEBOOK = "codebook"


@dataclass(frozen=True)
class Protocol:
    """Everything that a number's comparability depends on.

    Two readings may be compared when their protocols have the same `id`. The number of rows actually
    drawn stands in the reading (`Reading.n`): the estimate is corrected for it.

    Attributes:
        source: Name of the probe set, or ``"train"``.
        level: ``"frame"`` (valid frames, equally many from each utterance), ``"utterance"`` or ``"codebook"`` (codes
            of all frames that the quantizer was given, padding included).
        utterances: Utterances asked for, over all processes.
        frames_per_utterance: Frames drawn from each utterance (1 pooled row at utterance level, 0 for all: codebooks).
        d: Width of the layer; codes in each group of a quantizer.
        k: Columns after the random projection, or None.
        centred: Whether the mean was removed before the spectrum was taken.
        power: ``"sigma"`` (RankMe's p = sigma / sum sigma) or ``"sigma^2"``; of a quantizer ``"codes"`` (how often each
            was used) or ``"perplexity"`` (its own).
        pooling: ``"none"`` at frame level, ``"mean"`` over valid frames at utterance level.
        input: ``"clean"`` (known to be unmasked), ``"replayed"`` (the training call in eval mode, with whatever
            masks it was given), ``"user"`` (by `probe_forward`), ``"masked"`` (the training pass) or
            ``"unknown"``.
        frames: ``"all"``, or where a mask over time was seen in the call ``"unmasked"`` (frames without it) or
            ``"masked"``.
        mode: ``"eval"`` or ``"train"`` (with dropout and masking).
        precision: The trainer's precision, for example ``"bf16-mixed"``.
        seed: Seed of the drawing and of the projection.
        probe_set: Fingerprint of the probe set's content, empty for the training pass.
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
    probe_set: str = ""
    version: int = 1

    @cached_property
    def id(self) -> str:
        """Eight hexadecimal digits that name this protocol."""
        text = json.dumps(dataclasses.asdict(self), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:8]

    def to_dict(self) -> dict[str, Any]:
        """Plain Python values, for JSON and for checkpoints."""
        return dataclasses.asdict(self)


@dataclass(frozen=True)
class Reading:
    """What was measured for one (step, source, level, layer).

    Attributes:
        step: Optimiser steps taken when the reading was made.
        source: Name of the probe set, or ``"train"``.
        level: ``"frame"``, ``"utterance"`` or ``"codebook"``, for which see `rankwatch.monitor.codebooks.read_usage`.
        layer: The layer's path in the model, without wrappers' parts.
        effective_rank: Corrected, centred estimate; NaN where `status` says that there is none.
        effective_rank_low: Lower end of the 90 % interval; None where no honest one is known.
        effective_rank_high: Upper end, likewise.
        rankme: The paper's plain, uncentred value of the rows at hand; None where rows were projected.
        metrics: Further values from the same rows, by name.
        status: ``"ok"``, or what stands against trusting the number (``"too_few_rows"``, ...);
            several are joined by ``"+"``.
        n: Rows used.
        d: Width of the layer.
        k: Columns after projection, or None.
        protocol: The conditions of the measurement.
        spectrum: Corrected singular values relative to the largest, at 64 positions spaced geometrically
            from 1 to d; for pictures, empty where there is none.
    """

    step: int
    source: str
    level: Level
    layer: str
    effective_rank: float
    effective_rank_low: float | None
    effective_rank_high: float | None
    rankme: float | None
    metrics: Mapping[str, float]
    status: str
    n: int
    d: int
    k: int | None
    protocol: Protocol
    spectrum: tuple[float, ...] = field(default=(), repr=False)

    @property
    def ok(self) -> bool:
        """Whether there is a number at all (it may still carry a status)."""
        return math.isfinite(self.effective_rank)

    def to_dict(self) -> dict[str, Any]:
        """One JSON record; the protocol by its id."""
        record = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        return {**record, "metrics": dict(self.metrics), "protocol": self.protocol.id}


@dataclass(frozen=True)
class Alarm:
    """A detector's finding about one layer.

    Attributes:
        step: Optimiser step of the reading that raised it.
        kind: What is wrong, in a word; see `rankwatch.monitor.detectors.advice`. A detector of one's own has its own.
        severity: ``"notice"``, ``"warning"`` or ``"critical"``.
        layer: The layer's path.
        level: ``"frame"`` or ``"utterance"``.
        source: Name of the probe set, or ``"train"``.
        message: The evidence in one sentence, with numbers.
        since: Step of the first reading of the breach.
    """

    step: int
    kind: str
    severity: str
    layer: str
    level: Level
    source: str
    message: str
    since: int

    def to_dict(self) -> dict[str, Any]:
        """One JSON record."""
        return dataclasses.asdict(self)
