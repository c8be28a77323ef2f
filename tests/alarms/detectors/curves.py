"""Pasts made of columns of effective ranks."""

from readings import reading

from rankwatch.alarms.detectors import StepContext
from rankwatch.alarms.history import Series


def past_of(ranks, lr_warming_up=False, **made):
    """A curve's past."""
    series = Series("")
    for i, rank in enumerate(ranks):
        series.add(reading(i, rank, **made), clean=True, lr_warming_up=lr_warming_up)
    return series


def check(detector, ranks, now, lr_warming_up=False, **made):
    """What a detector says about a reading after these."""
    return detector.check(
        reading(len(ranks), now, **made),
        past_of(ranks, **made),
        StepContext("first_batches", lr_warming_up=lr_warming_up),
    )
