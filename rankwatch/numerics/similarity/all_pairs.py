"""Similarities of all pairs of layers at once: of one model, of two, or of layers and targets."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from rankwatch.numerics.similarity import similarity_result as flags
from rankwatch.numerics.similarity.cka import masses
from rankwatch.numerics.similarity.matched_rows import Matched, Utterances, match_rows
from rankwatch.numerics.similarity.resolved_similarity import check_kappa, reasons
from rankwatch.numerics.similarity.resolvents.balanced_whitening import Block, Whitened, whiten
from rankwatch.numerics.similarity.resolvents.shared_directions import block_sums, solved

AT_ONCE = 256
"""Rows whose products with all others are in memory at once, for every layer."""


@dataclass(frozen=True)
class PairwiseSimilarity:
    """Similarities of all pairs.

    Attributes:
        value: (layers, layers) or (layers, others) estimates, NaN where there is none.
        kappa: Resolution of each layer (and then of each other), in units of its mean eigenvalue; infinite for CKA.
        df: Degrees of freedom of each at this resolution; NaN for CKA.
        status: What stands against each of them, as in `Similarity`.
        n: Rows used.
        utterances: Utterances that they come from.
    """

    value: NDArray[np.float64]
    kappa: NDArray[np.float64]
    df: NDArray[np.float64]
    status: tuple[frozenset[str], ...]
    n: int
    utterances: int


def similarity_matrix(
    layers: Sequence[Any],
    others: Sequence[Any] | None = None,
    *,
    groups: Any | None = None,
    kappa: float = 0.1,
    weights: Any | None = None,
) -> PairwiseSimilarity:
    """`similarity` of all pairs: the same values, to the rounding of float32 products, without intervals.

    Args:
        layers: (n, d) rows of each layer, all at the same frames.
        others: (n, d) rows of each layer of another model or checkpoint, or of targets; None for all pairs of `layers`.
        groups: (n,) utterance of each row, numbers or names; None where rows are independent.
        kappa: Resolution in units of each one's mean eigenvalue.
        weights: (n,) how much each row counts; None where all count the same.

    Returns:
        See `PairwiseSimilarity`. O(L n^2 d + L^2 n^2 m) for L layers and m rows an utterance, besides O(L n d^2); in
        memory besides the rows L (n d + 256 n) numbers.

    Example:
        >>> z = torch.randn(600, 12, generator=torch.Generator().manual_seed(0))
        >>> found = similarity_matrix([z[:, :8], z[:, 4:], z[:, :4]], groups=torch.arange(600) // 4)
        >>> found.value.round(1) + 0.0
        array([[1. , 0.5, 0.7],
               [0.5, 1. , 0. ],
               [0.7, 0. , 1. ]])
    """
    check_kappa(kappa)
    matched, count, pairs = _matched(layers, others, groups, weights)
    total = len(matched.views)
    status = _status(matched)
    usable = [not one & {flags.CONSTANT, flags.TOO_FEW_ROWS} for one in status]
    whitened = [whiten(matched.centred(k), matched.utterances, kappa) if usable[k] else None for k in range(total)]
    for k, found in enumerate(whitened):
        if found is not None:
            view = Matched((matched.views[k],), matched.utterances, (matched.rounding[k],), 0)
            status[k] |= reasons(view, (found,), (kappa,))
    wanted = [(i, j) for i, j in sorted({*pairs, *((k, k) for k in range(total))}) if usable[i] and usable[j]]
    r = _r_of_pairs(whitened, wanted)
    value = np.full((count, total - count if others is not None else count), math.nan)
    for i, j in pairs:
        own = r.get((i, i), math.nan) * r.get((j, j), math.nan)
        ratio = r.get((i, j), math.nan) / math.sqrt(own) if own > 0.0 else math.nan
        if others is None:
            value[i, j] = value[j, i] = ratio
        else:
            value[i, j - count] = ratio
    return PairwiseSimilarity(
        value,
        np.array([math.nan if w is None else w.kappa for w in whitened]),
        np.array([math.nan if w is None else w.df for w in whitened]),
        tuple(frozenset(s) for s in status),
        matched.n,
        len(matched.utterances.sizes),
    )


def cka_matrix(
    layers: Sequence[Any], others: Sequence[Any] | None = None, *, groups: Any | None = None, weights: Any | None = None
) -> PairwiseSimilarity:
    """`cka` of all pairs: the same values, to the rounding of float32 products, without intervals.

    Args:
        layers: (n, d) rows of each layer, all at the same frames.
        others: (n, d) rows of each layer of another model or checkpoint, or of targets; None for all pairs of `layers`.
        groups: (n,) utterance of each row, numbers or names; None where rows are independent.
        weights: (n,) how much each row counts; None where all count the same.

    Returns:
        See `PairwiseSimilarity`. O(L n^2 d + L^2 n^2) for L layers.

    Example:
        >>> z = torch.randn(600, 12, generator=torch.Generator().manual_seed(0))
        >>> cka_matrix([z[:, :8], z[:, :4]], [z[:, 4:]], groups=torch.arange(600) // 4).value.round(1) + 0.0
        array([[0.5],
               [0. ]])
    """
    matched, count, _ = _matched(layers, others, groups, weights)
    utterances, status = matched.utterances, _status(matched)
    total = len(matched.views)
    rows = []
    for k in range(total):
        one = matched.centred(k)
        rows.append((one / one.square().mean().sqrt().clamp(min=1e-300)).float())
    hsic = _hsics(rows, utterances) if len(utterances.sizes) >= 5 else np.full((total, total), math.nan)
    own = np.sqrt(np.where(hsic.diagonal() > 0.0, hsic.diagonal(), math.nan))
    own[[flags.CONSTANT in one for one in status]] = math.nan
    value = hsic / own[:, None] / own
    nothing = np.full(total, math.nan)
    return PairwiseSimilarity(
        value if others is None else value[:count, count:],
        np.full(total, math.inf),
        nothing,
        tuple(frozenset(s) for s in status),
        matched.n,
        len(utterances.sizes),
    )


def _matched(
    layers: Sequence[Any], others: Sequence[Any] | None, groups: Any, weights: Any
) -> tuple[Matched, int, list[tuple[int, int]]]:
    """All rows in one order, how many are layers, and the pairs that are asked for."""
    count, total = len(layers), len(layers) + len(others or ())
    matched, _ = match_rows([*layers, *(others or ())], groups, weights)
    if others is None:
        return matched, count, [(i, j) for i in range(count) for j in range(i, count)]
    return matched, count, [(i, j) for i in range(count) for j in range(count, total)]


def _status(matched: Matched) -> list[set[str]]:
    found = {flags.NON_FINITE_ROWS} if matched.n_nonfinite else set()
    utterances = len(matched.utterances.sizes)
    if utterances < flags.FEW_GROUPS:
        found.add(flags.TOO_FEW_GROUPS)
    if utterances < 5 or matched.n < 8:
        found.add(flags.TOO_FEW_ROWS)
    return [found | (set() if matched.varies(k) else {flags.CONSTANT}) for k in range(len(matched.views))]


def _parts(utterances: Utterances) -> Iterator[tuple[int, slice, slice, slice]]:
    """Some utterances of one size at a time: which size, which of its block, which utterances, which rows."""
    before = 0
    for which, (at, size) in enumerate(utterances.blocks()):
        count, step = (at.stop - at.start) // size, max(1, AT_ONCE // size)
        for start in range(0, count, step):
            stop = min(start + step, count)
            rows = slice(at.start + start * size, at.start + stop * size)
            yield which, slice(start, stop), slice(before + start, before + stop), rows
        before += count


def _r_of_pairs(whitened: Sequence[Whitened | None], wanted: list[tuple[int, int]]) -> dict[tuple[int, int], float]:
    """R of the pairs of layers that are wanted."""
    layers = {k: w for k, w in enumerate(whitened) if w is not None}
    if not wanted:
        return {}
    first = next(iter(layers.values()))
    utterances = first.utterances
    unit, white = first.unit_rows.float()[:, None], {k: w.rows.float() for k, w in layers.items()}
    roots = {k: (w.between.sqrt().float(), w.within.sqrt().float()) for k, w in layers.items()}
    sums = {pair: torch.zeros(5, 2, dtype=torch.float64, device="cpu") for pair in wanted}
    for which, inside, chosen, rows in _parts(utterances):
        means, rest = {}, {}
        for k, u in white.items():
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


def _hsics(rows: list[torch.Tensor], utterances: Utterances) -> NDArray[np.float64]:
    """(layers, layers) HSIC of every pair, from kernels of some rows with all; see `cka` for the three sums."""
    total, w = len(rows), utterances.weights.float()
    sums = [utterances.sums(w[:, None] * r) for r in rows]
    pairs, ends, squares = (torch.zeros(total, total, dtype=torch.float64, device="cpu") for _ in range(3))
    of_row = torch.arange(len(utterances.sizes), device="cpu").repeat_interleave(utterances.sizes)
    for _, _, chosen, at in _parts(utterances):
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
