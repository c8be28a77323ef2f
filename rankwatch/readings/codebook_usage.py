"""From counts of codes to a reading of the codebook."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import torch
from torch import Tensor

from rankwatch.extraction.hooks.code_outputs import CodeAssignments
from rankwatch.numerics import effective_rank
from rankwatch.readings.codebook_reading import NON_FINITE, TOO_FEW_ASSIGNMENTS, CodebookReading
from rankwatch.readings.protocol import CODEBOOK, TRAIN, Protocol

ENOUGH = 5
"""Assignments per code below which the perplexity is too low by more than a tenth: (V - 1) / 2n (Miller 1955)."""

_Count = TypeVar("_Count", int, float)


@dataclass(frozen=True)
class CodeUsage:
    """Which codes one quantizer has used, on one process or several.

    Attributes:
        codes: Codes in each group, V; 0 where that isn't known.
        counts: How often each code was used, a list for each group; empty where only perplexities are exposed.
        perplexities: The perplexity of each call, where there are no counts.
        predictions: The predicted probability of each code, summed over frames, a list for each group; empty where
            nothing predicts the codes.
        prediction_perplexities: The perplexity of the predictions of each call, where the model itself reports it.
    """

    codes: int
    counts: Sequence[Sequence[int]] = ()
    perplexities: Sequence[float] = ()
    predictions: Sequence[Sequence[float]] = ()
    prediction_perplexities: Sequence[float] = ()

    @classmethod
    def of(cls, assignments: Sequence[CodeAssignments], codes: int) -> CodeUsage:
        """Count assignments, on the CPU.

        Args:
            assignments: What the hooks have seen, call by call; calls whose output was no codes don't count.
            codes: Codes in each group; 0 where that isn't known.

        Returns:
            The counts, or else the perplexities that the quantizer itself exposes.

        A perplexity below 1 or above the number of codes is none: ValueError.
        """
        assignments = [one for one in assignments if one.valid is None or bool(one.valid)]
        counted = [one.codes for one in assignments if one.codes is not None]
        if counted:
            columns = torch.cat(counted).cpu().long().unbind(dim=1)
            counts = [torch.bincount(column[column >= 0], minlength=codes).tolist() for column in columns]
            return cls(codes, counts, predictions=_summed([one.predictions for one in assignments]))
        perplexities = _numbers([one.perplexity for one in assignments], codes)
        predicted = _numbers([one.prediction_perplexity for one in assignments], codes)
        return cls(codes, perplexities=perplexities, prediction_perplexities=predicted)

    @classmethod
    def joined(cls, parts: Sequence[CodeUsage]) -> CodeUsage:
        """The usage on all processes together: counts are added, perplexities are listed.

        Args:
            parts: The usage on each process.

        Returns:
            The sum.
        """
        counts = _joined([part.counts for part in parts])
        known = max(part.codes for part in parts)
        beyond = any(len(one) > known for one in counts)  # the number found in the model was not that of its codes
        return cls(
            0 if beyond else known,
            counts,
            [value for part in parts for value in part.perplexities],
            _joined([part.predictions for part in parts]),
            [value for part in parts for value in part.prediction_perplexities],
        )


def _summed(predictions: Sequence[Tensor | None]) -> list[list[float]]:
    there = [one.double().cpu() for one in predictions if one is not None]
    return torch.stack(there).sum(dim=0).tolist() if there else []


def _numbers(perplexities: Sequence[Tensor | None], codes: int) -> list[float]:
    numbers = [float(one) for one in perplexities if one is not None]
    most = 1.01 * codes or math.inf
    wrong = [value for value in numbers if math.isfinite(value) and not 0.99 <= value <= most]
    if wrong:
        raise ValueError(f"{wrong[0]:g} is no perplexity of {codes or 'some'} codes")
    return numbers


def _joined(parts: Sequence[Sequence[Sequence[_Count]]]) -> list[list[_Count]]:
    """The sums, group by group; a process may have seen nothing."""
    groups = max(map(len, parts))
    return [_added([part[group] for part in parts if group < len(part)]) for group in range(groups)]


def _added(counts: Sequence[Sequence[_Count]]) -> list[_Count]:
    longest = max(len(one) for one in counts)
    return [sum(one[i] for one in counts if i < len(one)) for i in range(longest)]


def read_usage(usage: CodeUsage, *, step: int, quantizer: str, protocol: Protocol) -> CodebookReading | None:
    """From what a quantizer has used to its reading.

    Args:
        usage: What was counted, on all processes together.
        step: Optimiser steps taken.
        quantizer: The quantizer's path.
        protocol: The conditions; the number of codes is filled in from `usage`.

    Returns:
        The reading, or None where no code was assigned. It is flagged below `ENOUGH` assignments for each code, and
        where the quantizer gave no finite perplexity.
    """
    counted = [counts for counts in usage.counts if sum(counts)]
    n, size = sum(map(sum, counted)), usage.codes
    perplexities = [effective_rank(counts) for counts in counted] or list(usage.perplexities)
    if not perplexities:
        return None
    perplexity = sum(perplexities) / len(perplexities)
    predicted = [effective_rank(sums) for sums in usage.predictions] or list(usage.prediction_perplexities)
    few = bool(counted) and n < ENOUGH * size * len(counted)
    active = sum(count > 0 for counts in counted for count in counts)
    return CodebookReading(
        step=step,
        source=protocol.source,
        quantizer=quantizer,
        perplexity=perplexity,
        n_codes=size,
        n_assignments=n,
        active_code_fraction=active / (size * len(counted)) if size and counted else math.nan,
        normalized_perplexity=perplexity / size if size else math.nan,
        status=frozenset({NON_FINITE} if not math.isfinite(perplexity) else {TOO_FEW_ASSIGNMENTS} if few else ()),
        protocol=replace(protocol, d=size, power="codes" if counted else "perplexity"),
        active_codes=active / len(counted) if counted else math.nan,
        prediction_perplexity=sum(predicted) / len(predicted) if predicted else None,
    )


def codebook_readings(
    step: int, usages: Mapping[str, Sequence[CodeUsage]], protocols: Mapping[tuple[str, str], Protocol]
) -> list[CodebookReading]:
    """Readings of all quantizers, from each process's part.

    Args:
        step: Optimiser steps taken.
        usages: Each process's use of codes, by quantizer.
        protocols: The conditions, by source and level.

    Returns:
        One reading for each quantizer that has assigned any code.
    """
    found = [
        read_usage(CodeUsage.joined(parts), step=step, quantizer=name, protocol=protocols[TRAIN, CODEBOOK])
        for name, parts in usages.items()
    ]
    return [reading for reading in found if reading is not None]
