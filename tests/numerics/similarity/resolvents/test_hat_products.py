"""The products of two representations' hat matrices, against the matrices themselves."""

import pytest
import torch

from rankwatch.numerics.similarity.matched_rows import Utterances, centred
from rankwatch.numerics.similarity.resolvents.balanced_whitening import whiten
from rankwatch.numerics.similarity.resolvents.hat_products import hat_products


def normal(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("sizes", [[1] * 96, [4] * 32, [2] * 20 + [5] * 16], ids=["single", "equal", "unequal"])
def test_they_are_blocks_of_the_products_of_whole_matrices(sizes):
    sizes = torch.tensor(sizes)
    n = int(sizes.sum())
    ones = torch.ones(n, dtype=torch.float64)
    utterances = Utterances(sizes, ones, ones)
    own = normal(len(sizes), 6).repeat_interleave(sizes, dim=0)
    rows = own + normal(n, 6, seed=1)
    x, y = (whiten(centred(one, utterances), utterances, 0.1) for one in (rows, rows[:, :5] + normal(n, 5, seed=2)))
    for one, two in ((x, y), (x, x)):
        found = hat_products(one, two)
        hat_x, hat_y = one.rows @ one.rows.T, two.rows @ two.rows.T
        torch.testing.assert_close(found.to_y, hat_y @ one.rows)
        torch.testing.assert_close(found.to_x, hat_x @ two.rows)
        of_row = torch.arange(len(sizes)).repeat_interleave(sizes)
        mean = (of_row[:, None] == of_row).double() / sizes[of_row][:, None]
        between = (one.between * two.between).sqrt()[of_row]
        within = (one.within * two.within).sqrt()[of_row]
        middles = torch.eye(n, dtype=torch.float64), mean * between, (torch.eye(n) - mean) * within
        for blocks, middle in zip((found.whole, found.means, found.rest), middles, strict=True):
            whole = hat_y @ middle @ hat_x
            wanted = [whole[of_row == k][:, of_row == k] for k in range(len(sizes))]
            torch.testing.assert_close([b for stack in blocks for b in stack], wanted)
