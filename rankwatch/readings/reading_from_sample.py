"""From samples of rows to readings: a pure function, the same on every process."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from rankwatch.numerics import Sample, Spectrum, collapse_indicators, estimate_from_sample
from rankwatch.numerics.rows.sample import NO_GROUP
from rankwatch.readings.protocol import Protocol
from rankwatch.readings.reading import Reading

_SPECTRUM_POINTS = 64


def measure(sample: Sample, *, step: int, layer: str, protocol: Protocol) -> Reading:
    """One reading from one sample.

    Args:
        sample: Rows in canonical order (from `merge`).
        step: Optimiser steps taken.
        layer: The layer's path.
        protocol: The conditions; width and projection are filled in from the sample.

    Returns:
        The reading. Where nothing can be estimated its rank is NaN and its status says why.
    """
    estimate = estimate_from_sample(sample)
    metrics = dict(collapse_indicators(sample, estimate))
    seen = estimate.n + sample.n_nonfinite
    metrics["noise_floor"] = estimate.noise_floor
    metrics["non_finite_fraction"] = sample.n_nonfinite / seen if seen else 0.0
    return Reading(
        step=step,
        source=protocol.source,
        level=protocol.level,
        layer=layer,
        effective_rank=estimate.value,
        effective_rank_low=estimate.low,
        effective_rank_high=estimate.high,
        rankme=estimate.rankme,
        metrics=metrics,
        status=estimate.status,
        n=estimate.n,
        d=estimate.d,
        k=estimate.k,
        protocol=replace(protocol, d=estimate.d, k=estimate.k),
        spectrum=_curve(estimate.spectrum),
        utterances=len(np.unique(sample.groups.numpy()[sample.groups.numpy() != NO_GROUP])),
    )


def _curve(spectrum: Spectrum) -> tuple[float, ...]:
    """Singular values relative to the largest, at positions spaced geometrically from 1 to d."""
    positions = np.arange(1, spectrum.d + 1)
    if not len(positions):
        return ()
    values = spectrum.singular_values(positions.tolist())
    if not np.isfinite(values).all() or values[0] <= 0.0:
        return ()
    curve = np.interp(np.geomspace(1, spectrum.d, _SPECTRUM_POINTS), positions, values / values[0])
    return tuple(curve.tolist())
