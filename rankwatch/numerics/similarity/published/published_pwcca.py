"""PWCCA by the protocol of Pasad et al., and the same with utterances left out, to compare with their figures."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rankwatch.numerics.rows.usable_labels import as_list
from rankwatch.numerics.similarity.published.held_out_pwcca import (
    EPSILONS,
    canonical_directions,
    pwcca_of,
    whitenings,
)
from rankwatch.numerics.similarity.published.ten_parts import parts_of_groups, parts_of_rows

TRIALS, PAIRS = 3, 6
"""Pairs of a part to choose by and one to report, of each division; pairs of ridges that are tried."""


@dataclass(frozen=True)
class PublishedPwcca:
    """What the protocol says.

    Attributes:
        value: The mean over trials.
        trials: The figure of each.
        n: Rows.
        left_out: ``"rows"`` or ``"utterances"``: what is in one part as a whole.
    """

    value: float
    trials: tuple[float, ...]
    n: int
    left_out: str


def published_pwcca(x: Any, y: Any, *, groups: Any | None = None, divisions: int = 3, seed: int = 0) -> PublishedPwcca:
    r"""PWCCA by the protocol of Pasad et al. (2107.04734, 2211.03929), to compare with their figures.

    Rows are divided into ten parts, as many of each label into every part. In each of three trials eight parts give
    canonical directions for six pairs of ridges out of {1e-11, 1e-10, 1e-9} times the largest covariance; the pair that
    does best on the ninth part is taken, and the tenth gives

    .. math:: \sum_i \alpha_i \rho_i / \sum_i \alpha_i, \qquad \alpha_i = \sum_j |\langle q_i, z_j \rangle|

    (Morcos et al. 2018, eq. 2), where rho_i is the correlation of the i-th pair of variates there, z_j are the columns
    of the narrower representation (of y, where they are equally wide) and q_i its variates made orthonormal, as the
    authors' code has it: neither centred. The value is the mean over all trials.

    Warning: without `groups` rows of one utterance are in training and test, so that what they have in common counts as
    something that the layer holds of the labels; the value rises with the number of rows of each utterance. It also
    depends on the number of rows (directions are those of a sample), on the basis of the narrower side, and
    on constants that are added to it. `cca_squared` has none of this.

    Args:
        x: (n, d) rows; numpy or torch.
        y: (n,) labels (names or whole numbers), taken as indicators, or (n, q) rows.
        groups: (n,) utterance of each row: whole utterances are in one part, and labels no longer evenly. None for the
            published way.
        divisions: How often rows are divided anew; 3 gives the mean of nine. (In the papers each is of other draws.)
        seed: Of the divisions and pairs of ridges.

    Returns:
        See `PublishedPwcca`.

    Raises:
        ValueError: If lengths don't fit, a value isn't finite, `divisions` is below 1, or there are too few rows: eight
            tenths must be more than columns, and a tenth no fewer than columns of the narrower representation.

    Example:
        >>> z = torch.randn(4000, 20, generator=torch.Generator().manual_seed(0))
        >>> round(published_pwcca(z, z).value, 6), published_pwcca(z[:, :10], z[:, 10:]).value < 0.1
        (1.0, True)
    """
    rows, target, labels = _checked(x, y)
    if divisions < 1:
        raise ValueError(f"published_pwcca: divisions must be at least 1, got {divisions}")
    units = _numbers(groups) if groups is not None else None
    if units is not None and len(units) != len(rows):
        raise ValueError(f"published_pwcca: expected one group for each of {len(rows)} rows, got {len(units)}")
    scores = []
    for division in range(divisions):
        generator = np.random.default_rng([seed, division])
        parts = parts_of_rows(labels, generator) if units is None else parts_of_groups(units, generator)
        for trial in range(TRIALS):
            scores.append(pwcca_of_parts(rows, target, parts, 2 * trial, 2 * trial + 1, generator))
    return PublishedPwcca(float(np.mean(scores)), tuple(scores), len(rows), "rows" if units is None else "utterances")


def pwcca_of_parts(
    x: Tensor, y: Tensor, parts: list[NDArray[np.int64]], dev: int, test: int, generator: np.random.Generator
) -> float:
    """One trial: directions from all parts but two, ridges by one of these, the figure from the other.

    Args:
        x: (n, p) float64 rows.
        y: (n, q) float64 rows.
        parts: Rows of each part.
        dev: The part that ridges are chosen by.
        test: The part that the figure is of.
        generator: Random numbers.

    Returns:
        The figure.

    Raises:
        ValueError: If there are too few rows.
    """
    training = torch.from_numpy(np.concatenate([part for k, part in enumerate(parts) if k not in (dev, test)]))
    if len(training) <= max(x.shape[1], y.shape[1]):
        raise ValueError(
            f"published_pwcca: eight tenths of the rows are {len(training)}, no more than the "
            f"{max(x.shape[1], y.shape[1])} columns of the wider representation"
        )
    one, other = x[training], y[training]
    of_x, of_y = whitenings(one), whitenings(other)
    pairs = list(itertools.product(range(len(EPSILONS)), repeat=2))
    chosen = [pairs[k] for k in generator.permutation(len(pairs))[:PAIRS].tolist()]
    found = [canonical_directions(one, other, of_x[i], of_y[j]) for i, j in chosen]
    at = [torch.from_numpy(parts[k]) for k in (dev, test)]
    best = int(np.argmax([pwcca_of(directions, x[at[0]], y[at[0]]) for directions in found]))
    return pwcca_of(found[best], x[at[1]], y[at[1]])


def _checked(x: Any, y: Any) -> tuple[Tensor, Tensor, NDArray[np.int64]]:
    """Both as float64 rows, and the number of each row's label: 0 where y are rows."""
    rows = torch.as_tensor(x).detach().cpu().double()
    is_rows = getattr(y, "ndim", 1) == 2
    if is_rows:
        target, labels = torch.as_tensor(y).detach().cpu().double(), np.zeros(len(y), dtype=np.int64)
    else:
        labels = _numbers(y)
        target = torch.nn.functional.one_hot(torch.from_numpy(labels)).double()
    if rows.ndim != 2 or len(rows) != len(target) or not len(rows):
        raise ValueError(f"published_pwcca: expected (n, d) and (n,) or (n, q), got {tuple(rows.shape)}, {len(target)}")
    if not (torch.isfinite(rows).all() and torch.isfinite(target).all()):
        raise ValueError("published_pwcca: a row has a value that isn't finite")
    return rows, target, labels


def _numbers(names: Any) -> NDArray[np.int64]:
    found: NDArray[np.int64] = np.unique(np.asarray(as_list(names)), return_inverse=True)[1]
    return found.astype(np.int64)
