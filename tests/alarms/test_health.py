"""One number for the run: 1 for what healthy runs do, half for what only a warning is about, low for what is lost."""

import math

import pytest
from readings import reading

from rankwatch.alarms.detectors import Finding
from rankwatch.alarms.health import health
from rankwatch.alarms.history import Series


def health_of(rank, *, usual=60.0, finding=None, **metrics):
    """A layer with ten clean readings behind it, and a second one that is as ever."""
    now, other = reading(99, rank, **metrics), reading(99, 60.0, layer="layers.1")
    series = {}
    for one, level in ((now, usual), (other, 60.0)):
        series[one.key] = Series("")
        for step in range(10):
            series[one.key].add(reading(step, level), clean=True)
    findings = {} if finding is None else {now.key: finding}
    return health([now, other], series, findings, primary="first_batches")


@pytest.mark.parametrize(
    ("rank", "expected"), [(70.0, 1.0), (60.0, 1.0), (46.0, 1.0), (36.0, 0.8), (22.5, 0.5), (0.0, 0.0)]
)
def test_three_quarters_of_the_usual_rank_are_whole(rank, expected):
    assert health_of(rank) == pytest.approx(expected)


def test_dead_dimensions_and_rows_that_are_not_finite_take_their_share():
    assert health_of(60.0, dead_dimension_fraction=0.25) == pytest.approx(0.75)
    assert health_of(60.0, non_finite_fraction=0.5, dead_dimension_fraction=0.5) == pytest.approx(0.25)


@pytest.mark.parametrize(
    ("how", "expected"),
    [({}, 0.1), ({"can_be_critical": False}, 0.5), ({"corroborated": False}, 0.5)],
)
def test_what_can_only_be_a_warning_takes_half_at_most(how, expected):
    assert health_of(60.0, finding=Finding("something", 0.1, **how)) == pytest.approx(expected)


def test_a_finding_never_makes_it_better_and_nothing_measured_is_nan():
    assert health_of(15.0, finding=Finding("something", 0.9)) == pytest.approx(1.0 / 3.0)
    assert math.isnan(health([], {}, {}, primary="first_batches"))
