"""Blocks of checkpoints, utterances drawn anew, and what a choice has lost."""

import numpy as np
import pytest

from rankwatch.correlation.statistics.block_bootstrap import circular_blocks, drawn_utterances, stationary_blocks
from rankwatch.correlation.statistics.regret import chosen_place, gained, lost_over_utterances


def test_blocks_go_on_where_they_are_and_every_checkpoint_is_drawn_alike():
    drawn = circular_blocks(10, 4, 4000)
    assert drawn.shape == (4000, 10)
    assert ((drawn[:, 1:4] - drawn[:, :3]) % 10 == 1).all()
    np.testing.assert_allclose(np.bincount(drawn.ravel()) / drawn.size, 0.1, atol=0.01)


def test_stationary_blocks_have_the_mean_length():
    drawn = stationary_blocks(50, 5.0, 400)
    goes_on = ((drawn[:, 1:] - drawn[:, :-1]) % 50 == 1).mean()
    assert goes_on == pytest.approx(0.8 + 0.2 / 50, abs=0.01)
    np.testing.assert_allclose(np.bincount(drawn.ravel()) / drawn.size, 0.02, atol=0.004)


def test_weights_of_utterances_sum_to_one():
    weights = drawn_utterances(7, 30)
    np.testing.assert_allclose(weights.sum(axis=1), 1.0)
    assert (drawn_utterances(7, 30) == weights).all()


def test_a_gain_within_its_own_error_is_none():
    assert gained([0.1, 0.4, 0.3]) == pytest.approx(0.3)
    assert gained([0.1, 0.4], [0.01, 0.01]) == pytest.approx(0.3)
    assert np.isnan(gained([0.1, 0.12], [0.02, 0.02]))
    assert np.isnan(gained([0.5, 0.4, 0.3]))


def test_losses_over_utterances_are_those_of_the_means():
    rows = np.array([[1.0, 0.0, 0.0, 0.0], [1.0, 1.0, 1.0, 0.0], [1.0, 0.0, 1.0, 0.0]])
    even = np.full((1, 4), 0.25)
    assert lost_over_utterances(rows, even, 0, -1) == pytest.approx(0.5)
    assert lost_over_utterances(rows, even, 2, 1) == pytest.approx(0.25)
    assert lost_over_utterances(rows, even, None, 1) == pytest.approx(0.25)
    assert lost_over_utterances(rows, even, 1, None) == pytest.approx(-0.25)


def test_of_several_best_ones_the_earliest_is_chosen():
    assert chosen_place([1.0, 5.0, 5.0], 1) == 1
    assert chosen_place([3.0, 1.0, 1.0], -1) == 1
