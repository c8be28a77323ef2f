"""What an interval of a ratio says: twins are alike or not known, large differences count, the rest is left open."""

import math

import numpy as np
import pytest

from rankwatch.comparison.differences.verdicts import (
    SEEDS,
    confidence_of_each,
    exceeds,
    smallest,
    verdict,
    widened,
)

NAN = float("nan")


@pytest.mark.parametrize(
    ("size", "half", "wide", "given", "said"),
    [
        (0.30, 0.02, 0.04, True, "higher"),
        (-0.30, 0.02, 0.04, True, "lower"),
        (0.12, 0.02, 0.04, True, "not known"),  # the interval reaches below the margin
        (0.12, 0.02, 0.04, False, "higher"),  # more than seeds and the error together
        (0.12, 0.09, 0.10, False, "not known"),  # seeds and the error together reach so far
        (0.30, 0.02, 0.31, False, "not known"),  # zero isn't left out
        (0.02, 0.02, 0.04, True, "alike"),
        (0.02, 0.02, 0.10, True, "not known"),
        (0.30, NAN, NAN, True, "not known"),
        (NAN, 0.02, 0.04, False, "not known"),
    ],
)
def test_what_an_interval_says(size, half, wide, given, said):
    assert verdict(size, half, wide, 0.10, given) == said


def test_swapping_the_sides_swaps_the_verdict():
    turned = {"higher": "lower", "lower": "higher"}
    for size in np.linspace(-0.4, 0.4, 33):
        one, other = (verdict(s, 0.03, 0.05, 0.1, given=False) for s in (size, -size))
        assert other == turned.get(one, one)


def test_twins_are_claimed_in_at_most_one_of_twenty_layers():
    """Seeds that spread as wide as the margin says, and an error of utterances on top of it."""
    rng = np.random.default_rng(0)
    margin = smallest(None, "frame")
    for error in (0.002, 0.03, 0.1):
        found = margin / 1.96 * rng.standard_normal(40_000) + error / 1.645 * rng.standard_normal(40_000)
        claims = exceeds(np.abs(found), error, 0.0, margin, given=False)
        assert 0.045 < claims.mean() < 0.055  # without the simultaneous interval, which only takes claims away


def test_intervals_that_hold_together_are_wider():
    assert confidence_of_each(1) == 0.95
    assert confidence_of_each(20) == pytest.approx(0.9975)
    assert widened(1) == pytest.approx(1.96 / 1.645, rel=1e-3)
    assert widened(100) > widened(10) > widened(1)


def test_the_smallest_difference_is_of_the_level():
    assert smallest(0.1, "frame") == smallest(0.1, "utterance") == pytest.approx(math.log(1.1))
    assert smallest({"frame": 0.1, "utterance": 0.3}, "utterance") == pytest.approx(math.log(1.3))
    assert smallest(None, "frame") == pytest.approx(math.log(1.0 + SEEDS["frame"]))
    assert smallest(None, "frame") < smallest(None, "utterance")
