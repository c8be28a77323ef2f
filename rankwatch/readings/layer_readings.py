"""From the rows of all layers to their readings: the expensive part of a reading."""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field, replace

from rankwatch.extraction.rows.row_buffer import Key, Rows
from rankwatch.extraction.rows.row_sampling import BRIEF, FULL
from rankwatch.extraction.rows.sampling_options import RowSampling
from rankwatch.extraction.taps.operations import UNKNOWN
from rankwatch.numerics import Sample, estimate_from_sample
from rankwatch.readings.brief_links import BriefLinks
from rankwatch.readings.drift.drift_memory import DriftMemory
from rankwatch.readings.probe_accuracy import with_accuracy
from rankwatch.readings.protocol import TRAIN, Protocol
from rankwatch.readings.reading import Reading
from rankwatch.readings.reading_from_sample import measure
from rankwatch.runtime.background_job import forks

Failure = tuple[str, Exception]
"""What was being done, and what went wrong."""


@dataclass
class LayerReadings:
    """What came of the rows of one step.

    Attributes:
        readings: In the order of sources, levels and layers.
        failures: What failed; a failure costs only its own reading or probe.
        brief_sets: Whether there is a set that can be read briefly.
    """

    readings: list[Reading] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)
    brief_sets: bool = False


def layer_readings(
    step: int,
    shares: MutableMapping[Key, list[Rows]],
    protocols: Mapping[tuple[str, str], Protocol],
    links: BriefLinks,
    taps: Mapping[tuple[str, str], str],
    *,
    sources: Sequence[str],
    layers: Sequence[str],
    sampling: RowSampling,
    memory: DriftMemory | None = None,
    settled: bool = False,
) -> LayerReadings:
    """Measure every curve of which there are rows.

    Args:
        step: Optimiser step.
        shares: Rows of each process, by source, level and layer; they are given up one after the other, since together
            they may be large.
        protocols: The conditions, by source and level.
        links: Join brief readings with full ones; full ones are taken in.
        taps: Where layers were tapped, by source and layer, where that is known.
        sources: Names of the sources, the primary set first.
        layers: Paths of the watched layers, in order.
        sampling: Projection and seed.
        memory: What the primary set's readings are compared with to tell their drift; None where that isn't watched.
        settled: Whether the warm-up is over, so that later drift may be told from this reading on.

    Returns:
        The readings, and what failed.
    """
    order = {layer: index for index, layer in enumerate(layers)}
    found = LayerReadings()
    for source, level, layer in sorted(shares, key=lambda key: (sources.index(key[0]), key[1], order[key[2]])):
        doing = f"measuring {layer}"
        try:
            with forks.blocked():
                rows = Rows.joined(shares.pop((source, level, layer)))
                protocol = replace(protocols[source, level], tap=taps.get((source, layer), UNKNOWN))
                reading = _measured(rows, step, layer, protocol, links, sampling)
                found.readings.append(reading)
                found.brief_sets |= bool((rows.samples & BRIEF).any())
                doing = f"the linear probe of {layer}"
                if not reading.brief:
                    found.readings[-1] = with_accuracy(reading, rows.of(FULL))
                doing = "drift"
                if memory is not None and source == sources[0] != TRAIN and not reading.brief:
                    reading = found.readings[-1]
                    found.readings[-1] = memory.take(reading, rows.of(FULL), seed=sampling.seed, settled=settled)
        except Exception as error:
            found.failures.append((doing, error))
    return found


def _measured(
    rows: Rows, step: int, layer: str, protocol: Protocol, links: BriefLinks, sampling: RowSampling
) -> Reading:
    """A full reading, which the links take in, or where every row belongs to a brief one, that."""
    if len(rows.samples) and bool((rows.samples & BRIEF).all()):
        return links.apply(measure(_sample(rows, sampling), step=step, layer=layer, protocol=protocol))
    reading = measure(_sample(rows.of(FULL), sampling), step=step, layer=layer, protocol=protocol)
    some = rows.of(BRIEF)
    if len(some.samples):
        links.learn(reading, estimate_from_sample(_sample(some, sampling)))
    return reading


def _sample(rows: Rows, sampling: RowSampling) -> Sample:
    columns = sampling.columns(rows.rows.shape[1])
    return Sample.from_rows(rows.rows, rows.groups, columns, sampling.seed, rounding=rows.rounding)
