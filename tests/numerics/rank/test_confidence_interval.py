"""The degrees of freedom behind an interval: many utterances that count alike, and few that decide."""

import numpy as np
import pytest
import torch

from rankwatch import estimate_rank
from rankwatch.numerics.rank.confidence_interval import degrees_of_freedom


def test_gaussian_influences_of_g_groups_have_nearly_g_degrees_of_freedom():
    found = [degrees_of_freedom(np.random.default_rng(seed).standard_normal(400)) for seed in range(20)]
    assert np.median(found) == pytest.approx(399, rel=0.1)
    assert max(found) <= 399.0


def test_influences_of_one_size_have_as_many_as_there_can_be():
    assert degrees_of_freedom(np.array([1.0, -1.0] * 8)) == 15.0


@pytest.mark.parametrize("few", [1, 4])
def test_a_few_large_influences_count_alone(few):
    influence = np.full(1000, 1e-6)
    influence[:few] = 1.0
    assert degrees_of_freedom(influence) == pytest.approx(2 * few, rel=0.01)


def test_where_two_utterances_decide_the_interval_is_that_of_few_degrees_of_freedom():
    """The same cloud, with two of 256 utterances far out along one direction, or with all of them a little."""
    rng, groups = np.random.default_rng(0), torch.arange(256).repeat_interleave(2)
    rows = rng.standard_normal((512, 48)) * np.arange(1, 49) ** -0.5
    few, all_of_them = rows.copy(), rows.copy()
    few[:4, 0] += np.array([16.0, 16.0, -16.0, -16.0])
    all_of_them[:, 0] += np.repeat(rng.choice([-1.0, 1.0], 256), 2) * 16.0 * (4 / 512) ** 0.5
    widths = []
    for x in (few, all_of_them):
        found = estimate_rank(torch.from_numpy(x).float(), groups=groups)
        widths.append(np.log(found.high / found.low))
    assert widths[0] > 10.0 * widths[1]  # 9 by a normal quantile
