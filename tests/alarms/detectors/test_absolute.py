"""What is wrong whatever came before."""

import math
from dataclasses import replace

import pytest
from readings import reading

from rankwatch.alarms.alarm_state import AlarmState
from rankwatch.alarms.detectors import (
    Anisotropy,
    CompleteCollapse,
    DeadDimensions,
    GrowingAnisotropy,
    LowRank,
    NonFinite,
    StepContext,
)
from rankwatch.alarms.history import Series

HERE = StepContext("first_batches")


def check(detector, rank=60.0, **made):
    return detector.check(reading(0, rank, **made), Series(""), HERE)


@pytest.mark.parametrize(("share", "can_be_critical"), [(0.01, False), (0.49, False), (0.5, True), (1.0, True)])
def test_nan_in_most_rows_is_grave_in_a_few_a_warning(share, can_be_critical):
    found = check(NonFinite(), math.nan if share == 1.0 else 60.0, non_finite_fraction=share)
    assert found.can_be_critical is can_be_critical
    assert found.ratio == pytest.approx(1.0 - share)
    assert check(NonFinite()) is None


def test_rounding_to_bfloat16_still_counts_as_constant():
    assert check(CompleteCollapse(), mean_energy_fraction=1.0 - 5e-6) is not None
    assert check(CompleteCollapse(), mean_energy_fraction=1.0 - 5e-5) is None
    assert check(CompleteCollapse(), level="utterance", mean_energy_fraction=1.0 - 5e-6) is None


def test_a_shared_vector_is_one_of_frames():
    assert check(Anisotropy(), mean_energy_fraction=0.9996) is not None
    assert check(Anisotropy(), mean_energy_fraction=0.9994) is None
    assert check(Anisotropy(), level="utterance", mean_energy_fraction=0.9999) is None


@pytest.mark.parametrize(
    ("readings", "now", "holds"), [(10, 50.0, True), (10, 45.0, False), (3, 25.0, True), (3, 20.0, False)]
)
def test_a_shared_vector_is_information_as_long_as_the_rest_keeps_its_rank(readings, now, holds):
    """0.8 of the reference once there is one, until then 0.35 of the early readings."""
    past = Series("")
    for step in range(readings):
        past.add(reading(step, 60.0), clean=True)
    assert (past.reference(4) is None) == (readings == 3)
    found = Anisotropy().check(reading(readings, now, mean_energy_fraction=0.9996), past, HERE)
    assert found.info_only == holds
    assert found.can_be_critical != holds
    assert found.ratio == (1.0 if holds else 0.0)
    assert ("rank of the rest holds" in found.evidence) == holds


@pytest.mark.parametrize(
    ("before", "utterances", "critical"),
    [(0.5, 20.0, True), (0.5, 35.0, False), (0.9985, 20.0, False)],  # 60 before; a fifth of 1 - 0.9985 is 0.0003
)
def test_a_shared_vector_that_grows_while_utterances_lose_half_may_be_critical(before, utterances, critical):
    """Noise has a high rank: so a masked autoencoder ended whose norms were decayed, and all probes with it."""
    frames, means = Series(""), Series("")
    for step in range(10):
        frames.add(reading(step, 60.0, mean_energy_fraction=before), clean=True)
        means.add(reading(step, 60.0, level="utterance"), clean=True)
    now, of_now = reading(10, 70.0, mean_energy_fraction=0.9996), reading(10, utterances, level="utterance")
    context = StepContext("first_batches", {r.key: r for r in (now, of_now)}, {now.key: frames, of_now.key: means})
    found = Anisotropy().check(now, frames, context)
    assert (found.can_be_critical, found.info_only) == (critical, not critical)
    assert ("utterances is 33% of its usual" in found.evidence) == critical


def judged(steps, detector):
    """Assessments of steps, each with a share of the mean vector and an utterance level, or None in a brief reading."""
    state = AlarmState("first_batches", [detector])
    found = []
    for step, (share, utterances) in enumerate(steps):
        readings = [reading(step, 60.0, mean_energy_fraction=share)]
        if utterances is not None:
            readings.append(reading(step, utterances, level="utterance"))
        found.append(state.assess(step, readings))
    return found


