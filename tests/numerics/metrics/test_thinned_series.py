"""A series of any length in bounded memory."""

import numpy as np
import pytest

from rankwatch.numerics.metrics.thinned_series import append_thinned


@pytest.mark.parametrize("n", [1, 7, 8, 9, 100, 1000])
def test_it_holds_the_means_of_equal_blocks_and_no_more_rows_than_it_may(n):
    values = np.random.default_rng(0).standard_normal((n, 2))
    rows, most = [], 0
    for point in values.tolist():
        append_thinned(rows, point, most=8)
        most = max(most, len(rows))
    assert most <= 8
    size = int(rows[0][0])
    assert [row[0] for row in rows[:-1]] == [size] * (len(rows) - 1)
    assert sum(row[0] for row in rows) == n
    blocks = [values[i : i + size].mean(axis=0) for i in range(0, n, size)]
    assert np.allclose([row[1:] for row in rows], blocks)
    assert len(rows) > 4 or n <= 4
