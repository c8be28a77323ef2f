"""From counts of codes to a reading of the codebook."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import torch

from rankwatch.extraction.hooks.code_hooks import CodeAssignments
from rankwatch.numerics import effective_rank
from rankwatch.readings.protocol import CODEBOOK, Protocol
from rankwatch.readings.reading import Reading

TRAIN = "train"


ENOUGH = 5
"""Draws per code below which the perplexity is too low by more than a tenth: (V - 1) / 2n (Miller 1955)."""

NON_FINITE: Final = "non_finite"
"""Flag of a quantizer's status: the quantizer gave NaN or Inf for its perplexity."""

TOO_FEW_ASSIGNMENTS: Final = "too_few_assignments"
"""Flag of a quantizer's status: fewer than `ENOUGH` assignments for each code, so the perplexity reads too low."""


@dataclass(frozen=True)
class CodeUsage:
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
    def of(cls, draws: Sequence[CodeAssignments], codes: int) -> CodeUsage:
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
    def joined(cls, parts: Sequence[CodeUsage]) -> CodeUsage:
        """That of all processes: counts are added, perplexities stand side by side."""
        groups = max(len(part.counts) for part in parts)
        counts = [_added([part.counts[group] for part in parts if group < len(part.counts)]) for group in range(groups)]
        known = max(part.codes for part in parts)
        beyond = any(len(one) > known for one in counts)  # then it was something else that was taken for their number
        return cls(0 if beyond else known, counts, [value for part in parts for value in part.perplexities])


def _added(counts: Sequence[Sequence[int]]) -> list[int]:
    longest = max(len(one) for one in counts)
    return [sum(one[i] for one in counts if i < len(one)) for i in range(longest)]


def read_usage(usage: CodeUsage, *, step: int, quantizer: str, protocol: Protocol) -> Reading | None:
    """One reading; None where nothing was drawn.

    Its `effective_rank` is the perplexity, exp of the entropy of the usage, mean over groups; `d` is V and 0 where that
    isn't known; `n` counts draws of codes, 0 where the quantizer gave a perplexity and no codes. Its status holds
    `TOO_FEW_ASSIGNMENTS` below `ENOUGH` for each code, and `NON_FINITE` where the quantizer gave no number.
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
        "active_code_fraction": used / (size * len(drawn)) if size and drawn else math.nan,
        "normalized_perplexity": perplexity / size if size else math.nan,
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
        status=frozenset({NON_FINITE} if not math.isfinite(perplexity) else {TOO_FEW_ASSIGNMENTS} if few else ()),
        n=n,
        d=size,
        k=None,
        protocol=replace(protocol, d=size, power="codes" if drawn else "perplexity"),
    )


def codebook_readings(
    step: int, usages: Mapping[str, Sequence[CodeUsage]], protocols: Mapping[tuple[str, str], Protocol]
) -> list[Reading]:
    """Readings of all quantizers, from each process's part."""
    found = [
        read_usage(CodeUsage.joined(parts), step=step, quantizer=name, protocol=protocols[TRAIN, CODEBOOK])
        for name, parts in usages.items()
    ]
    return [reading for reading in found if reading is not None]
