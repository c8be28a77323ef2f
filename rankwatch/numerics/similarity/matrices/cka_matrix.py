"""`cka` of all pairs of layers: of one model, of two, or of layers and targets."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, MutableMapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from rankwatch.numerics.rows.rows_on_disk import RowsOnDisk
from rankwatch.numerics.similarity import similarity_result as flags
from rankwatch.numerics.similarity.cka import masses, ratio, terms
from rankwatch.numerics.similarity.matched_rows import Utterances
from rankwatch.numerics.similarity.matrices.pairwise import (
    PairwiseSimilarity,
    as_matrix,
    matched_pairs,
    one_at_a_time,
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
        layers: (n, d) rows of each layer, all at the same frames; a sequence that reads them as in `similarity_matrix`
            may be given as well.
        others: (n, d) rows of each layer of another model or checkpoint, or of targets; None for all pairs of `layers`.
        groups: (n,) utterance of each row, numbers or names; None where rows are independent.
        weights: (n,) how much each row counts; None where all count the same.
        intervals: Whether to give the 90 % intervals as well: another O(n d^2) for each pair.

    Returns:
        See `PairwiseSimilarity`. O(L n^2 d + L^2 n^2) for L layers; in memory 256 L n numbers besides rows.

    Example:
        >>> z = torch.randn(600, 12, generator=torch.Generator().manual_seed(0))
        >>> cka_matrix([z[:, :8], z[:, :4]], [z[:, 4:]], groups=torch.arange(600) // 4).value.round(1) + 0.0
        array([[0.5],
               [0. ]])
    """
    matched, count, pairs = matched_pairs(layers, others, groups, weights)
    utterances, status = matched.utterances, status_of_each(matched)
    total = len(matched.views)
    known = len(utterances.sizes) >= 5
    narrow: MutableMapping[Hashable, torch.Tensor] = RowsOnDisk() if one_at_a_time(layers, others) else {}
    rows = []
    for one in map(matched.centred, range(total)):
        scaled = one / one.square().mean().sqrt().clamp(min=1e-300)
        narrow[len(narrow)] = scaled.float()
        rows += [scaled] if intervals else []
    hsic = _hsics(narrow, utterances) if known else np.full((total, total), math.nan)
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


def _hsics(rows: Mapping[Hashable, torch.Tensor], utterances: Utterances) -> NDArray[np.float64]:
    """(layers, layers) HSIC of every pair, from kernels of some rows with all; see `cka` for the three sums."""
    total, w, n, g = len(rows), utterances.weights.float(), utterances.n, len(utterances.sizes)
    pairs, ends, squares = (torch.zeros(total, total, dtype=torch.float64, device="cpu") for _ in range(3))
    of_row = torch.arange(g, device="cpu").repeat_interleave(utterances.sizes)
    for _, _, chosen, at in parts(utterances):
        other = (of_row[at, None] != of_row).float()
        root, some = (w[at, None] * w).sqrt(), (at.stop - at.start, chosen.stop - chosen.start)
        kernels = [torch.empty(total, a * b, device="cpu") for a, b in ((some[0], n), (some[0], g), (some[1], g))]
        for k in range(total):  # one layer's rows at a time
            r = rows[k]
            s = utterances.sums(w[:, None] * r)
            kernels[0][k] = (r[at] @ r.T * other * root).flatten()
            kernels[1][k] = (r[at] @ s.T * w[at, None].sqrt()).flatten()
            kernels[2][k] = (s[chosen] @ s.T).flatten()
        for found, of_layers in zip((pairs, ends, squares), kernels, strict=True):
            found += (of_layers @ of_layers.T).double()
    own, sizes = (torch.empty(total, count, dtype=torch.float64, device="cpu") for count in (n, g))
    for k in range(total):
        r = rows[k]
        s = utterances.sums(w[:, None] * r)
        own[k] = (utterances.weights.sqrt() * (r * utterances.spread(s)).sum(dim=1)).double()
        sizes[k] = s.double().square().sum(dim=1)
    triples = 2.0 * own @ own.T - ends
    quadruples = torch.outer(sizes.sum(dim=1), sizes.sum(dim=1)) - 6.0 * sizes @ sizes.T + 2.0 * squares
    two, three, four = masses(utterances).all.tolist()
    return np.asarray((pairs / two - 2.0 * triples / three + quadruples / four).numpy())
