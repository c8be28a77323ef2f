"""From the rows of all layers to their readings: the expensive part of a reading."""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping, Sequence

from rankwatch.extraction.rows.row_buffer import Key, Rows
from rankwatch.extraction.rows.sampling_options import RowSampling
from rankwatch.numerics import Sample
from rankwatch.readings.probe_accuracy import with_accuracy
from rankwatch.readings.protocol import Protocol
from rankwatch.readings.reading import Reading
from rankwatch.readings.reading_from_sample import measure
from rankwatch.runtime.background_job import forks

Failure = tuple[str, Exception]
"""What was being done, and what went wrong."""


def layer_readings(
    step: int,
    shares: MutableMapping[Key, list[Rows]],
    protocols: Mapping[tuple[str, str], Protocol],
    *,
    sources: Sequence[str],
    layers: Sequence[str],
    sampling: RowSampling,
) -> tuple[list[Reading], list[Failure]]:
    """Measure every curve of which there are rows, in the order of sources, levels and layers.

    Args:
        step: Optimiser step.
        shares: Rows of each process, by source, level and layer; they are given up one after the other, since together
            they may be large.
        protocols: The conditions, by source and level.
        sources: Names of the sources, the primary set first.
        layers: Paths of the watched layers, in order.
        sampling: Projection and seed.

    Returns:
        The readings, and what failed; a failure costs only its own reading or probe.
    """
    order = {layer: index for index, layer in enumerate(layers)}
    readings: list[Reading] = []
    failures: list[Failure] = []
    for source, level, layer in sorted(shares, key=lambda key: (sources.index(key[0]), key[1], order[key[2]])):
        doing = f"measuring {layer}"
        try:
            with forks.blocked():
                rows = Rows.joined(shares.pop((source, level, layer)))
                columns = sampling.columns(rows.rows.shape[1])
                sample = Sample.from_rows(rows.rows, rows.groups, columns, sampling.seed, rounding=rows.rounding)
                readings.append(measure(sample, step=step, layer=layer, protocol=protocols[source, level]))
                doing = f"the linear probe of {layer}"
                readings[-1] = with_accuracy(readings[-1], rows)
        except Exception as error:
            failures.append((doing, error))
    return readings, failures
