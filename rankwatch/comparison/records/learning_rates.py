"""Whether runs were trained at other learning rates, as far as their records hold them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from rankwatch.reporting.recorded.recorded_run import RecordedRun

_SAME = 0.01
"""Relative difference of learning rates that is none: records hold them in single precision."""


def learning_rates(runs: Sequence[RecordedRun], until: int) -> list[str]:
    """What is to be said of runs whose learning rate differs from that of the first.

    Args:
        runs: Two or more.
        until: Last step that counts.

    Returns:
        A sentence for each that differs at a step that both have read; none for runs whose records hold none, as
        those of replays.
    """
    said = []
    other = runs[0]
    for one in runs[1:]:
        steps, i, j = np.intersect1d(one.steps, other.steps, return_indices=True)
        rates, others = (run.learning_rate[at].astype(np.float64) for run, at in ((one, i), (other, j)))
        known = (steps <= until) & (rates > 0.0) & (others > 0.0) & np.isfinite(rates) & np.isfinite(others)
        steps, ratios = steps[known], rates[known] / others[known]
        differing = np.flatnonzero(np.abs(ratios - 1.0) > _SAME)
        if differing.size:
            first, last = ratios[differing].min(), ratios[differing].max()
            size = f"{first:.3g}" if last / first < 1.0 + _SAME else f"{first:.3g} to {last:.3g}"
            said.append(
                f"The learning rate of {one.name} is {size} times that of {other.name} "
                f"between steps {steps[differing[0]]} and {steps[differing[-1]]}."
            )
    return said
