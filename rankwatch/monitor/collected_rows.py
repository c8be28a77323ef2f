"""What one process has collected for a reading: rows of every source, and the codes that quantizers used."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from rankwatch.arguments.settings import Settings
from rankwatch.extraction.rows.row_buffer import RowBuffer
from rankwatch.monitor.codebook_collector import CodebookCollector
from rankwatch.monitor.row_collector import RowCollector
from rankwatch.readings.codebook_usage import CodeUsage
from rankwatch.readings.protocol import Protocol
from rankwatch.runtime.stopwatch import Stopwatch


@dataclass(frozen=True)
class CollectedRows:
    """What one process has for a reading.

    Attributes:
        step: Optimiser steps taken.
        windows: Rows, by source; given up as they are worked on.
        protocols: The conditions, by source and level.
        refused: Sources that can't be read at all, with the reason.
        error: What went wrong with others this time, or empty.
        elapsed: Seconds that the run has lasted.
        spent: Of these, what the callback has taken.
        shares_cpu_with_training: Whether decompositions take time from the training: the model is on the CPU too.
        rate: Learning rate, where it is known.
        usages: Codes used in the training pass, by quantizer.
        full: Whether all utterances were read.
        taps: Where layers were tapped, by source and layer, where that is known.
        repeated_batches: Whether the training batches around the reading before were one and the same.
    """

    step: int
    windows: Sequence[RowBuffer] = ()
    protocols: Mapping[tuple[str, str], Protocol] = field(default_factory=dict)
    refused: Mapping[str, str] = field(default_factory=dict)
    error: str = ""
    elapsed: float = 0.0
    spent: float = 0.0
    shares_cpu_with_training: bool = False
    rate: float | None = None
    usages: Mapping[str, CodeUsage] = field(default_factory=dict)
    full: bool = True
    taps: Mapping[tuple[str, str], str] = field(default_factory=dict)
    repeated_batches: bool = False


def collect_rows(
    step: int,
    settings: Settings,
    row_collector: RowCollector,
    codebooks: CodebookCollector,
    stopwatch: Stopwatch,
    *,
    full: bool = True,
) -> CollectedRows:
    """Run the evaluation sets through the model and draw rows.

    Where there are other processes, they wait for this one's rows: then a failure is noted instead of raised, unless
    the user asked for errors.

    Args:
        step: Optimiser steps taken.
        settings: The user's arguments.
        row_collector: Runs the sets.
        codebooks: Has counted codes in the training batches before.
        stopwatch: Where the time is counted.
        full: Whether all utterances are read.

    Returns:
        The rows of this process.
    """
    with stopwatch.part("forward"):
        try:
            windows, refused, error = row_collector.windows(full)
        except Exception as problem:
            if not row_collector.has_others or settings.strict:
                raise
            windows, refused, error = [], {}, f"{type(problem).__name__}: {problem}"
    row_collector.eval_pass.warn_of_silent_layers()
    about, levels = row_collector.protocol, settings.levels
    protocols = {(one.source, level): about(one.source, level) for one in windows for level in levels}
    curves = {(one.source, layer) for one in windows for _, layer in one.keys}
    taps = row_collector.row_extractor.taps.of_all(curves)
    with stopwatch.part("drawing"):
        usages = codebooks.take()
    protocols |= {(one.source, one.level): one for one in [codebooks.protocol] if usages}
    times = stopwatch.times
    return CollectedRows(step, windows, protocols, refused, error, *times, usages=usages, full=full, taps=taps)
