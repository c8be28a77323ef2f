"""Differences of two layers' values on the same utterances: their intervals hold, and are narrower than two apart."""

import pytest
import torch

from rankwatch.metrics import cca_squared, probe_r2, similarity_difference


def layers(seed, utterances=120, m=4, noise=(0.5, 0.8)):
    """Two layers that hold the same six directions under more and less noise, and the directions."""
    g = torch.Generator().manual_seed(seed)
    shared = torch.randn(utterances, 1, 6, generator=g).expand(-1, m, -1) + torch.randn(utterances, m, 6, generator=g)
    shared = shared.reshape(-1, 6)
    made = [torch.cat([shared + s * torch.randn(len(shared), 6, generator=g) for s in [level]], 1) for level in noise]
    made = [torch.cat([one, torch.randn(len(one), 10, generator=g)], 1) for one in made]
    return *made, shared, torch.arange(utterances).repeat_interleave(m)


@pytest.mark.parametrize("measure", [cca_squared, probe_r2])
def test_the_interval_of_the_difference_holds_and_is_narrower_than_two_apart(measure):
    found = []
    for seed in range(24):
        x, y, shared, groups = layers(seed)
        one, other = measure(x, shared, groups=groups), measure(y, shared, groups=groups)
        found.append((*similarity_difference(one, other), one.high - one.low + other.high - other.low))
    centre = sum(value for value, *_ in found) / len(found)
    assert sum(low <= centre <= high for _, low, high, _ in found) >= 18
    assert all(high - low < 0.95 * apart for _, low, high, apart in found)


def test_a_layer_and_itself_differ_by_nothing():
    x, _, shared, groups = layers(0)
    one = cca_squared(x, shared, groups=groups)
    assert similarity_difference(one, one) == (0.0, 0.0, 0.0)


def test_what_each_utterance_changes_is_what_leaving_it_out_changes():
    x, _, shared, groups = layers(3, utterances=60)
    whole = cca_squared(x, shared, groups=groups)
    for name in (0, 17, 59):
        kept = groups != name
        value = cca_squared(x[kept], shared[kept], groups=groups[kept]).value
        assert whole.without[name] == pytest.approx(value - whole.value, rel=0.2, abs=2e-4)


def test_names_are_the_callers_own_in_whatever_order_rows_come():
    x, _, shared, groups = layers(1, utterances=20)
    names = [f"utterance {g}" for g in groups.tolist()]
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(0))
    one = cca_squared(x, shared, groups=names)
    other = cca_squared(x[order], shared[order], groups=[names[i] for i in order])
    assert one.without == other.without
    assert set(one.without) == set(names)


def test_other_utterances_are_refused_and_few_give_no_interval():
    x, y, shared, groups = layers(2, utterances=20)
    one = cca_squared(x, shared, groups=groups)
    with pytest.raises(ValueError, match="same utterances"):
        similarity_difference(one, cca_squared(y[4:], shared[4:], groups=groups[4:]))
    few = groups < 10
    pair = [cca_squared(v[few], shared[few], groups=groups[few]) for v in (x, y)]
    assert similarity_difference(*pair)[1:] == (None, None)
