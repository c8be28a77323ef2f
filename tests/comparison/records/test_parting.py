"""The step at which curves part: found where it is, with what isn't known about it, and not found in twins."""

import numpy as np
import pytest

from rankwatch.comparison.records.parting import parting
from rankwatch.comparison.records.run_curves import LogCurve

STEPS = np.arange(0, 1000, 10)
MARGIN, HALF = 0.1, 0.02


def curve(gap, seed, noise=HALF / 1.645):
    logs = 4.0 + gap + noise * np.random.default_rng(seed).standard_normal(STEPS.size)
    return LogCurve(STEPS, logs, np.full(STEPS.size, HALF))


def growing(size=0.8, begin=300, end=700):
    return size * np.clip((STEPS - begin) / (end - begin), 0.0, 1.0)


def test_the_step_lies_between_the_last_alike_and_the_first_apart():
    """The gap passes 0.1 at step 350."""
    held = 0
    for seed in range(40):
        step, alike, apart, sign = parting((curve(growing(), 2 * seed), curve(0.0, 2 * seed + 1)), MARGIN, True, 10)
        assert sign == 1
        assert alike is not None
        assert apart is not None
        assert alike < step <= apart
        held += alike <= 350 <= apart
    assert held >= 38


def test_twins_never_part_for_sure():
    found = [parting((curve(0.0, 2 * s), curve(0.02, 2 * s + 1)), MARGIN, True, 10)[2] for s in range(60)]
    assert found == [None] * 60


def test_curves_that_meet_again_have_not_parted():
    gap = growing() * (STEPS < 900)
    step, _, apart, _ = parting((curve(gap, 0, 0.001), curve(0.0, 1, 0.001)), MARGIN, True, 10)
    assert (step, apart) == (None, None)


def test_what_was_never_alike_parts_at_the_first_step_and_wide_intervals_leave_it_open():
    low, high = curve(0.0, 0, 0.001), curve(1.0, 1, 0.001)
    assert parting((low, high), MARGIN, True, 10) == (0, None, 0, -1)
    vague = LogCurve(STEPS, high.logs, np.full(STEPS.size, 2.0))
    assert parting((low, vague), MARGIN, True, 10)[:3] == (0, None, None)


def test_only_steps_that_both_have_count():
    other = LogCurve(STEPS + 5, np.zeros(STEPS.size), np.full(STEPS.size, HALF))
    assert parting((curve(0.0, 0), other), MARGIN, True, 10) == (None, None, None, 0)
    half = LogCurve(STEPS[::2], curve(1.0, 1).logs[::2], np.full(STEPS[::2].size, HALF))
    assert parting((curve(0.0, 0), half), MARGIN, True, 10)[2] == 0


@pytest.mark.parametrize(("gap", "sure"), [(0.12, True), (0.105, False)])
def test_what_seeds_do_is_weighed_with_the_error_in_quadrature(gap, sure):
    found = parting((curve(gap, 0, 0.0), curve(0.0, 1, 0.0)), MARGIN, False, 1)
    assert (found[2] == 0) == sure
    assert parting((curve(gap, 0, 0.0), curve(0.0, 1, 0.0)), MARGIN, True, 1)[2] is None
