"""Slow falls of ranks and of the perplexity are one warning; settling, noise, plateaus and sudden falls are none."""

import dataclasses

import numpy as np
import pytest
from curves import check
from readings import codebook_reading, reading

from rankwatch.alarms.alarm_state import AlarmState
from rankwatch.alarms.detectors import SlowPerplexityDecline, SlowRankDecline, default_detectors
from rankwatch.alarms.detectors.explanations import explanation

SLIDES = {
    "linear": lambda x: 200 - 100 * x,
    "exponential": lambda x: 200 * 0.5**x,
    "after a third": lambda x: 200 - 100 * np.clip((x - 0.3) / 0.7, 0, 1),
    "after a warm-up": lambda x: np.minimum(x / 0.05, 1) * (200 - 100 * x),
}
OTHERS = {
    "noise": lambda x: 150 + 0 * x,
    "settling in the first tenth": lambda x: 200 - 100 * np.minimum(x / 0.1, 1),
    "settling as most do": lambda x: 100 + 100 * np.exp(-x / 0.03),
    "a rise": lambda x: 50 + 100 * x,
    "a sudden fall": lambda x: np.where(x < 0.6, 200.0, 120.0),
    "two plateaus": lambda x: np.where(x < 0.1, 200.0, 120.0),
    "a slide of a fifth": lambda x: 200 - 40 * x,
}


def raised(perplexity, *, active=lambda x: 250, every=1000, steps=300_000, noise=0.05, restart=False):
    """All alarms of a run, and how much of its past was remembered at most."""
    generator = np.random.default_rng(0)
    alarms, remembered, state = [], 0, AlarmState("first_batches")
    for step in range(every, steps + 1, every):
        x = step / steps
        value = float(perplexity(np.float64(x)) * np.exp(noise * generator.standard_normal()))
        reading = codebook_reading(step, max(value, 1.0), codes=256)
        reading = dataclasses.replace(reading, active_codes=float(active(x)))
        alarms += state.assess(step, [], 1e-3, codebooks=[reading]).raised
        plain = state.state_dict()
        (series,) = plain["history"]
        remembered = max(remembered, len(series["long_term"]))
        if restart:
            state = AlarmState("first_batches")
            state.load_state_dict(plain, {reading.key})
    return alarms, remembered


@pytest.mark.parametrize("slide", SLIDES.values(), ids=SLIDES)
def test_a_slide_by_half_while_codes_stay_active_is_one_warning(slide):
    (alarm,), _ = raised(slide, every=2000)
    assert (alarm.kind, alarm.severity) == ("slow_perplexity_decline", "warning")
    assert 150_000 < alarm.step <= 300_000
    assert "250 codes are still in use" in alarm.message


@pytest.mark.parametrize("other", OTHERS.values(), ids=OTHERS)
def test_what_settles_holds_or_falls_at_once_is_none(other):
    alarms, _ = raised(other, every=2000)
    assert [alarm for alarm in alarms if alarm.kind == "slow_perplexity_decline"] == []


def test_codes_that_die_are_another_matter_and_unknown_ones_do_not_hide_it():
    alarms, _ = raised(SLIDES["linear"], active=lambda x: 250 - 125 * x, every=2000)
    assert "slow_perplexity_decline" not in {alarm.kind for alarm in alarms}
    (alarm,), _ = raised(SLIDES["linear"], active=lambda x: np.nan, every=2000)
    assert "codes" not in alarm.message


def test_a_short_run_is_never_judged():
    alarms, _ = raised(SLIDES["linear"], every=500, steps=100_000)
    assert alarms == []


def test_memory_is_bounded_and_a_restart_changes_nothing():
    alarms, remembered = raised(SLIDES["linear"], every=500)
    assert remembered <= 128
    again, _ = raised(SLIDES["linear"], every=500, restart=True)
    assert again == alarms
    assert len(alarms) == 1


def test_it_is_a_default_and_is_explained():
    assert SlowPerplexityDecline() in default_detectors()
    assert "teacher" in explanation("slow_perplexity_decline").remedies


@pytest.mark.parametrize(
    ("level", "rank", "found"),
    [("frame", 20.0, True), ("frame", 25.0, False), ("utterance", 20.0, False), ("utterance", 14.0, True)],
)
def test_a_rank_far_below_what_it_once_sustained_is_never_critical(level, rank, found):
    said = check(SlowRankDecline(), [60.0] * 30, rank, level=level)
    assert (said is not None) is found
    assert said is None or not said.can_be_critical


def test_a_rank_that_stays_where_it_crossed_the_line_is_one_warning():
    """A healthy run of 5,000 steps had ten, between 36 and 38 % at a line of 40 % and intervals of 5 %."""
    state = AlarmState("first_batches", [SlowRankDecline()])
    ranks = [60.0] * 16 + [22.0] * 5 + [26.0, 26.0, 26.0, 26.0, 22.0] * 8 + [36.0] * 8
    told = [state.assess(i, [reading(i, rank)]) for i, rank in enumerate(ranks)]
    assert [alarm.step for one in told for alarm in one.raised if alarm.kind == "slow_rank_decline"] == [18]
    assert (told[-9].level, told[-1].level) == (1, 0)
