"""What the monitor hands to reporters: plain data, ready to be shown, with statistics over layers."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from rankwatch.readings.alarm import Alarm
from rankwatch.readings.codebook_reading import AnyReading, CodebookReading
from rankwatch.readings.reading import Reading


class SummaryKey(NamedTuple):
    """What one number of `Report.summary` is.

    Attributes:
        level: ``"frame"``, ``"utterance"`` or ``"codebook"``.
        metric: Its name, for example ``"effective_rank"``.
        source: Name of the evaluation set, or ``"train"``.
        statistic: ``"min"``, ``"median"`` or ``"worst"`` over layers (or quantizers).
    """

    level: str
    metric: str
    source: str
    statistic: str


# Metrics of which more is worse; of all others less is.
_WORSE_WHEN_HIGH = frozenset(
    {
        "mean_energy_fraction",
        "top1_explained_variance",
        "dead_dimension_fraction",
        "non_finite_fraction",
        "drift_previous",
        "drift_first",
    }
)


def summarise_layers(readings: Iterable[AnyReading]) -> dict[SummaryKey, float]:
    """Minimum, median and worst over layers (and over quantizers) of every metric.

    Args:
        readings: All of one step. Those without a finite number are left out of that number's statistics.

    Returns:
        The statistics; ``"worst"`` is the maximum of metrics of which more is worse, and the minimum of all others.
    """
    columns: dict[tuple[str, str, str], list[float]] = defaultdict(list)
    for reading in readings:
        source, level, _ = reading.key
        for metric, value in reading.numbers.items():
            if value is not None and math.isfinite(value):
                columns[level, metric, source].append(value)
    summary: dict[SummaryKey, float] = {}
    for (level, metric, source), column in columns.items():
        worst = max(column) if metric in _WORSE_WHEN_HIGH else min(column)
        values = {"min": min(column), "median": np.median(column), "worst": worst}
        summary |= {SummaryKey(level, metric, source, name): float(value) for name, value in values.items()}
    return summary


@dataclass(frozen=True)
class LayerRow:
    """One row of the table that is printed once at the start.

    Attributes:
        layer: The layer's path.
        label: Its short name in tags: ``"L00"`` for the front end, ``"L01"`` ... for blocks in order.
        width: Channels of its output, d.
        layout: Layout found, for example ``"(B, T, C)"``.
        lengths: Where the valid lengths come from, in words.
        projection: k, or None.
        note: Anything worth saying, for example why it stays unprojected.
        cost: What a reading of it costs, in words, for example ``"1.0 MB"``.
        tap: Which operation has made what is read, as the protocol says it.
    """

    layer: str
    label: str
    width: int
    layout: str
    lengths: str
    projection: int | None = None
    note: str = ""
    cost: str = ""
    tap: str = ""


@dataclass(frozen=True)
class RunHeader:
    """What is known once the first window has been taken.

    Attributes:
        name: The callback's name.
        version: rankwatch's version.
        layers: One row per watched layer, in order.
        levels: ``("frame", "utterance")`` or one of them.
        sources: Names of the evaluation sets, then ``"train"`` if watched. The first is the primary.
        every_n_steps: Optimiser steps between readings.
        notes: Sentences for the user about this run.
        run: The run in which its curves began: this one or, after a restart, the one that it goes on from. Runs that
            wrote into one folder are told apart by it.
        settings: Its arguments as plain data, its precision, device and number of processes: what a replay of its
            checkpoints has to know to read the same numbers.
        replayed: Whether these are readings of stored checkpoints, and nothing was trained.
    """

    name: str
    version: str
    layers: Sequence[LayerRow]
    levels: Sequence[str]
    sources: Sequence[str]
    every_n_steps: int
    notes: Sequence[str] = ()
    run: str = ""
    settings: Mapping[str, Any] = field(default_factory=dict)
    replayed: bool = False


@dataclass(frozen=True)
class Cost:
    """What the callback has taken.

    Attributes:
        seconds: By part: what the training thread has spent since the report before (``forward``, ``drawing``,
            ``waiting`` for the rest, ``reporting``, ``watching``), and meanwhile, in a thread of its own, for this
            reading (``exchange``, ``decomposition``).
        share: The callback's part of the run's wall time so far, in [0, 1]. What is done in the thread of its own
            counts where the model is on the CPU too, as it takes the time from it.
        bytes_exchanged: Bytes that all processes sent to the first one for this reading.
        interval: Optimiser steps to the next reading.
    """

    seconds: Mapping[str, float]
    share: float = 0.0
    bytes_exchanged: int = 0
    interval: int = 0


@dataclass(frozen=True)
class Report:
    """Everything about one reading step.

    Attributes:
        step: Optimiser step.
        readings: All layers' readings of this step.
        alarms: Alarms that were raised at this step.
        open_alarms: All alarms that hold now, these included.
        health: One number for the run, in [0, 1]: see `rankwatch.alarms.health.health`.
        alarm_level: 0 nothing, 1 warning, 2 critical.
        summary: Statistics over layers, and over quantizers, of every metric.
        history: Effective rank over steps, per (source, level): steps, and a row per layer (NaN where
            there is none), thinned to a bounded number of columns; for the heatmap.
        message: The episode's message, when one began, grew worse or ended; else empty.
        cost: What it took.
        extra: Further numbers to be drawn, by name.
        learning_rate: At the step, where it is known.
        codebooks: All quantizers' readings of this step.
        muted: Whether alarms are muted: they are shown, but nobody is told.
    """

    step: int
    readings: Sequence[Reading]
    alarms: Sequence[Alarm]
    open_alarms: Sequence[Alarm]
    health: float
    alarm_level: int
    summary: Mapping[SummaryKey, float]
    history: Mapping[tuple[str, str], tuple[Sequence[int], Sequence[Sequence[float]]]]
    message: str
    cost: Cost
    extra: Mapping[str, float] = field(default_factory=dict)
    learning_rate: float | None = None
    codebooks: Sequence[CodebookReading] = ()
    muted: bool = False


@dataclass(frozen=True)
class RunEnd:
    """What is known when the run is over.

    Attributes:
        step: Optimiser steps taken.
        readings: Reading steps since the start (since the first start, where a run was resumed).
        share: The callback's part of the run's wall time, in [0, 1].
        seconds: The same in seconds.
        alarms: All alarms raised, in order.
        records: Path of the JSONL file, or empty.
        stopped: Whether an alarm stopped the run.
        checkpoint: Path of the last healthy checkpoint, or empty.
        notes: Further sentences for the user.
        measured: Whether anything could be read at all: without a number there can be no alarm.
    """

    step: int
    readings: int
    share: float
    seconds: float
    alarms: Sequence[Alarm] = ()
    records: str = ""
    stopped: bool = False
    checkpoint: str = ""
    notes: Sequence[str] = ()
    measured: bool = True
