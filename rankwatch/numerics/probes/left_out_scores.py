"""What a linear probe says of each row when it was trained on all other groups' rows."""

from __future__ import annotations

import torch

from rankwatch.numerics.rows.sample import canonical_order


def left_out_scores(
    x: torch.Tensor, targets: torch.Tensor, groups: torch.Tensor, *, ridge: float = 1.0
) -> torch.Tensor:
    r"""Scores of each group's rows by a ridge regression that was trained on the rows of all other groups.

    .. math:: S_g = Y_g - (I - H_{gg})^{-1} (Y_g - (H Y)_g)

    with H and the standardised features of `grouped_probe`.

    Args:
        x: (n, d) rows, finite.
        targets: (n, k) what is predicted: one-hot labels, ones where a row has a label, or any numbers.
        groups: (n,) integer group of each row; at least two.
        ridge: Penalty, in proportion to d.

    Returns:
        (n, k) float64 scores, in the order of the rows. The order of rows changes nothing, to the last bit.

    Example:
        >>> x = torch.eye(2).repeat(4, 1)
        >>> left_out_scores(x, x, torch.arange(8) // 2).argmax(dim=1)
        tensor([0, 1, 0, 1, 0, 1, 0, 1])
    """
    rows = x.detach().cpu().float() + 0.0  # -0.0 becomes 0.0
    order = canonical_order(rows, groups, *targets.unbind(dim=1))
    rows, y, g = rows[order].double(), targets[order].double(), groups[order]
    members = [torch.nonzero(g == group).squeeze(1) for group in torch.unique(g)]
    n = len(rows)
    z = _standardised(rows)
    root = _root(z, ridge * z.shape[1])
    residual = y - y.mean(dim=0) - root.T @ (root @ y)
    scores = torch.empty_like(y)
    for inside in members:
        own = root[:, inside]
        rest = torch.eye(len(inside), dtype=torch.float64) - own.T @ own - 1.0 / n
        scores[order[inside]] = y[inside] - torch.linalg.solve(rest, residual[inside])
    return scores


def _standardised(x: torch.Tensor) -> torch.Tensor:
    mean = x.mean(dim=0)
    std = (x - mean).square().mean(dim=0).sqrt()
    used = std > 1e-6 * (std.max() + mean.abs())
    return (x - mean)[:, used] / std[used]


def _root(z: torch.Tensor, penalty: float) -> torch.Tensor:
    """(r, n) R with R^T R = Z (Z^T Z + penalty I)^{-1} Z^T."""
    if z.shape[0] < z.shape[1]:
        z = torch.linalg.qr(z.T, mode="r").R.T  # in coordinates of the rows' own span: the same inner products
    gram = z.T @ z + penalty * torch.eye(z.shape[1], dtype=torch.float64)
    root: torch.Tensor = torch.linalg.solve_triangular(torch.linalg.cholesky(gram), z.T, upper=False)
    return root
