"""The effective rank of the population that rows were drawn from: the entry for rows that are at hand."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch

from rankwatch.numerics.rank.corrected_rank import estimate_from_sample
from rankwatch.numerics.rank.rank_estimate import RankEstimate
from rankwatch.numerics.rows.projection import choose_projection
from rankwatch.numerics.rows.rounding import number_format, rounding_of
from rankwatch.numerics.rows.sample import Sample


def estimate_rank(
    x: Any,
    *,
    projection: int | str | None = None,
    groups: Any | None = None,
    weights: Any | None = None,
    center: bool = True,
    seed: int = 0,
) -> RankEstimate:
    """Estimate the effective rank of the population that the rows of `x` were drawn from.

    Args:
        x: (n, d) rows; numpy or torch, any float type, CPU or GPU. They are read as float32: rows that differ only
            in float64 are equal.
        projection: Columns to project to first; ``"auto"`` (see `choose_projection`) or None.
        groups: (n,) utterance of each row, numbers or names, or None where rows are independent. Where utterances
            come in batches of their own kind (by length, by language), the batch: the largest independent unit.
        weights: (n,) how much each row counts, in any unit, or None where all count the same. With frames drawn evenly
            from every utterance, its length: then every frame of the corpus counts the same.
        center: Whether to take the mean out. Without, one shared vector hides everything else.
        seed: Seed of the projection.

    Returns:
        See `RankEstimate`. The same rows give the same bits in any order.

    Raises:
        ValueError: If shapes don't fit, a weight is negative or not finite or all are zero, or `projection` is neither
            positive, ``"auto"`` nor None.

    Example:
        >>> x = torch.randn(512, 64, generator=torch.Generator().manual_seed(0))
        >>> estimate = estimate_rank(x)
        >>> estimate.plain < 63 < estimate.low < estimate.value <= 64
        True
    """
    rows = torch.as_tensor(np.ascontiguousarray(x) if isinstance(x, np.ndarray) else x).detach()
    if rows.ndim != 2:
        raise ValueError(f"expected rows of shape (n, d), got {tuple(rows.shape)}")
    if isinstance(projection, str):
        if projection != "auto":
            raise ValueError(f"projection must be a number, 'auto' or None, got {projection!r}")
        projection = choose_projection(rows.shape[1], rows.shape[0])
    known: list[int | str] = []
    if groups is not None:
        names = groups.detach().cpu().numpy() if isinstance(groups, torch.Tensor) else np.asarray(groups)
        unique, inverse = np.unique(names, return_inverse=True)
        groups, known = inverse.reshape(names.shape), unique.tolist()
    rounding = rounding_of(rows, number_format(rows))
    sample = Sample.from_rows(rows, groups, projection, seed, weights=weights, rounding=rounding)
    estimate = estimate_from_sample(sample, center=center)
    return replace(estimate, utterances=tuple(known[int(key)] for key in estimate.utterances)) if known else estimate
