"""How many of its codes a quantizer uses: counted in the training pass, over the utterances before a reading.

The perplexity of the codes' usage is the effective rank of that distribution: V where all codes are used alike, 1 where
there is only one. It tells another story than the layers do: wav2vec 2.0's targets may collapse while its context
network looks well, and a BEST-RQ quantizer, which is frozen, tells of silence and repeated data.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import nn

from rankwatch.extraction.hooks.code_hooks import CodeTaps, Draws
from rankwatch.extraction.model.quantizers import find_quantizers
from rankwatch.monitor.reading import CODEBOOK, Protocol, Reading
from rankwatch.monitor.settings import Settings
from rankwatch.numerics import effective_rank
from rankwatch.runtime.diagnostics import Complaints
from rankwatch.runtime.distributed import World, quota

TRAIN = "train"
ENOUGH = 5
"""Draws per code below which the perplexity is too low by more than a tenth: (V - 1) / 2n (Miller 1955)."""


@dataclass(frozen=True)
class Usage:
    """What one quantizer has used, on one process or several.

    Attributes:
        codes: Codes in each group, V; 0 where that isn't known.
        counts: How often each code was used, a list for each group; empty where only perplexities are exposed.
        perplexities: Where there are no counts, of each call.
    """

    codes: int
    counts: Sequence[Sequence[int]] = ()
    perplexities: Sequence[float] = ()

    @classmethod
    def of(cls, draws: Sequence[Draws], codes: int) -> Usage:
        """Count on the CPU.

        Raises:
            ValueError: For a perplexity that can't be one.
        """
        drawn = [one.codes for one in draws if one.codes is not None]
        if drawn:
            columns = torch.cat(drawn).cpu().long().unbind(dim=1)
            return cls(codes, [torch.bincount(column[column >= 0], minlength=codes).tolist() for column in columns])
        perplexities = [float(one.perplexity) for one in draws if one.perplexity is not None]
        most = 1.01 * codes or math.inf
        wrong = [value for value in perplexities if math.isfinite(value) and not 0.99 <= value <= most]
        if wrong:
            raise ValueError(f"{wrong[0]:g} is no perplexity of {codes or 'some'} codes")
        return cls(codes, perplexities=perplexities)

    @classmethod
    def joined(cls, parts: Sequence[Usage]) -> Usage:
        """That of all processes: counts are added, perplexities stand side by side."""
        groups = max(len(part.counts) for part in parts)
        counts = [_added([part.counts[group] for part in parts if group < len(part.counts)]) for group in range(groups)]
        known = max(part.codes for part in parts)
        beyond = any(len(one) > known for one in counts)  # then it was something else that was taken for their number
        return cls(0 if beyond else known, counts, [value for part in parts for value in part.perplexities])


def _added(counts: Sequence[Sequence[int]]) -> list[int]:
    longest = max(len(one) for one in counts)
    return [sum(one[i] for one in counts if i < len(one)) for i in range(longest)]


def read_usage(usage: Usage, *, step: int, quantizer: str, protocol: Protocol) -> Reading | None:
    """One reading; None where nothing was drawn.

    Its `effective_rank` is the perplexity, exp of the entropy of the usage, mean over groups; `d` is V and 0 where that
    isn't known; `n` counts draws of codes, 0 where the quantizer gave a perplexity and no codes. Its status is
    ``"few_draws"`` below `ENOUGH` draws for each code, and ``"non_finite"`` where the quantizer gave no number.
    """
    drawn = [counts for counts in usage.counts if sum(counts)]
    n, size = sum(map(sum, drawn)), usage.codes
    perplexities = [effective_rank(counts) for counts in drawn] or list(usage.perplexities)
    if not perplexities:
        return None
    perplexity = sum(perplexities) / len(perplexities)
    few = bool(drawn) and n < ENOUGH * size * len(drawn)
    used = sum(count > 0 for counts in drawn for count in counts)
    metrics = {
        "coverage": used / (size * len(drawn)) if size and drawn else math.nan,
        "perplexity_share": perplexity / size if size else math.nan,
    }
    return Reading(
        step=step,
        source=protocol.source,
        level=protocol.level,
        layer=quantizer,
        effective_rank=perplexity,
        effective_rank_low=None,
        effective_rank_high=None,
        rankme=None,
        metrics=metrics,
        status="non_finite" if not math.isfinite(perplexity) else "few_draws" if few else "ok",
        n=n,
        d=size,
        k=None,
        protocol=replace(protocol, d=size, power="codes" if drawn else "perplexity"),
    )


def codebook_readings(
    step: int, usages: Mapping[str, Sequence[Usage]], protocols: Mapping[tuple[str, str], Protocol]
) -> list[Reading]:
    """Readings of all quantizers, from each process's part."""
    found = [
        read_usage(Usage.joined(parts), step=step, quantizer=name, protocol=protocols[TRAIN, CODEBOOK])
        for name, parts in usages.items()
    ]
    return [reading for reading in found if reading is not None]


