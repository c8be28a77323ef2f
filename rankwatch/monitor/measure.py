"""From samples of rows to readings: a pure function, the same on every process."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import torch

from rankwatch.monitor.reading import Protocol, Reading
from rankwatch.numerics import Sample, Spectrum, analyse, indicators

_SPECTRUM_POINTS = 64
_NARROW = 256


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
    with _threads_for(sample.d):
        estimate = analyse(sample)
        metrics = dict(indicators(sample, estimate))
    seen = estimate.n + sample.n_nonfinite
    metrics["noise_floor"] = estimate.noise_floor
    metrics["non_finite_share"] = sample.n_nonfinite / seen if seen else 0.0
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
    )


@contextlib.contextmanager
def _threads_for(width: int) -> Iterator[None]:
    """One thread for narrow layers: more only wait for each other (0.1 s instead of 0.2 to 0.3 for ten at d = 128)."""
    threads = torch.get_num_threads()
    if width > _NARROW or threads == 1:
        yield
        return
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


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
