"""`similarity` of all pairs of layers: of one model, of two, or of layers and targets."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Hashable, Mapping, MutableMapping, Sequence
from typing import Any

import numpy as np
import torch

from rankwatch.numerics.rows.rows_on_disk import RowsOnDisk
from rankwatch.numerics.similarity import similarity_result as flags
from rankwatch.numerics.similarity.matched_rows import Matched
from rankwatch.numerics.similarity.matrices.pairwise import (
    PairwiseSimilarity,
    as_matrix,
    matched_pairs,
    one_at_a_time,
    parts,
    status_of_each,
)
from rankwatch.numerics.similarity.resolved_similarity import check_kappa, ratio_contributions, reasons
from rankwatch.numerics.similarity.resolvents.balanced_whitening import Whitened, whiten
from rankwatch.numerics.similarity.resolvents.delete_utterances import contributions
from rankwatch.numerics.similarity.resolvents.shared_directions import block_sums, solved
from rankwatch.numerics.similarity.resolvents.utterance_blocks import Block
from rankwatch.numerics.similarity.similarity_result import interval


def similarity_matrix(
    layers: Sequence[Any],
    others: Sequence[Any] | None = None,
    *,
    groups: Any | None = None,
    kappa: float = 0.1,
    weights: Any | None = None,
    intervals: bool = False,
) -> PairwiseSimilarity:
    """`similarity` of all pairs: the same values, to the rounding of float32 products.

    Args:
        layers: (n, d) rows of each layer, all at the same frames. Of a sequence that is neither a list nor a tuple, and
            reads rows when it is asked for them, one layer is in memory at a time (without intervals).
        others: (n, d) rows of each layer of another model or checkpoint, or of targets; None for all pairs of `layers`.
        groups: (n,) utterance of each row, numbers or names; None where rows are independent.
        kappa: Resolution in units of each one's mean eigenvalue.
        weights: (n,) how much each row counts; None where all count the same.
        intervals: Whether to give the 90 % intervals as well: another O(n d^2) for each pair.

    Returns:
        See `PairwiseSimilarity`. O(L n^2 d + L^2 n^2 m) for L layers and m rows an utterance, besides O(L n d^2); in
        memory besides the rows 3 L n d numbers, or of one layer at a time about 8 n d, and 512 L n.

    Example:
        >>> z = torch.randn(600, 12, generator=torch.Generator().manual_seed(0))
        >>> found = similarity_matrix([z[:, :8], z[:, 4:], z[:, :4]], groups=torch.arange(600) // 4)
        >>> found.value.round(1) + 0.0
        array([[1. , 0.5, 0.7],
               [0.5, 1. , 0. ],
               [0.7, 0. , 1. ]])
    """
    check_kappa(kappa)
    matched, count, pairs = matched_pairs(layers, others, groups, weights)
    total = len(matched.views)
    status = status_of_each(matched)
    usable = [not one & {flags.CONSTANT, flags.TOO_FEW_ROWS} for one in status]
    on_disk = one_at_a_time(layers, others) and not intervals
    white: MutableMapping[Hashable, torch.Tensor] = RowsOnDisk() if on_disk else {}
    whitened: list[Whitened | None] = []
    for k in range(total):
        one = whiten(matched.centred(k), matched.utterances, kappa) if usable[k] else None
        if one is not None:
            view = Matched((matched.views[k],), matched.utterances, (matched.rounding[k],), 0)
            status[k] |= reasons(view, (one,), (kappa,))
            white[k] = one.rows.float()
            if on_disk:  # of the rows only their number and width are asked for from here on
                one = dataclasses.replace(one, rows=one.rows.new_zeros(()).expand(one.rows.shape))
        whitened.append(one)
    wanted = [(i, j) for i, j in sorted({*pairs, *((k, k) for k in range(total))}) if usable[i] and usable[j]]
    r = _r_of_pairs(whitened, white, wanted)
    own = {k: r.get((k, k), math.nan) for k in range(total)}
    found = {(i, j): _ratio(r[i, j], own[i], own[j]) for i, j in wanted}
    low = high = None
    if intervals:
        ends = _intervals(whitened, [pair for pair in pairs if pair in found], found, r)
        low, high = (as_matrix({pair: e[k] for pair, e in ends.items()}, pairs, count, total) for k in (0, 1))
    return PairwiseSimilarity(
        as_matrix(found, pairs, count, total),
        np.array([math.nan if w is None else w.kappa for w in whitened]),
        np.array([math.nan if w is None else w.df for w in whitened]),
        tuple(frozenset(s) for s in status),
        matched.n,
        len(matched.utterances.sizes),
        low,
        high,
    )


def _ratio(crossed: float, own_x: float, own_y: float) -> float:
    return crossed / math.sqrt(own_x * own_y) if own_x > 0.0 and own_y > 0.0 else math.nan


def _intervals(
    whitened: Sequence[Whitened | None],
    pairs: list[tuple[int, int]],
    values: Mapping[tuple[int, int], float],
    r: Mapping[tuple[int, int], float],
) -> dict[tuple[int, int], tuple[float, float]]:
    """Ends of the intervals of pairs; what a layer's utterances change in its own R is found once."""
    layers = {k: w for k, w in enumerate(whitened) if w is not None}
    own = {k: contributions(w, w, r[k, k]) for k, w in layers.items()}
    found = {}
    for i, j in pairs:
        low = high = None
        if math.isfinite(values[i, j]):
            crossed = own[i] if i == j else contributions(layers[i], layers[j], r[i, j])
            change = ratio_contributions(crossed, r[i, j], (own[i], own[j]), (r[i, i], r[j, j]))
            low, high = interval(values[i, j], change.error(), len(layers[i].utterances.sizes))
        found[i, j] = math.nan if low is None else low, math.nan if high is None else high
    return found


def _r_of_pairs(
    whitened: Sequence[Whitened | None], white: Mapping[Hashable, torch.Tensor], wanted: list[tuple[int, int]]
) -> dict[tuple[int, int], float]:
    """R of the pairs of layers that are wanted; `white` holds the whitened rows in float32."""
    layers = {k: w for k, w in enumerate(whitened) if w is not None}
    if not wanted:
        return {}
    first = next(iter(layers.values()))
    utterances = first.utterances
    unit = first.unit_rows.float()[:, None]
    roots = {k: (w.between.sqrt().float(), w.within.sqrt().float()) for k, w in layers.items()}
    sums = {pair: torch.zeros(5, 2, dtype=torch.float64, device="cpu") for pair in wanted}
    for which, inside, chosen, rows in parts(utterances):
        means, rest = {}, {}
        for k in layers:
            u = white[k]
            hat = u @ u[rows].T  # (n, rows)
            along = utterances.sums(unit * hat)
            scale = utterances.spread(roots[k][1])[:, None]
            rest[k] = _by_utterance(scale * (hat - unit * utterances.spread(along)), chosen)
            means[k] = _by_utterance(roots[k][0][:, None] * along, chosen)
        blocks = {k: _some(w.blocks[which], inside) for k, w in layers.items()}
        for i, j in wanted:
            products = means[j].mT @ means[i], rest[j].mT @ rest[i]
            x, y = layers[i], layers[j]
            weights = (x.between * y.between)[chosen].sqrt(), (x.within * y.within)[chosen].sqrt()
            sums[i, j] += block_sums(blocks[i], blocks[j], products, weights, x.df >= y.df)
    return {(i, j): solved(layers[i], layers[j], total) for (i, j), total in sums.items()}


def _by_utterance(columns: torch.Tensor, chosen: slice) -> torch.Tensor:
    """(count, n, m) from (n, count m)."""
    count = chosen.stop - chosen.start
    return columns.reshape(len(columns), count, -1).transpose(0, 1).contiguous()


def _some(block: Block, chosen: slice) -> Block:
    values = (block.mean, block.hat, block.inverse, block.inner, block.outside, block.left)
    return Block(*(v[chosen] for v in values))