class Codebooks:
    """Listens to the model's quantizers in the batches before a reading. What fails in here goes quiet.

    Args:
        settings: The user's arguments; of the training batches the newest `n_utterances` over all processes count.
        world: This process among the others.
        precision: The trainer's precision, for the protocol.
        complaints: Where failures are told.
    """

    def __init__(self, settings: Settings, world: World, precision: str, complaints: Complaints) -> None:
        self._settings = settings
        self._wanted = quota(settings.n_utterances, world.rank, world.size)
        self._precision = precision
        self._complaints = complaints
        self._taps = CodeTaps([])
        self._listening = False
        self._batches: deque[tuple[int, dict[str, list[Draws]]]] = deque()
        self._step = -1
        self._in_step = 0  # utterances of the running optimiser step
        self._per_step = 1

    def attach(self, root: nn.Module) -> list[str]:
        """Find them; gives a sentence for the table where there are some."""
        if self._settings.codebooks:
            with self._complaints.guarded("looking for quantizers"):
                self._taps = CodeTaps(find_quantizers(root))
        named = [f"{one.name} ({one.codes or 'unknown number of'} codes)" for one in self._taps.quantizers]
        return [f"codes are counted in the training pass: {', '.join(named)}"] if named else []

    @property
    def names(self) -> list[str]:
        """Paths of the quantizers."""
        return [one.name for one in self._taps.quantizers]

    def batch_starts(self, step: int, next_step: int | None) -> None:
        """Before a training batch, after `step` optimiser steps; there are hooks only where a reading is near."""
        if not self._taps.quantizers:
            return
        if step != self._step:
            self._step, self._per_step, self._in_step = step, self._in_step or self._per_step, 0
        before = 0 if next_step is None else next_step - step - 1
        self._listening = before * self._per_step < self._wanted
        if self._listening:
            self._taps.listen()

    def batch_ends(self) -> None:
        """After a training batch."""
        if not self._listening:
            return
        self._listening = False
        self._taps.stop()
        draws, utterances, failures = self._taps.take()
        for name, error in failures.items():
            self._fail(name, error)
        self._in_step += utterances
        self._batches.extend([(utterances, draws)] if draws else [])
        while self._batches and sum(count for count, _ in self._batches) - self._batches[0][0] >= self._wanted:
            self._batches.popleft()

    def _fail(self, name: str, error: Exception) -> None:
        self._taps.quantizers = [one for one in self._taps.quantizers if one.name != name]
        self._complaints.fail(f"quantizer {name}", f"quantizer {name} could not be read: {error}", error)

    def take(self) -> dict[str, Usage]:
        """What was used in the batches before, counted; the next reading begins anew."""
        batches, self._batches = self._batches, deque()
        usages = {}
        for one in list(self._taps.quantizers):
            draws = [draw for _, drawn in batches for draw in drawn.get(one.name, ())]
            try:
                if draws:
                    usages[one.name] = Usage.of(draws, one.codes)
            except Exception as error:
                self._fail(one.name, error)
        return usages

    @property
    def protocol(self) -> Protocol:
        """The conditions; the number of codes is filled in by `read_usage`."""
        return Protocol(
            source=TRAIN,
            level=CODEBOOK,
            utterances=self._settings.n_utterances,
            frames_per_utterance=0,
            d=0,
            k=None,
            centred=False,
            input="masked",
            mode="train",
            precision=self._precision,
            seed=self._settings.seed,
        )

    def close(self) -> None:
        """Take every hook away."""
        self._taps.stop()
        self._batches.clear()
