"""What is wrong beside the layer's own past."""

import pytest
from curves import check, past_of
from readings import reading

from rankwatch.alarms.detectors import (
    FrozenRepresentation,
    RankDecline,
    SlowRankDecline,
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


@pytest.mark.parametrize(("other", "corroborated"), [(30.0, True), (55.0, False)])
def test_a_fall_from_the_start_is_borne_out_by_layers_that_fell_from_theirs(other, corroborated):
    """Where a run collapses in its warm-up, what comes after it is no reference: all that has collapsed reads 1."""
    now, elsewhere = reading(99, 15.0), reading(99, other, layer="layers.1")
    pasts = [past_of([60.0] * 4 + [level] * 6, lr_warming_up=True) for level in (15.0, other)]
    series = dict(zip((r.key for r in (now, elsewhere)), pasts, strict=True))
    found = RankDecline().check(
        now, pasts[0], StepContext("first_batches", {r.key: r for r in (now, elsewhere)}, series)
    )
    assert "of the 60.0 of its early readings" in found.evidence
    assert found.corroborated is corroborated


def test_a_fall_from_the_start_to_nearly_nothing_speaks_for_itself_and_the_utterance_level_is_not_asked():
    elsewhere, mean = reading(99, 60.0, layer="layers.1"), reading(99, 20.0, level="utterance")
    for rank, corroborated in ((15.0, False), (11.0, True)):
        now = reading(99, rank)
        pasts = [past_of([60.0] * 6, lr_warming_up=True) for _ in range(3)]
        series = dict(zip((r.key for r in (now, elsewhere, mean)), pasts, strict=True))
        found = RankDecline().check(
            now,
            pasts[0],
            StepContext("first_batches", {r.key: r for r in (now, elsewhere, mean)}, series),
        )
        assert found.corroborated is corroborated


def test_before_there_is_a_reference_the_highest_that_was_held_counts():
    """A layer that rises from the initialisation's rank and then falls back to it."""
    past = past_of([20.0] * 4 + [60.0] * 20, lr_warming_up=True)
    assert past.initial_level(4) == pytest.approx(60.0)
    assert past_of([60.0] * 4, lr_warming_up=True).initial_level(4) == pytest.approx(60.0)


@pytest.mark.parametrize(("now", "half_width", "corroborated"), [(7.0, 0.5, True), (9.0, 0.5, False), (9.0, 2.0, True)])
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


def test_a_slow_slide_is_never_grave():
    found = check(SlowRankDecline(), [60.0] * 30, 20.0)
    assert not found.can_be_critical
    assert check(SlowRankDecline(), [60.0] * 30, 25.0) is None


def test_a_fall_of_the_training_pass_alone_is_one_of_the_data():
    now = reading(99, 20.0, source="train")
    for inside, found in ((60.0, False), (20.0, True)):
        probe = reading(99, inside)
        context = StepContext("first_batches", {probe.key: probe}, {probe.key: past_of([60.0] * 10)})
        assert (RankDecline().check(now, past_of([60.0] * 10), context) is not None) is found


@pytest.mark.parametrize(
    ("other", "rate", "found"), [(1e-5, 0.5, True), (1e-2, 0.5, False), (1e-5, 0.1, False), (1e-5, float("nan"), False)]
)
def test_a_standstill_is_one_of_all_layers_at_a_high_learning_rate(other, rate, found):
    now = {name: reading(99, 60.0, layer=name) for name in ("a", "b")}
    series = {now["a"].key: past_of([60.0] * 9), now["b"].key: past_of([60.0 * (1 + other)] * 9)}
    context = StepContext("first_batches", {r.key: r for r in now.values()}, series, learning_rate=rate)
    assert (FrozenRepresentation().check(now["a"], series[now["a"].key], context) is not None) is found


def test_a_few_equal_readings_are_no_standstill():
    now = reading(99, 60.0)
    past = past_of([60.0] * 6)
    assert (
        FrozenRepresentation().check(
            now, past, StepContext("first_batches", {now.key: now}, {now.key: past}, learning_rate=1.0)
        )
        is None
    )
