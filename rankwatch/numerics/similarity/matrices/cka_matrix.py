"""`cka` of all pairs of layers: of one model, of two, or of layers and targets."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from rankwatch.numerics.similarity import similarity_result as flags
from rankwatch.numerics.similarity.cka import masses, ratio, terms
from rankwatch.numerics.similarity.matched_rows import Utterances
from rankwatch.numerics.similarity.matrices.pairwise import (
    PairwiseSimilarity,
    as_matrix,
    matched_pairs,
    parts,
    status_of_each,
)
from rankwatch.numerics.similarity.similarity_result import interval


def cka_matrix(
    layers: Sequence[Any],
    others: Sequence[Any] | None = None,
    *,
    groups: Any | None = None,
    weights: Any | None = None,
    intervals: bool = False,
) -> PairwiseSimilarity:
    """`cka` of all pairs: the same values, to the rounding of float32 products.

    Args:
        layers: (n, d) rows of each layer, all at the same frames.
        others: (n, d) rows of each layer of another model or checkpoint, or of targets; None for all pairs of `layers`.
        groups: (n,) utterance of each row, numbers or names; None where rows are independent.
        weights: (n,) how much each row counts; None where all count the same.
        intervals: Whether to give the 90 % intervals as well: another O(n d^2) for each pair.

    Returns:
        See `PairwiseSimilarity`. O(L n^2 d + L^2 n^2) for L layers.

    Example:
        >>> z = torch.randn(600, 12, generator=torch.Generator().manual_seed(0))
        >>> cka_matrix([z[:, :8], z[:, :4]], [z[:, 4:]], groups=torch.arange(600) // 4).value.round(1) + 0.0
        array([[0.5],
               [0. ]])
    """
    matched, count, pairs = matched_pairs(layers, others, groups, weights)
    utterances, status = matched.utterances, status_of_each(matched)
    total = len(matched.views)
    rows = [(one / one.square().mean().sqrt().clamp(min=1e-300)) for one in map(matched.centred, range(total))]
    known = len(utterances.sizes) >= 5
    hsic = _hsics([one.float() for one in rows], utterances) if known else np.full((total, total), math.nan)
    own = np.sqrt(np.where(hsic.diagonal() > 0.0, hsic.diagonal(), math.nan))
    own[[flags.CONSTANT in one for one in status]] = math.nan
    value = hsic / own[:, None] / own
    low = high = None
    if intervals:
        ends = _intervals(rows, utterances, value, pairs)
        low, high = (as_matrix({pair: e[k] for pair, e in ends.items()}, pairs, count, total) for k in (0, 1))
    nothing = np.full(total, math.nan)
    return PairwiseSimilarity(
        value if others is None else value[:count, count:],
        np.full(total, math.inf),
        nothing,
        tuple(frozenset(s) for s in status),
        matched.n,
        len(utterances.sizes),
        low,
        high,
    )


def _intervals(
    rows: list[torch.Tensor], utterances: Utterances, values: NDArray[np.float64], pairs: list[tuple[int, int]]
) -> dict[tuple[int, int], tuple[float, float]]:
    """Ends of the intervals: the jackknife of each pair's three HSICs."""
    counts = masses(utterances)
    known = {k for k in range(len(rows)) if math.isfinite(values[k, k])}
    own = {k: terms(rows[k], rows[k], utterances).hsic(counts) for k in known}
    found = {}
    for i, j in pairs:
        if i in known and j in known:
            crossed = own[i] if i == j else terms(rows[i], rows[j], utterances).hsic(counts)
            low, high = interval(float(values[i, j]), ratio(crossed, own[i], own[j])[1], len(utterances.sizes))
            found[i, j] = math.nan if low is None else low, math.nan if high is None else high
    return found


def _hsics(rows: list[torch.Tensor], utterances: Utterances) -> NDArray[np.float64]:
    """(layers, layers) HSIC of every pair, from kernels of some rows with all; see `cka` for the three sums."""
    total, w = len(rows), utterances.weights.float()
    sums = [utterances.sums(w[:, None] * r) for r in rows]
    pairs, ends, squares = (torch.zeros(total, total, dtype=torch.float64, device="cpu") for _ in range(3))
    of_row = torch.arange(len(utterances.sizes), device="cpu").repeat_interleave(utterances.sizes)
    for _, _, chosen, at in parts(utterances):
        other = (of_row[at, None] != of_row).float()
        root = (w[at, None] * w).sqrt()
        kernels = torch.stack([(r[at] @ r.T * other * root).flatten() for r in rows])
        pairs += (kernels @ kernels.T).double()
        kernels = torch.stack([(r[at] @ s.T * w[at, None].sqrt()).flatten() for r, s in zip(rows, sums, strict=True)])
        ends += (kernels @ kernels.T).double()
        kernels = torch.stack([(s[chosen] @ s.T).flatten() for s in sums])
        squares += (kernels @ kernels.T).double()
    own = torch.stack(
        [utterances.weights.sqrt() * (r * utterances.spread(s)).sum(dim=1) for r, s in zip(rows, sums, strict=True)]
    ).double()
    sizes = torch.stack([s.double().square().sum(dim=1) for s in sums])
    triples = 2.0 * own @ own.T - ends
    quadruples = torch.outer(sizes.sum(dim=1), sizes.sum(dim=1)) - 6.0 * sizes @ sizes.T + 2.0 * squares
    two, three, four = masses(utterances).all.tolist()
    return np.asarray((pairs / two - 2.0 * triples / three + quadruples / four).numpy())