def test_brief_readings_go_by_the_newest_utterance_level():
    full, brief = [(0.5, 60.0)] * 10, [(0.9996, None)] * 6
    found = judged([*full, *[(0.9996, 20.0)] * 3, *brief], Anisotropy())
    assert [one.level for one in found[12:]] == [2] * 7  # it doesn't end where utterances aren't read
    assert not any(one.healthy for one in found[10:])
    found = judged([*full, *[(0.9996, None)] * 6], Anisotropy())
    assert {one.level for one in found} == {0}
    found = judged([*full, *[(0.98, None)] * 6], GrowingAnisotropy())  # nor is it one while utterances hold
    assert {one.level for one in found} == {0}


def test_a_shared_vector_that_leaves_too_few_digits_for_the_rest_is_a_warning():
    past = Series("")
    for step in range(10):
        past.add(reading(step, 60.0), clean=True)
    now = replace(reading(10, 60.0, mean_energy_fraction=0.9996), status=frozenset({"rounded"}))
    found = Anisotropy().check(now, past, HERE)
    assert not found.info_only
    assert not found.corroborated


@pytest.mark.parametrize(
    ("rank", "status", "found"),
    [(50.0, (), False), (45.0, (), True), (50.0, ("rounded",), True), (50.0, ("constant",), True)],
)
def test_rows_whose_rest_can_be_read_and_holds_its_rank_are_not_one_vector(rank, status, found):
    """In float32 a hundred-thousandth of the second moment is no rounding, in bfloat16 it may be."""
    past = Series("")
    for step in range(10):
        past.add(reading(step, 60.0), clean=True)
    now = replace(reading(10, rank, mean_energy_fraction=1.0 - 5e-6), status=frozenset(status))
    assert (CompleteCollapse().check(now, past, HERE) is not None) is found


@pytest.mark.parametrize("rank", [60.0, math.nan])
def test_a_shared_vector_without_a_past_or_a_rank_may_be_critical(rank):
    found = check(Anisotropy(), rank, mean_energy_fraction=0.9996)
    assert found.corroborated
    assert found.can_be_critical


@pytest.mark.parametrize(
    ("before", "now", "found"),
    [(0.8, 0.975, True), (0.8, 0.965, False), (0.97, 0.995, True), (0.97, 0.993, False), (0.995, 0.995, False)],
)
def test_embeddings_that_converge_are_a_warning_where_a_high_share_is_not(before, now, found):
    past = Series("")
    for step in range(8):
        past.add(reading(step, 60.0, mean_energy_fraction=before), clean=True, lr_warming_up=True)
    found_now = GrowingAnisotropy().check(reading(8, 60.0, mean_energy_fraction=now), past, HERE)
    assert (found_now is not None) == found
    assert found_now is None or (not found_now.can_be_critical and f"{before:.2%} before" in found_now.evidence)


def test_converging_ends_where_the_share_is_low_again_and_not_when_the_past_is_full_of_it():
    past, here = Series(""), reading(80, 60.0, mean_energy_fraction=0.98)
    for step in range(80):  # more than are kept
        past.add(reading(step, 60.0, mean_energy_fraction=0.5 if step < 8 else 0.98), clean=True)
    assert GrowingAnisotropy().check(here, past, HERE) is None
    held = StepContext("first_batches", open={("growing_anisotropy", here.key)})
    assert not GrowingAnisotropy().check(here, past, held).can_be_critical
    assert GrowingAnisotropy().check(reading(80, 60.0, mean_energy_fraction=0.96), past, held) is None


@pytest.mark.parametrize(("utterances", "found"), [(70.0, False), (46.0, False), (44.0, True), (math.nan, True)])
@pytest.mark.parametrize("brief", [False, True])
def test_converging_begins_only_where_utterances_span_fewer_dimensions_than_at_first(utterances, found, brief):
    past, before = Series(""), Series("")
    for step in range(8):
        past.add(reading(step, 60.0, mean_energy_fraction=0.5), clean=True)
        before.add(reading(step, 60.0, level="utterance"), clean=True)
    here, means = reading(8, 60.0, mean_energy_fraction=0.99), reading(8, utterances, level="utterance")
    if brief:  # of the frame level alone: the last full reading counts
        before.add(means, clean=False)
        context = StepContext("first_batches", {here.key: here}, {here.key: past, means.key: before})
    else:
        context = StepContext("first_batches", {here.key: here, means.key: means}, {means.key: before})
    assert (GrowingAnisotropy().check(here, past, context) is not None) == found
    held = replace(context, open={("growing_anisotropy", here.key)})
    assert GrowingAnisotropy().check(here, past, held) is not None


