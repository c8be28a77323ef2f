"""Scores of left-out groups in closed form are what refitting for every group gives."""

import pytest
import torch

from rankwatch.numerics.probes.left_out_scores import _standardised, left_out_scores


def _refitted(x, onehot, members, ridge):
    """The definition: for every group a ridge regression with its own intercept on the other rows."""
    z, n = _standardised(x), len(x)
    scores = torch.empty_like(onehot)
    for rows in members:
        others = torch.ones(n, dtype=torch.bool)
        others[rows] = False
        mean, prior = z[others].mean(dim=0), onehot[others].mean(dim=0)
        a, b = z[others] - mean, onehot[others] - prior
        penalty = ridge * z.shape[1] * torch.eye(z.shape[1], dtype=torch.float64)
        scores[rows] = (z[rows] - mean) @ torch.linalg.solve(a.T @ a + penalty, a.T @ b) + prior
    return scores


@pytest.mark.parametrize(("n", "d", "count"), [(120, 16, 2), (120, 16, 7), (60, 200, 5), (40, 80, 40)])
@pytest.mark.parametrize("ridge", [1e-2, 1.0])
def test_the_closed_form_is_the_refitted_probe(n, d, count, ridge):
    x = torch.randn(n, d, generator=torch.Generator().manual_seed(0))
    y = (x[:, :5] + torch.randn(n, 5, generator=torch.Generator().manual_seed(1))).argmax(dim=1)
    onehot = torch.nn.functional.one_hot(y, 5).double()
    groups = torch.arange(n) % count
    members = [torch.nonzero(groups == group).squeeze(1) for group in range(count)]
    expected = _refitted(x.double(), onehot, members, ridge)
    assert torch.allclose(left_out_scores(x, onehot, groups, ridge=ridge), expected, atol=1e-9)


def test_scores_come_in_the_order_of_the_rows_and_are_the_same_in_any():
    generator = torch.Generator().manual_seed(3)
    x, targets, groups = (
        torch.randn(90, 12, generator=generator),
        torch.randn(90, 3, generator=generator),
        torch.arange(90) // 6,
    )
    order = torch.randperm(90, generator=generator)
    whole = left_out_scores(x, targets, groups)
    assert torch.equal(left_out_scores(x[order], targets[order], groups[order]), whole[order])
