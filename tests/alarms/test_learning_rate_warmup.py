"""When the learning rate's first rise is over."""

import pytest

from rankwatch.alarms.learning_rate_warmup import LearningRateWarmup


@pytest.mark.parametrize(
    ("rates", "readings"),
    [
        ([1, 2, 3, 4, 5, 4, 3], 5),
        ([1, 1, 2, 2, 3, 3, 2], 6),  # rises once an epoch
        ([1, 2, 3, 3, 3, 3, 3, 3, 3, 3], 8),  # holds its peak
        ([3, 3, 3, 3, 3, 3, 3, 3], 6),  # constant
        ([1, 2, 1, 2, 3, 4], 2),  # a schedule that starts again is no warm-up
        ([None, None], 0),
        ([5, 4, 3], 1),
    ],
)
def test_it_lasts_until_the_rate_falls_or_stands_still(rates, readings):
    warm_up = LearningRateWarmup()
    assert [warm_up.update(rate) for rate in rates] == [i < readings for i in range(len(rates))]
