"""Pasts made of columns of effective ranks."""

from readings import reading

from rankwatch.alarms.detectors import StepContext
from rankwatch.alarms.history import Series


def past_of(ranks, warming=False, **made):
    """A curve's past."""
    series = Series("")
    for i, rank in enumerate(ranks):
        series.add(reading(i, rank, **made), sound=True, warming=warming)
    return series


def check(detector, ranks, now, warming=False, **made):
    """What a detector says about a reading after these."""
    return detector.check(
        reading(len(ranks), now, **made), past_of(ranks, **made), StepContext("first_batches", warming=warming)
    )
