"""A run from readings and alarms in memory, as the callback has them."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from rankwatch.readings.alarm import Alarm, level_of
from rankwatch.readings.codebook_reading import CodebookReading
from rankwatch.readings.protocol import Protocol
from rankwatch.readings.reading import ACCURACY, MAJORITY, Key, Reading
from rankwatch.readings.report import LayerRow, RunHeader
from rankwatch.reporting.recorded.kept_steps import KeptSteps, assemble
from rankwatch.reporting.recorded.record_fields import drift_numbers
from rankwatch.reporting.recorded.recorded_run import RecordedRun
from rankwatch.runtime.plain_data import to_plain


def run_from_readings(
    readings: Iterable[Reading],
    *,
    alarms: Iterable[Alarm] = (),
    codebooks: Iterable[CodebookReading] = (),
    name: str = "run",
) -> RecordedRun:
    """What figures are drawn from, without a file.

    Args:
        readings: Of layers, for example a callback's `readings`.
        alarms: For example a callback's `alarms`; each is drawn as if it held to the end.
        codebooks: Of quantizers.
        name: What the run is called.

    Returns:
        The run. Layers are numbered in the order in which they come: ``L00``, ``L01``, ...

    Raises:
        ValueError: If there is no reading.
    """
    steps, protocols = KeptSteps(), dict[str, Protocol]()
    curves, quantizers, n_codes = dict[Key, int](), dict[str, int](), dict[str, int]()
    protocol_of, widths = dict[Key, tuple[str, int]](), dict[Key, int]()
    both: list[Reading | CodebookReading] = [*readings, *codebooks]
    raised = list(alarms)
    for one in sorted(both, key=lambda reading: reading.step):
        row = steps.at(one.step)
        protocols[one.protocol.id] = one.protocol
        if isinstance(one, CodebookReading):
            index = quantizers.setdefault(one.quantizer, len(quantizers))
            n_codes[one.quantizer] = one.n_codes
            row.codebooks[index] = (one.perplexity, one.normalized_perplexity, one.active_code_fraction)
            continue
        index = curves.setdefault(one.key, len(curves))
        if protocol_of.get(one.key, ("", 0))[0] != one.protocol.id:
            protocol_of[one.key] = one.protocol.id, one.step
        widths[one.key] = one.d
        ends = (one.effective_rank_low, one.effective_rank_high, one.metrics.get(ACCURACY), one.metrics.get(MAJORITY))
        drift = drift_numbers([to_plain(drifted) for drifted in one.drift])
        row.curves[index] = (one.effective_rank, *(np.nan if end is None else end for end in ends), *drift)
        if one.spectrum:
            row.spectra[index] = list(one.spectrum)
        level = level_of(alarm for alarm in raised if alarm.step <= one.step)
        row.summary = (np.nan, float(level), np.nan, np.nan)
    if not both:
        raise ValueError("no reading to draw")
    layers = list(dict.fromkeys(layer for _, _, layer in curves))
    width = {layer: widths[key] for key in curves for layer in key[2:]}
    rows = [LayerRow(layer, f"L{i:02}", width[layer], "", "") for i, layer in enumerate(layers)]
    levels = list(dict.fromkeys(level for _, level, _ in curves)) or ["frame"]
    header = RunHeader("RankWatch", "", rows, levels, list(dict.fromkeys(source for source, _, _ in curves)), 0)
    kept = list(steps.rows())
    return RecordedRun(
        name=name,
        path="",
        header=header,
        n_readings=steps.seen,
        alarms=raised,
        protocols=protocols,
        **assemble(kept, curves, protocol_of, widths, quantizers, n_codes),
    )
