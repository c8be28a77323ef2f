"""A small labelled check that complements the rank: a linear probe in closed form."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch


@dataclass(frozen=True)
class ProbeResult:
    """What a probe reached on rows it was not trained on.

    Attributes:
        accuracy: Share of test rows whose label was found, in [0, 1].
        majority: Accuracy of always naming the most frequent label of the training rows.
        chance: 1 / number of labels.
    """

    accuracy: float
    majority: float
    chance: float


def linear_probe(train_x: Any, train_y: Any, test_x: Any, test_y: Any, *, ridge: float = 1e-2) -> ProbeResult:
    r"""Ridge regression on one-hot labels, solved in closed form.

    .. math:: W = (Z^T Z / n + \rho I)^{-1} Z^T (Y - \bar Y) / n

    with Z the training rows standardised per feature (features that don't vary are left out), Y one-hot. The
    label with the largest score wins. Deterministic: no steps, no seed.

    Args:
        train_x: (n, d) rows.
        train_y: (n,) integer labels.
        test_x: (m, d) rows, m >= 1.
        test_y: (m,) integer labels; one that was not trained on counts as missed.
        ridge: rho > 0, relative to features of variance 1.

    Returns:
        See `ProbeResult`. float64; O(n d^2 + d^3).

    Raises:
        ValueError: If shapes don't fit, sets are empty, values are not finite, or ridge is not positive.

    Example:
        >>> x = torch.eye(3).repeat(4, 1)
        >>> linear_probe(x, [0, 1, 2] * 4, torch.eye(3), [0, 1, 2]).accuracy
        1.0
    """
    a, b = (torch.as_tensor(x).detach().cpu().double() for x in (train_x, test_x))
    y, z = (torch.as_tensor(v).detach().cpu().long() for v in (train_y, test_y))
    _check(a, y, "train")
    _check(b, z, "test")
    if a.shape[1] != b.shape[1]:
        raise ValueError(f"train rows have {a.shape[1]} columns, test rows {b.shape[1]}")
    if not ridge > 0.0:
        raise ValueError(f"ridge must be positive, got {ridge}")
    n = a.shape[0]
    labels, index, counts = torch.unique(y, return_inverse=True, return_counts=True)
    mean = a.mean(dim=0)
    std = (a - mean).square().mean(dim=0).sqrt()
    used = std > 1e-6 * (std.max() + mean.abs())
    features = (a - mean)[:, used] / std[used]
    onehot = torch.nn.functional.one_hot(index, labels.numel()).double()
    prior = onehot.mean(dim=0)
    covariance = features.T @ features / n + ridge * torch.eye(features.shape[1], dtype=torch.float64)
    weights = torch.linalg.solve(covariance, features.T @ (onehot - prior) / n)
    scores = (b - mean)[:, used] / std[used] @ weights + prior
    found = labels[scores.argmax(dim=1)]
    return ProbeResult(
        accuracy=float((found == z).double().mean()),
        majority=float((labels[counts.argmax()] == z).double().mean()),
        chance=1.0 / labels.numel(),
    )


def _check(x: torch.Tensor, y: torch.Tensor, name: str) -> None:
    if x.ndim != 2 or y.shape != x.shape[:1] or x.shape[0] == 0:
        shapes = f"{tuple(x.shape)}, {tuple(y.shape)}"
        raise ValueError(f"{name}: expected rows (n, d) and labels (n,), got {shapes}")
    if not bool(torch.isfinite(x).all()):
        raise ValueError(f"{name}: rows must be finite")
