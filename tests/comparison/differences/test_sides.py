"""Single runs and groups of seeds: what is claimed of recipes, how often that is wrong, and orders within a layer."""

import math

import numpy as np
import pytest

from rankwatch.comparison.differences.difference import Difference, Place
from rankwatch.comparison.differences.orders import orders
from rankwatch.comparison.differences.seeds import PRIOR, SAME_SEED_PRIOR, group_interval, same_seed_interval
from rankwatch.comparison.differences.sides import Side, difference_of_sides, make_sides

PLACE = Place("audio", "frame", "L01")


@pytest.mark.parametrize(("sizes", "level"), [((3, 2), "frame"), ((2, 1), "frame"), ((4, 4), "utterance")])
def test_intervals_over_seeds_hold(sizes, level):
    rng = np.random.default_rng(0)
    spread, apart, held = PRIOR[level][0], 0.2, 0
    for _ in range(2000):
        spread = PRIOR[level][0] * rng.choice([0.7, 1.0, 1.3])  # recipes whose seeds vary less and more
        one, other = apart + spread * rng.standard_normal(sizes[0]), spread * rng.standard_normal(sizes[1])
        middle, half = group_interval(one, other, 0.0, PRIOR[level], 0.9)
        held += abs(middle - apart) <= half
    assert 0.85 < held / 2000 < 0.96


@pytest.mark.parametrize(("seeds", "level", "shared"), [(2, "frame", 0.8), (3, "frame", 0.1), (4, "utterance", 0.5)])
def test_intervals_over_the_same_seeds_hold_whatever_seeds_do_in_both(seeds, level, shared):
    """What a seed does in both recipes is `shared` of its variance; what it does in one alone varies by recipe."""
    rng = np.random.default_rng(1)
    alone, apart, held = SAME_SEED_PRIOR[level][0] / math.sqrt(2), 0.2, 0
    for _ in range(2000):
        spread = alone * rng.choice([0.7, 1.0, 1.3])
        both = math.sqrt(shared / (1.0 - shared)) * spread * rng.standard_normal(seeds)
        one, other = (both + spread * rng.standard_normal(seeds) for _ in range(2))
        middle, half = same_seed_interval(one + apart, other, 0.0, SAME_SEED_PRIOR[level], 0.9)
        held += abs(middle - apart) <= half
    assert 0.85 < held / 2000 < 0.96


def test_what_seeds_do_in_both_recipes_cancels_and_what_they_do_in_one_does_not():
    seeds = [0.0, 0.08, -0.06]
    one, alike, unlike = [4.1 + s for s in seeds], [4.0 + s for s in seeds], [4.0 - s for s in seeds]
    narrow, wide = (
        same_seed_interval(one, alike, 0.0, SAME_SEED_PRIOR["frame"], 0.9),
        group_interval(one, alike, 0.0, PRIOR["frame"], 0.9),
    )
    assert narrow[0] == pytest.approx(wide[0])
    assert narrow[1] < 0.5 * wide[1]
    assert same_seed_interval(one, unlike, 0.0, SAME_SEED_PRIOR["frame"], 0.9)[1] > wide[1]
    assert same_seed_interval(one, alike, 0.3, SAME_SEED_PRIOR["frame"], 0.9)[1] > 0.3
    assert all(math.isnan(x) for x in same_seed_interval([4.0], [3.5], 0.0, SAME_SEED_PRIOR["frame"], 0.9))


def test_groups_of_the_same_seeds_are_compared_seed_by_seed():
    logs = [4.30, 4.40, 4.24, 4.33]
    halves = [0.01, 9.0, 9.0, 0.01]  # of runs of different seeds nothing counts
    groups = {"a": ["p", "q"], "b": ["r", "s"]}
    sides = make_sides(["p", "q", "r", "s"], groups, same_seeds=True)
    found = difference_of_sides(PLACE, (sides[0], sides[1]), logs, halves, None, 2)
    assert (found.same_seeds, found.seeds, found.verdict) == (True, True, "higher")
    apart = difference_of_sides(PLACE, tuple(make_sides(["p", "q", "r", "s"], groups)), logs, [0.01] * 4, None, 2)
    assert (apart.same_seeds, apart.verdict) == (False, "not known")
    for wrong in ({"a": ["p", "q"], "b": ["r"]}, {"a": ["p"], "b": ["r"]}, None):
        with pytest.raises(ValueError, match="equally many, at least two each"):
            make_sides(["p", "q", "r", "s"], wrong, same_seeds=True)


def test_seeds_that_differ_much_widen_the_interval_and_more_seeds_narrow_it():
    close, wide = ([4.0, 4.0 + gap, 4.0 - gap] for gap in (0.01, 0.2))
    other = [3.5, 3.51]
    assert (
        group_interval(wide, other, 0.0, PRIOR["frame"], 0.9)[1]
        > 2.0 * group_interval(close, other, 0.0, PRIOR["frame"], 0.9)[1]
    )
    assert (
        group_interval(close * 3, other * 3, 0.0, PRIOR["frame"], 0.9)[1]
        < group_interval(close, other, 0.0, PRIOR["frame"], 0.9)[1]
    )
    assert group_interval(close, other, 0.3, PRIOR["frame"], 0.9)[1] > 0.3
    assert all(math.isnan(x) for x in group_interval([4.0], [3.5], 0.0, PRIOR["frame"], 0.9))


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
