"""PWCCA by the published protocol: what it says where the truth is known, and how rows are divided."""

import numpy as np
import pytest
import torch

from rankwatch.metrics import cca_squared, published_pwcca
from rankwatch.numerics.similarity.published.ten_parts import parts_of_groups, parts_of_rows


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_equal_representations_give_one_whatever_their_basis_and_scale():
    x = normal(600, 8)
    turned = x @ normal(8, 8, seed=1) * 100.0 + 3.0
    for y in (x, turned):
        assert published_pwcca(x, y).value == pytest.approx(1.0, abs=1e-6)
        assert published_pwcca(x, y, groups=np.arange(600) // 6).value == pytest.approx(1.0, abs=1e-6)


def test_independent_representations_tend_to_nothing_with_the_number_of_rows():
    assert abs(published_pwcca(normal(12_000, 12), normal(12_000, 6, seed=1)).value) < 0.03
    assert abs(published_pwcca(normal(12_000, 12), np.arange(12_000) % 5).value) < 0.03


def test_labels_that_a_linear_map_tells_give_one_but_for_the_constant_direction():
    labels = np.arange(800) % 4
    x = torch.nn.functional.one_hot(torch.from_numpy(labels), 4).float() @ normal(4, 9) + 1e-4 * normal(800, 9, seed=1)
    found = published_pwcca(x, np.array(list("abcd"))[labels])
    # Indicators sum to one, so that one of four directions is constant and correlates with nothing.
    assert 0.7 < found.value < 1.0
    assert found.value == pytest.approx(np.mean(found.trials))
    assert len(found.trials) == 9


def test_seeds_decide_and_nothing_else():
    x, y = normal(500, 10), normal(500, 6, seed=1) + normal(500, 10)[:, :6]
    state = np.random.get_state()[1].copy()
    one, same, other = (published_pwcca(x, y, seed=seed) for seed in (0, 0, 1))
    assert one == same
    assert one.trials != other.trials
    assert np.array_equal(np.random.get_state()[1], state)
    assert published_pwcca(x, y, divisions=1).trials == one.trials[:3]


@pytest.mark.parametrize("seed", range(3))
def test_no_utterance_is_in_two_parts_and_every_row_in_one(seed):
    groups = np.random.default_rng(seed).integers(40, size=500)
    parts = parts_of_groups(groups, np.random.default_rng(seed))
    assert sorted(np.concatenate(parts).tolist()) == list(range(500))
    sets = [set(groups[part].tolist()) for part in parts]
    assert sum(map(len, sets)) == len(set(groups.tolist()))


def test_rows_are_divided_evenly_within_every_label():
    labels = np.repeat(np.arange(5), [10, 25, 37, 100, 8])
    parts = parts_of_rows(labels, np.random.default_rng(0))
    assert sorted(np.concatenate(parts).tolist()) == list(range(180))
    for label, share in ((0, 1), (1, 2), (2, 3), (3, 10), (4, 0)):
        assert all((labels[part] == label).sum() >= share for part in parts)


def test_what_rows_of_an_utterance_have_in_common_counts_only_in_the_published_way():
    """Both sides know the utterance and nothing else of each other; utterances are independent draws."""
    groups = np.repeat(np.arange(100), 20)
    x, y = (normal(100, 10, seed=s)[groups] + 0.3 * normal(2000, 10, seed=s + 2) for s in (0, 1))
    published, apart = (published_pwcca(x, y, groups=given).value for given in (None, groups))
    assert published > 0.15
    assert apart < 0.5 * published
    assert cca_squared(x, y, groups=groups).value < 0.05


def test_too_few_rows_are_refused_with_the_number_that_it_takes():
    with pytest.raises(ValueError, match=r"a tenth of the rows is 9, fewer than the 20 directions .* more than 200"):
        published_pwcca(normal(90, 20), normal(90, 20, seed=1))
    with pytest.raises(ValueError, match="eight tenths of the rows are 16, no more than the 30 columns"):
        published_pwcca(normal(20, 30), np.arange(20) % 2)
    with pytest.raises(ValueError, match="all rows of eight tenths are the same, or have the same label"):
        published_pwcca(normal(20, 3), ["x"] * 20)
    with pytest.raises(ValueError, match="one group for each of 20 rows"):
        published_pwcca(normal(20, 3), normal(20, 3), groups=[0, 1])
    with pytest.raises(ValueError, match="isn't finite"):
        published_pwcca(torch.full((20, 3), float("nan")), normal(20, 3))
    with pytest.raises(ValueError, match=r"expected \(n, d\)"):
        published_pwcca(normal(20, 3), [0, 1])
    with pytest.raises(ValueError, match="divisions must be at least 1, got 0"):
        published_pwcca(normal(400, 3), normal(400, 3), divisions=0)
