"""What is wrong beside the layer's own past."""

import pytest
from curves import check, past_of
from readings import reading

from rankwatch.alarms.detectors import (
    RankDecline,
    StepContext,
    SuddenRankDrop,
    UnstableRank,
)
from rankwatch.alarms.detectors.base import other_curve

FALLING = RankDecline(below=0.65, utterance_below=0.5, recovered=0.1)


@pytest.mark.parametrize(("rank", "found"), [(38.0, True), (40.0, False)])
def test_a_fall_below_the_share_of_the_reference(rank, found):
    assert (check(FALLING, [60.0] * 10, rank) is not None) is found


def test_the_utterance_level_may_lose_more():
    assert check(FALLING, [60.0] * 10, 35.0) is not None
    assert check(FALLING, [60.0] * 10, 35.0, level="utterance") is None
    assert check(FALLING, [60.0] * 10, 29.0, level="utterance") is not None


def test_while_the_learning_rate_first_rises_only_the_initial_counts_for():
    assert check(RankDecline(), [60.0] * 10, 30.0, lr_warming_up=True) is None
    assert check(RankDecline(), [60.0] * 10, 20.0, lr_warming_up=True) is not None


def test_readings_of_the_warm_up_are_no_reference():
    """The rank of the random initialisation is high, and falls while the learning rate rises."""
    past = past_of([200.0] * 8, lr_warming_up=True)
    for i in range(6):
        past.add(reading(100 + i, 60.0), clean=True)
    assert past.reference(4) == pytest.approx(60.0)


def test_an_alarm_that_holds_ends_only_where_the_rank_has_clearly_come_back():
    now = reading(99, 42.0)
    held = StepContext("first_batches", open={("dimensional_collapse", now.key)})
    assert FALLING.check(now, past_of([60.0] * 10), StepContext("first_batches")) is None
    assert FALLING.check(now, past_of([60.0] * 10), held) is not None


def test_a_fall_is_supported_where_another_indicator_agrees_or_there_is_none():
    alone = RankDecline().check(reading(99, 30.0), past_of([60.0] * 10), StepContext("first_batches"))
    assert alone.corroborated
    past = past_of([60.0] * 10, participation_ratio=20.0)
    assert (
        not RankDecline()
        .check(reading(99, 30.0, participation_ratio=19.0), past, StepContext("first_batches"))
        .corroborated
    )
    agreed = RankDecline().check(reading(99, 30.0, participation_ratio=9.0), past, StepContext("first_batches"))
    assert agreed.corroborated
    assert agreed.evidence.endswith("is 50% of its usual 60.0; its participation ratio is down to 45%, too")


def test_what_agrees_is_named_by_what_has_lost_most_in_words_that_say_only_what_differs():
    now = reading(99, 30.0, participation_ratio=14.0)
    curves = {"layers.1": ("layers.1", "frame", 24.0), "its rank at utterance level": ("layers.0", "utterance", 18.0)}
    for said, (layer, level, value) in curves.items():
        other = reading(99, value, layer=layer, level=level)
        series = {other.key: past_of([60.0] * 10)}
        context = StepContext("first_batches", {now.key: now, other.key: other}, series)
        found = RankDecline(utterance_below=0.6).check(now, past_of([60.0] * 10, participation_ratio=20.0), context)
        assert found.evidence.endswith(f"; {said} is down to {value / 60:.0%}, too"), found.evidence
    elsewhere = reading(99, 30.0, layer="layers.0", source="clips")
    assert other_curve(elsewhere.key, now) == "its rank on evaluation set 'clips'"
    assert other_curve(("train", "frame", "layers.1"), now) == "layers.1 in the training pass"


def test_another_layer_of_the_same_set_agrees_and_one_of_the_training_pass_does_not():
    now = reading(99, 30.0, participation_ratio=19.0)
    for source, corroborated in (("first_batches", True), ("train", False)):
        other = reading(99, 30.0, layer="layers.1", source=source)
        series = {other.key: past_of([60.0] * 10)}
        context = StepContext("first_batches", {now.key: now, other.key: other}, series)
        found = RankDecline().check(now, past_of([60.0] * 10, participation_ratio=20.0), context)
        assert found.corroborated is corroborated


def fallen_from_the_start(levels, judged=-1):
    """What is said of a layer (the last unless said otherwise) where layers read 60 at first and these levels now."""
    now = [reading(99, level, layer=f"layers.{i}") for i, level in enumerate(levels)]
    pasts = [past_of([60.0] * 4 + [level] * 6, lr_warming_up=True) for level in levels]
    series = dict(zip((r.key for r in now), pasts, strict=True))
    context = StepContext("first_batches", {r.key: r for r in now}, series)
    return RankDecline().check(now[judged], pasts[judged], context)


@pytest.mark.parametrize(("first", "corroborated"), [(29.0, True), (31.0, False)])
def test_a_fall_from_the_start_is_borne_out_by_the_first_layer_that_lost_half(first, corroborated):
    """Deep layers come down far from a random network's rank while a run is healthy; the first one doesn't."""
    found = fallen_from_the_start([first, 12.0, 15.0])
    assert "of the 60.0 of its early readings" in found.evidence
    assert ("layers.0 is down to 48%, too" in found.evidence) is corroborated
    assert found.corroborated is corroborated


def test_the_first_layer_itself_bears_out_its_fall_unless_it_is_the_only_one():
    assert fallen_from_the_start([15.0, 60.0], judged=0).corroborated
    assert not fallen_from_the_start([15.0], judged=0).corroborated