@pytest.mark.parametrize(
    ("settled_at", "utterances", "found"),
    [(None, 44.0, False), (None, 31.0, False), (None, 29.0, True), (0.985, 44.0, False), (0.985, 29.0, True)],
)
def test_what_has_converged_before_the_layer_settled_counts_where_utterances_lost_half(settled_at, utterances, found):
    """Each layer does while all that its loss has told yet is how often each target comes."""
    past, before = Series(""), Series("")
    for step in range(8):
        past.add(reading(step, 60.0, mean_energy_fraction=0.5), clean=True, lr_warming_up=step < 4)
        before.add(reading(step, 60.0, level="utterance"), clean=True)
    past.recent_clean = past.recent_clean[:4]  # the four of the warm-up
    for step in range(8, 14):
        if settled_at is not None:
            past.add(reading(step, 60.0, mean_energy_fraction=settled_at), clean=True)
    here, means = reading(14, 60.0, mean_energy_fraction=0.99), reading(14, utterances, level="utterance")
    context = StepContext("first_batches", {here.key: here, means.key: means}, {means.key: before})
    assert (past.usual("mean_energy_fraction", 4) is None) == (settled_at is None)
    assert (GrowingAnisotropy().check(here, past, context) is not None) == found


@pytest.mark.parametrize(("first", "found"), [(64.0, True), (56.0, False)])
def test_what_utterances_lost_since_the_start_is_seen_from_the_highest_of_their_first_readings(first, found):
    past, before = Series(""), Series("")
    for step in range(8):
        past.add(reading(step, 60.0, mean_energy_fraction=0.5), clean=True, lr_warming_up=True)
        before.add(reading(step, first if step == 0 else 40.0, level="utterance"), clean=True)
    here, means = reading(8, 60.0, mean_energy_fraction=0.99), reading(8, 30.0, level="utterance")
    context = StepContext("first_batches", {here.key: here, means.key: means}, {means.key: before})
    assert (GrowingAnisotropy().check(here, past, context) is not None) == found


def test_converging_needs_a_past():
    assert check(GrowingAnisotropy(), mean_energy_fraction=0.995) is None


def test_few_dimensions_are_judged_by_the_upper_end():
    assert check(LowRank(), 2.4) is not None
    assert check(LowRank(), 2.4, half_width=0.2) is None


@pytest.mark.parametrize(
    ("utterances", "corroborated"), [(38.0, False), (25.0, True), (2.0, True), (math.nan, True), (None, True)]
)
def test_few_dimensions_are_no_loss_as_long_as_utterances_span_and_keep_more(utterances, corroborated):
    """Their means lie in the span of the frames: two large directions hide what there is, and nothing has gone."""
    before = Series("")
    for step in range(10):
        before.add(reading(step, 40.0 if utterances != 2.0 else 2.0, level="utterance"), clean=True)
    here, means = reading(10, 2.2), reading(10, utterances or 0.0, level="utterance")
    context = StepContext("first_batches", {here.key: here, means.key: means}, {means.key: before})
    found = LowRank().check(here, Series(""), HERE if utterances is None else context)
    assert found.can_be_critical
    assert found.corroborated == corroborated
    assert ("utterances holds at 38.0" in found.evidence) != corroborated


@pytest.mark.parametrize(("share", "can_be_critical"), [(0.2, None), (0.3, False), (0.8, True)])
def test_dead_dimensions_are_counted_at_frame_level(share, can_be_critical):
    found = check(DeadDimensions(), dead_dimension_fraction=share)
    assert (found.can_be_critical if found else None) is can_be_critical
    assert check(DeadDimensions(), level="utterance", dead_dimension_fraction=share) is None
