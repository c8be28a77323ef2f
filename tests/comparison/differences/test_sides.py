"""Single runs and groups of seeds: what is claimed of recipes, how often that is wrong, and orders within a layer."""

import math

import numpy as np
import pytest

from rankwatch.comparison.differences.difference import Difference, Place
from rankwatch.comparison.differences.orders import orders
from rankwatch.comparison.differences.seeds import PRIOR, group_interval
from rankwatch.comparison.differences.sides import Side, difference_of_sides, make_sides

PLACE = Place("audio", "frame", "L01")


@pytest.mark.parametrize(("sizes", "level"), [((3, 2), "frame"), ((2, 1), "frame"), ((4, 4), "utterance")])
def test_intervals_over_seeds_hold(sizes, level):
    rng = np.random.default_rng(0)
    spread, apart, held = PRIOR[level][0], 0.2, 0
    for _ in range(2000):
        spread = PRIOR[level][0] * rng.choice([0.7, 1.0, 1.3])  # recipes whose seeds vary less and more
        one, other = apart + spread * rng.standard_normal(sizes[0]), spread * rng.standard_normal(sizes[1])
        middle, half = group_interval(one, other, 0.0, level, 0.9)
        held += abs(middle - apart) <= half
    assert 0.85 < held / 2000 < 0.96


def test_seeds_that_differ_much_widen_the_interval_and_more_seeds_narrow_it():
    close, wide = ([4.0, 4.0 + gap, 4.0 - gap] for gap in (0.01, 0.2))
    other = [3.5, 3.51]
    assert group_interval(wide, other, 0.0, "frame", 0.9)[1] > 2.0 * group_interval(close, other, 0.0, "frame", 0.9)[1]
    assert (
        group_interval(close * 3, other * 3, 0.0, "frame", 0.9)[1] < group_interval(close, other, 0.0, "frame", 0.9)[1]
    )
    assert group_interval(close, other, 0.3, "frame", 0.9)[1] > 0.3
    assert all(math.isnan(x) for x in group_interval([4.0], [3.5], 0.0, "frame", 0.9))


def test_one_run_each_says_nothing_of_other_seeds_and_groups_do():
    logs = [4.30, 4.31, 4.20, 4.21]
    single = difference_of_sides(PLACE, (Side("a", (0,)), Side("b", (2,))), logs, [0.01], None, 2)
    group = difference_of_sides(PLACE, (Side("a", (0, 1)), Side("b", (2, 3))), logs, [0.01] * 4, None, 2)
    assert (single.seeds, single.verdict, single.differs) == (False, "not known", True)  # 10 %: as seeds may do
    assert (group.seeds, group.verdict, group.differs) == (True, "higher", True)
    assert group.high - group.low > single.high - single.low
    assert group.ratio == pytest.approx(math.exp(0.1))
    at_least = difference_of_sides(PLACE, (Side("a", (0, 1)), Side("b", (2, 3))), logs, [0.01] * 4, 0.2, 2)
    assert at_least.verdict != "higher"


def test_sides_are_runs_or_groups_and_wrong_names_are_said():
    assert make_sides(["a", "b"]) == [Side("a", (0,)), Side("b", (1,))]
    assert make_sides(["a", "b", "c"], {"x": ["a", "c"], "y": ["b"]}) == [Side("x", (0, 2)), Side("y", (1,))]
    with pytest.raises(ValueError, match=r"group 'x' names \['d'\].*'a', 'b'"):
        make_sides(["a", "b"], {"x": ["d"], "y": ["b"]})
    with pytest.raises(ValueError, match="at least two"):
        make_sides(["a"])


def between(one, other, ranks, apart):
    ratio = ranks[0] / ranks[1]
    ends = (ratio * 0.99, ratio * 1.01) if apart else (ratio * 0.5, ratio * 2.0)
    return Difference(PLACE, one, other, ranks, ratio, *ends, *ends, at_least=0.1)


def test_an_order_marks_neighbours_that_cant_be_told_apart():
    ranks = {"a": 30.0, "b": 50.0, "c": 49.0}
    pairs = [("a", "b", True), ("a", "c", True), ("b", "c", False)]
    (order,) = orders([between(x, y, (ranks[x], ranks[y]), apart) for x, y, apart in pairs])
    assert str(order) == "b = c > a"
    gone = [between("a", "b", (30.0, float("nan")), False)]
    assert str(orders(gone)[0]) == "a"
