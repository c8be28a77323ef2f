"""Canonical directions that some rows give, and how well they do on others: PWCCA with a ridge that hardly is one."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

EPSILONS = (1e-11, 1e-10, 1e-9)
"""Ridges, as shares of the largest covariance of each representation."""

_CONSTANT = 1e-6
"""Directions whose variates are below this share of the largest are constant, and a correlation with them is noise."""


@dataclass(frozen=True)
class Whitening:
    """What makes the columns of one representation uncorrelated, in the rows that were learned from.

    Attributes:
        columns: (p,) which columns vary enough.
        matrix: (p', p') the inverse root of their covariance with its ridge, both as shares of its largest entry.
        scale: That entry.
    """

    columns: Tensor
    matrix: Tensor
    scale: float


@dataclass(frozen=True)
class Directions:
    """Canonical directions of two representations.

    Attributes:
        x: Whitening of the first.
        y: Whitening of the second.
        of_x: (p', k) directions in the columns of the first that vary.
        of_y: (q', k) those in the second.
    """

    x: Whitening
    y: Whitening
    of_x: Tensor
    of_y: Tensor


def whitenings(rows: Tensor) -> list[Whitening]:
    """The whitening of each ridge of `EPSILONS`, from (n, p) float64 rows; a ValueError if none of them varies."""
    centred = rows - rows.mean(dim=0)
    covariance = centred.T @ centred / (len(rows) - 1)
    scale = float(covariance.abs().max())
    if not scale > 0.0:
        raise ValueError("published_pwcca: all rows of eight tenths are the same, or have the same label")
    found: list[Whitening] = []
    factors: tuple[Tensor, Tensor] | None = None
    for epsilon in EPSILONS:
        columns = covariance.diagonal() >= epsilon * scale
        if factors is None or not torch.equal(columns, found[-1].columns):
            values, vectors = torch.linalg.eigh(covariance[columns][:, columns] / scale)
            factors = values.clamp(min=0.0), vectors
        values, vectors = factors
        found.append(Whitening(columns, (vectors * (values + epsilon).rsqrt()) @ vectors.T, scale))
    return found


def canonical_directions(x: Tensor, y: Tensor, of_x: Whitening, of_y: Whitening) -> Directions:
    """The directions of (n, p) and (n, q) float64 rows, in the order of their correlation."""
    a, b = x[:, of_x.columns], y[:, of_y.columns]
    cross = (a - a.mean(dim=0)).T @ b / (len(x) - 1) / (of_x.scale * of_y.scale) ** 0.5
    u, _, vh = torch.linalg.svd(of_x.matrix @ cross @ of_y.matrix, full_matrices=False)
    return Directions(of_x, of_y, of_x.matrix @ u, of_y.matrix @ vh.T)


def pwcca_of(directions: Directions, x: Tensor, y: Tensor) -> float:
    """What the directions reach on other rows (m, p) and (m, q): see `published_pwcca`.

    Returns:
        The weighted mean of their correlations.

    Raises:
        ValueError: If there are fewer rows than directions.
    """
    a, b = x[:, directions.x.columns], y[:, directions.y.columns]
    count = directions.of_x.shape[1]
    if len(a) < count:
        raise ValueError(
            f"published_pwcca: a tenth of the rows is {len(a)}, fewer than the {count} directions of the narrower "
            f"representation; the protocol needs more than {10 * count} rows"
        )
    h = (a - a.mean(dim=0)) @ directions.of_x
    g = (b - b.mean(dim=0)) @ directions.of_y
    lengths = torch.stack([h.norm(dim=0), g.norm(dim=0)])
    varies = (lengths > _CONSTANT * lengths.amax(dim=1, keepdim=True)).all(dim=0)
    rho = torch.where(varies, (h * g).sum(dim=0) / lengths.prod(dim=0).clamp(min=1e-300), 0.0)
    rows, variates = (a, h) if a.shape[1] < b.shape[1] else (b, g)
    # Neither rows nor variates are centred here, and only as many columns count as there are directions.
    rows = rows[:, :count]
    q, _ = torch.linalg.qr(variates + rows.mean(dim=0))
    weights = (q.T @ rows).abs().sum(dim=1)
    return float((weights * rho).sum() / weights.sum())