@pytest.mark.parametrize(("between", "corroborated"), [(0.03, True), (0.06, False)])
def test_a_fall_from_the_start_is_borne_out_by_utterances_that_became_alike(between, corroborated):
    """Three tenths of the variance lay between them: less than a quarter of that, and a twentieth at most, is left."""
    past = past_of([60.0] * 6, lr_warming_up=True, within_utterance_variance_fraction=0.7)
    now = reading(99, 15.0, within_utterance_variance_fraction=1.0 - between)
    found = RankDecline().check(now, past, StepContext("first_batches", lr_warming_up=True))
    assert found.corroborated is corroborated
    assert found.evidence.endswith("; utterances have become alike, too") is corroborated


@pytest.mark.parametrize(("rank", "corroborated"), [(9.5, False), (8.5, True)])
def test_a_fall_from_the_start_to_nearly_nothing_speaks_for_itself(rank, corroborated):
    assert fallen_from_the_start([60.0, rank]).corroborated is corroborated


@pytest.mark.parametrize(("per_reading", "corroborated"), [(1.0, True), (0.965, False)])
def test_a_slow_contraction_that_crosses_the_line_is_a_warning(per_reading, corroborated):
    """At 28 of what was 60: from one clean reading to the next it lost next to nothing."""
    found = check(RankDecline(), [60.0 * per_reading**i for i in range(20)], 28.0)
    assert found.can_be_critical
    assert found.corroborated is corroborated


@pytest.mark.parametrize(("usual", "now", "corroborated"), [(0.97, 0.1, False), (0.97, 0.95, True), (0.5, 0.1, True)])
@pytest.mark.parametrize("detector", [RankDecline(), SuddenRankDrop()])
def test_a_rank_beside_a_shared_vector_is_no_reference_once_that_has_gone(detector, usual, now, corroborated):
    """What wav2vec 2.0 does when it begins to learn: 97 % of the energy was one vector, and then a tenth."""
    past = past_of([60.0] * 20, mean_energy_fraction=usual)
    found = detector.check(reading(99, 25.0, mean_energy_fraction=now), past, StepContext("first_batches"))
    assert found.corroborated is corroborated


def test_before_there_is_a_reference_the_highest_that_was_held_counts():
    """A layer that rises from the initialisation's rank and then falls back to it."""
    past = past_of([20.0] * 4 + [60.0] * 20, lr_warming_up=True)
    assert past.initial_level(4) == pytest.approx(60.0)
    assert past_of([60.0] * 4, lr_warming_up=True).initial_level(4) == pytest.approx(60.0)


@pytest.mark.parametrize(("now", "half_width", "corroborated"), [(7.0, 0.5, True), (8.3, 0.2, False), (8.3, 2.0, True)])
def test_a_rank_on_its_way_back_from_the_start_is_a_warning(now, half_width, corroborated):
    """A quarter above the lowest so far, beyond its own error: CPC's fell to 6 of 56 in the warm-up, and then rose."""
    found = check(RankDecline(), [56.0, 56.0, 10.0, 6.4, 6.4], now, lr_warming_up=True, half_width=half_width)
    assert found.can_be_critical
    assert found.corroborated is corroborated


def jumping(by, n=14):
    """Up and down by this factor, around a trend downwards."""
    return [60.0 * 0.97**i * (by if i % 2 else 1.0) for i in range(n)]


@pytest.mark.parametrize(("by", "n", "found"), [(1.06, 14, True), (1.04, 14, False), (1.5, 13, False)])
def test_a_rank_that_jumps_up_and_down_is_unsteady_and_a_steep_trend_is_not(by, n, found):
    """A second difference of log by to and fro is 2 log by: 0.117 and 0.078."""
    *before, now = jumping(by, n + 1)
    assert (check(UnstableRank(), before, now) is not None) is found
    assert check(UnstableRank(), before, now, lr_warming_up=True) is None
    assert check(UnstableRank(), [60.0 * 0.8**i for i in range(14)], 60.0 * 0.8**14) is None


@pytest.mark.parametrize(("rank", "found"), [(29.0, True), (31.0, False)])
def test_a_sudden_drop_is_to_less_than_half_of_what_was_just_before(rank, found):
    assert (check(SuddenRankDrop(), [60.0] * 10, rank) is not None) is found
    assert check(SuddenRankDrop(), [60.0] * 4, rank) is None  # the dip after the start
    assert check(SuddenRankDrop(), [60.0] * 10, rank, lr_warming_up=True) is None


@pytest.mark.parametrize(("after", "found"), [(2, False), (3, True)])
def test_a_sudden_drop_is_never_one_from_the_warm_ups_rank(after, found):
    """A recurrent encoder's rank fell to an eighth in the warm-up, and was on its way back."""
    past = past_of([60.0] * 6, lr_warming_up=True)
    for step in range(6, 6 + after):
        past.add(reading(step, 60.0), clean=True)
    context = StepContext("first_batches")
    assert (SuddenRankDrop().check(reading(6 + after, 20.0), past, context) is not None) is found


def test_a_fall_of_the_training_pass_alone_is_one_of_the_data():
    now = reading(99, 20.0, source="train")
    for inside, found in ((60.0, False), (20.0, True)):
        probe = reading(99, inside)
        context = StepContext("first_batches", {probe.key: probe}, {probe.key: past_of([60.0] * 10)})
        assert (RankDecline().check(now, past_of([60.0] * 10), context) is not None) is found
