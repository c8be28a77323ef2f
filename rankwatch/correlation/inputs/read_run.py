"""A run's records as series, in one pass over the file."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from rankwatch.correlation.inputs.run_series import PROBE, Floats, Integers, RunSeries, Series, direction_of
from rankwatch.readings.drift.layer_drift import LayerDrift
from rankwatch.readings.protocol import TRAIN
from rankwatch.readings.reading import ACCURACY, LABELLED, MAJORITY
from rankwatch.reporting.recorded.record_fields import header_of, number_of, step_of, text_of
from rankwatch.reporting.recorded.record_lines import RecordLines
from rankwatch.runtime.plain_data import from_plain

_ABOUT_LABELS = ("probe_",)  # metrics that tell of labels, and so are no label-free measure
_Curve = tuple[str, str, str]


class _Records:
    """The newest run of a file, as far as it is compared."""

    def __init__(self) -> None:
        self.run = ""
        self.earlier = 0
        self.begin()

    def begin(self) -> None:
        self.labels: dict[str, str] = {}
        self.primary = ""
        self.resumed = False
        self.went_back: list[int] = []
        self.protocols: dict[_Curve, str] = {}
        self.changed: set[_Curve] = set()
        self.unusable = 0
        self.columns: dict[str, int] = {}
        self.numbers: dict[_Curve, dict[int, Floats]] = defaultdict(dict)
        self.perplexities: dict[int, list[float]] = defaultdict(list)

    def take(self, record: Mapping[str, Any]) -> None:
        kind = record.get("record")
        try:
            if kind == "run":
                self._take_run(record)
            elif kind == "reading":
                self._take_reading(record)
            elif kind == "codebook":
                self.perplexities[step_of(record)].append(number_of(record["normalized_perplexity"]))
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError, RecursionError):
            self.unusable += 1

    def _take_run(self, record: Mapping[str, Any]) -> None:
        header = header_of(record)
        if header.run != self.run and self.numbers:
            self.earlier += 1
            self.begin()
        self.resumed = bool(self.numbers)
        self.run = header.run
        self.labels.update({row.layer: row.label for row in header.layers})
        self.primary = header.sources[0] if header.sources else ""

    def _take_reading(self, record: Mapping[str, Any]) -> None:
        curve = (text_of(record["source"]), text_of(record["level"]), text_of(record["layer"]))
        step, protocol = step_of(record), text_of(record["protocol"])
        if self.resumed:
            self._go_back_to(step)
        if record.get("brief"):
            return
        if self.protocols.setdefault(curve, protocol) != protocol:  # what follows can't be compared with what was
            self.changed.add(curve)
            self.protocols[curve] = protocol
            self.numbers[curve].clear()
        found = {"effective_rank": number_of(record["effective_rank"]), "rankme": number_of(record.get("rankme"))}
        found |= {text_of(name): number_of(value) for name, value in record["metrics"].items()}
        drifts = (from_plain(LayerDrift, one) for one in record.get("drift", ()))
        found |= {one.metric: one.value for one in drifts if one.trusted}
        for metric in found:
            self.columns.setdefault(metric, len(self.columns))
        self.numbers[curve][step] = np.array([found.get(metric, math.nan) for metric in self.columns])

    def _go_back_to(self, step: int) -> None:
        """Forget what a run had read beyond the checkpoint that it was resumed from: that training was given up."""
        self.resumed = False
        tables: list[dict[int, Any]] = [*self.numbers.values(), self.perplexities]
        if any(one > step for by_step in tables for one in by_step):
            self.went_back.append(step)
        for by_step in tables:
            for one in [one for one in by_step if one >= step]:
                del by_step[one]


def read_run(path: str | Path, name: str) -> RunSeries:
    """The measures and the checks that a run's records hold; the loss and tables of checks come from elsewhere.

    Full readings of evaluation sets count, of the newest run in the file; the training pass (``train``), with its
    dropout and masks, doesn't. Where the conditions of a curve changed on the way, only what followed counts. What a
    run had read beyond the checkpoint from which it was resumed doesn't.

    Args:
        path: A run's ``.jsonl`` file, or its URL; a missing one raises `FileNotFoundError`.
        name: What the run is called.

    Returns:
        The series.

    Raises:
        ValueError: If nothing in it is a reading of an evaluation set.
    """
    lines, found = RecordLines(path), _Records()
    for record in lines.new():
        found.take(record)
    curves = {curve: steps for curve, steps in found.numbers.items() if curve[0] != TRAIN and steps}
    if not curves:
        said = " ".join(lines.problems())
        raise ValueError(f"{path} holds no reading of an evaluation set{': ' if said else ''}{said}")
    notes = [f"{name}: {problem}" for problem in lines.problems()]
    if found.unusable:
        notes.append(f"{name}: {found.unusable} records hold something else than rankwatch writes, and are left out.")
    if found.earlier:
        notes.append(f"{name}: the file holds {found.earlier} earlier runs as well; the newest is taken.")
    notes += [
        f"{name}: it was resumed from a checkpoint before step {step}; what was read from there on before is left out."
        for step in found.went_back
    ]
    if found.changed:
        notes.append(
            f"{name}: the conditions of {len(found.changed)} curves changed during the run; what was measured before "
            "is left out, since it can't be compared."
        )
    labels = found.labels or {layer: f"L{i:02}" for i, layer in enumerate(dict.fromkeys(key[2] for key in curves))}
    measures, checks = [], []
    for curve, by_step in curves.items():
        where = (curve[0], curve[1], labels.get(curve[2], curve[2]))
        steps = np.array(sorted(by_step), np.int64)
        table = np.full((len(steps), len(found.columns)), math.nan)
        for row, step in enumerate(steps):
            numbers = by_step[int(step)]
            table[row, : len(numbers)] = numbers
        by_name = {metric: table[:, column] for metric, column in found.columns.items()}
        measures += _measures(where, steps, by_name)
        checks += _checks(where, steps, by_name)
    measures += _codebooks(found.perplexities)
    return RunSeries(
        name,
        measures,
        checks,
        [label for label in labels.values() if any(one.layer == label for one in measures)],
        found.primary or next(iter(curves))[0],
        {(source, level, labels.get(layer, layer)): id_ for (source, level, layer), id_ in found.protocols.items()},
        labels,
        notes,
    )


def _measures(where: _Curve, steps: Integers, numbers: Mapping[str, Floats]) -> list[Series]:
    return [
        Series(name, *where, steps[there], values[there], direction_of(name))
        for name, values in numbers.items()
        if not name.startswith(_ABOUT_LABELS) and (there := np.isfinite(values)).any()
    ]


def _checks(where: _Curve, steps: Integers, numbers: Mapping[str, Floats]) -> list[Series]:
    nothing = np.full(len(steps), math.nan)
    values, rows, floors = (numbers.get(name, nothing) for name in (ACCURACY, LABELLED, MAJORITY))
    there = np.isfinite(values)
    if not there.any():
        return []
    with np.errstate(divide="ignore", invalid="ignore"):
        errors = np.sqrt(values * (1.0 - values) / rows)[there]
    floor = float(np.nanmax(floors)) if np.isfinite(floors).any() else math.nan
    known = errors if np.isfinite(errors).all() else np.empty(0)
    return [Series(PROBE, *where, steps[there], values[there], 1, known, floor)]


def _codebooks(perplexities: Mapping[int, list[float]]) -> list[Series]:
    """The mean of the quantizers' normalised perplexities, which a whole model has."""
    found = {step: float(np.mean(values)) for step, values in sorted(perplexities.items())}
    found = {step: value for step, value in found.items() if math.isfinite(value)}
    if not found:
        return []
    steps, values = np.array(list(found), np.int64), np.array(list(found.values()))
    return [Series("codebook_perplexity", "", "", "", steps, values, direction_of("codebook_perplexity"))]
