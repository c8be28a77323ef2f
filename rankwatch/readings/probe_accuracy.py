"""The accuracy of a linear probe on a layer's labelled rows, as metrics of its reading."""

from __future__ import annotations

from dataclasses import replace

from rankwatch.extraction.rows.row_buffer import Rows
from rankwatch.numerics import grouped_probe
from rankwatch.readings.reading import ACCURACY, CHANCE, LABELLED, MAJORITY, Reading


def with_accuracy(reading: Reading, rows: Rows) -> Reading:
    """The reading with the accuracy of a linear probe among its metrics, where its rows are labelled.

    `rankwatch.numerics.grouped_probe` of the unprojected rows that have a label: speakers are left out in turn, or
    utterances where there are no speakers. 0.26 s for 2,048 rows of 768, 0.04 s for 512, on one core.

    Four frames of each of 196 utterances (emodb, 67 phones, five speakers; 725 rows have a phone) read 0.34 on the
    example's trained data2vec and 0.20 on its collapsing one (majority 0.10); frames that are drawn anew read 0.01 more
    or less (standard deviation; 0.02 on an untrained model of 768 columns), eight frames 0.36 and 0.24. From reading to
    reading the frames stay the same.

    Args:
        reading: Of these rows.
        rows: As they were drawn.

    Returns:
        A copy with the further metrics, or the reading itself where the set has no labels.
    """
    if not rows.labels.shape[1]:
        return reading
    known = rows.labels[:, 0] >= 0
    labels, speakers = rows.labels[known].unbind(dim=1)
    groups = speakers if bool((speakers >= 0).all()) else rows.groups[known]
    found = grouped_probe(rows.rows[known], labels, groups)
    metrics = {ACCURACY: found.accuracy, MAJORITY: found.majority, CHANCE: found.chance, LABELLED: float(len(labels))}
    return replace(reading, metrics={**reading.metrics, **metrics})
