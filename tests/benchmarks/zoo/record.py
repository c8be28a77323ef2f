"""A run's history as a small file: what detectors need of each reading, what others look at, the probe's accuracy.

Gzipped JSON lines: ``run`` (the catalogue's entry), ``curves`` (which source, level, layer) and protocols, then per
step ``reading`` (one list of numbers per curve), ``facts`` and ``probes``.
"""

from __future__ import annotations

import dataclasses
import gzip
import hashlib
import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from catalogue import Run

from rankwatch.readings.protocol import Protocol
from rankwatch.readings.reading import Reading
from rankwatch.runtime.plain_data import to_plain

METRICS = (
    "mean_energy_fraction",
    "std_normalised",
    "dead_dimension_fraction",
    "within_utterance_variance_fraction",
    "top1_explained_variance",
    "non_finite_fraction",
    "participation_ratio",
    "active_code_fraction",
)
_RENAMED = {"held_back": "first_batches", "probe_set": "eval_set"}
"""Sources and fields of protocols as most of the histories name them, and as they are called now."""
_COLUMNS = ("effective_rank", "effective_rank_low", "effective_rank_high", *METRICS)


@dataclass
class Readings:
    """Readings by step, in the order in which they were judged."""

    by_step: dict[int, list[Reading]] = field(default_factory=dict)

    @classmethod
    def of(cls, readings: Iterable[Reading]) -> Readings:
        """Group them; the train source's utterance level is left out."""
        found = cls()
        for reading in readings:
            if not (reading.source == "train" and reading.level == "utterance"):
                found.by_step.setdefault(reading.step, []).append(reading)
        return found


@dataclass
class History:
    """What is kept of a run."""

    run: Run
    readings: Readings
    facts: list[dict[str, Any]]
    probes: list[dict[str, Any]]


def write(folder: Path, run: Run, readings: Readings, facts: Sequence[Any], probes: Sequence[Any]) -> None:
    """Write it, whole or not at all."""
    protocols: dict[str, Protocol] = {}
    curves: dict[tuple[str, str, str], int] = {}
    lines: list[dict[str, Any]] = []
    for step, column in readings.by_step.items():
        rows = []
        for reading in column:
            protocols[reading.protocol.id] = reading.protocol
            key = (reading.source, reading.level, reading.layer)
            numbers = [_short(_value(reading, name)) for name in _COLUMNS]
            facts_ = [curves.setdefault(key, len(curves)), reading.protocol.id, reading.n, sorted(reading.status)]
            rows.append([*facts_, *numbers])
        lines.append({"reading": step, "rows": rows})
    head = [
        {"run": dataclasses.asdict(run)},
        {"curves": [list(key) for key in curves], "protocols": [to_plain(p) for p in protocols.values()]},
    ]
    tail = [{"facts": _plain(facts)}, {"probes": _plain(probes)}]
    text = "".join(json.dumps(line, separators=(",", ":")) + "\n" for line in (*head, *lines, *tail))
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{run.name}.jsonl.gz"
    aside = path.with_suffix(".part")
    with gzip.GzipFile(aside, "wb", mtime=0) as file:
        file.write(text.encode())
    aside.replace(path)


def read(path: Path) -> History:
    """What `write` wrote."""
    with gzip.open(path, "rt") as file:
        head, kinds, *lines = [json.loads(line) for line in file]
    protocols = {_id_when_written(entry): _protocol(entry) for entry in kinds["protocols"]}
    curves = [(_RENAMED.get(source, source), level, layer) for source, level, layer in kinds["curves"]]
    readings = Readings()
    for line in lines[:-2]:
        step = line["reading"]
        readings.by_step[step] = [_reading(step, curves, protocols, row) for row in line["rows"]]
    return History(Run(**head["run"]), readings, lines[-2]["facts"], lines[-1]["probes"])


def _id_when_written(entry: dict[str, Any]) -> str:
    """Rows name their protocol by the id that it had, under the names of its fields at that time."""
    return hashlib.sha256(json.dumps(entry, sort_keys=True).encode()).hexdigest()[:8]


def _protocol(entry: dict[str, Any]) -> Protocol:
    fields = {_RENAMED.get(name, name): value for name, value in entry.items()}
    return Protocol(**{**fields, "source": _RENAMED.get(fields["source"], fields["source"])})


def _reading(step: int, curves: list[Any], protocols: dict[str, Protocol], row: list[Any]) -> Reading:
    curve, identity, n, status, rank, low, high, *metrics = row
    source, level, layer = curves[curve]
    protocol = protocols[identity]
    return Reading(
        step=step,
        source=source,
        level=level,
        layer=layer,
        effective_rank=math.nan if rank is None else rank,
        effective_rank_low=low,
        effective_rank_high=high,
        rankme=None,
        metrics={k: math.nan if v is None else v for k, v in zip(METRICS, metrics, strict=True)},
        status=_flags(status),
        n=n,
        d=protocol.d,
        k=protocol.k,
        protocol=protocol,
    )


def _flags(status: str | list[str]) -> frozenset[str]:
    """Most of the histories join flags by ``"+"``, and write ``"ok"`` where there is none."""
    return frozenset(status.split("+") if isinstance(status, str) else status) - {"ok"}


def _value(reading: Reading, name: str) -> float | None:
    if name.startswith("effective_rank"):
        value: float | None = getattr(reading, name)
        return value
    return reading.metrics.get(name)


def _short(value: float | None) -> float | None:
    """Four digits, and of shares near one four digits of what is missing to one."""
    if value is None or not math.isfinite(value):
        return None
    return 1 - float(f"{1 - value:.4g}") if 0.9 < value < 1 else float(f"{value:.4g}")


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return _short(value) if isinstance(value, float) else value
