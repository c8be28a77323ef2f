"""A run's history as a small file: each curve's columns, what others look at, the probes along the way.

Gzipped JSON lines: ``run`` (the catalogue's entry), ``protocols``; then for each curve one line with its columns;
``codebooks``, ``facts``, ``drift``, ``probes`` and ``objective``.
"""

from __future__ import annotations

import dataclasses
import gzip
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from rankwatch.readings.codebook_reading import CodebookReading
from rankwatch.readings.protocol import Protocol
from rankwatch.readings.reading import Reading
from rankwatch.runtime.plain_data import to_plain
from zoo_of_encoders.catalogue import Run

INPUT = "encoder.input"
"""The log-mel spectrogram at the frames of a reading, recorded as if it were a layer; no detector is shown it."""
_SPECTRUM = 16
_RANKS = ("effective_rank", "effective_rank_low", "effective_rank_high", "rankme")


@dataclass
class History:
    """What is kept of a run.

    Attributes:
        run: The catalogue's entry.
        by_step: Readings of the layers by step, in the order in which they were judged.
        codebooks: Readings of quantizers by step.
        input_rank: Effective rank of the input's own spectrogram at the primary set's frames, by level.
        facts: For each reading what a training loop knows: step, rate, loss, gradient norm, ...
        drift: For each reading how far layers have moved; see `probes.Drift`.
        probes: For each probe its step, and by task each layer's accuracy and majority.
        objective: At the start and at each probe the loss as it is meant, on clean batches; see `probes.objective`.
    """

    run: Run
    by_step: dict[int, list[Reading]]
    codebooks: dict[int, list[CodebookReading]]
    input_rank: dict[str, float]
    facts: list[dict[str, Any]]
    drift: list[dict[str, Any]]
    probes: list[dict[str, Any]]
    objective: list[dict[str, Any]]


def write(
    folder: Path,
    run: Run,
    readings: Sequence[Reading],
    codebooks: Sequence[CodebookReading],
    notes: dict[str, list[dict[str, Any]]],
) -> None:
    """Write it, whole or not at all.

    Args:
        folder: Where to.
        run: The catalogue's entry.
        readings: All of them, in order.
        codebooks: Those of quantizers.
        notes: Lists of records by name: ``"facts"``, ``"drift"``, ``"probes"`` and ``"objective"``.
    """
    protocols = {r.protocol.id: to_plain(r.protocol) for r in (*readings, *codebooks)}
    ids = list(protocols)
    curves: dict[tuple[str, str, str], list[Reading]] = {}
    for reading in readings:
        curves.setdefault(reading.key, []).append(reading)
    lines: list[Any] = [{"run": dataclasses.asdict(run)}, {"protocols": protocols}]
    lines += [_curve(key, column, ids) for key, column in curves.items() if key[:2] != ("train", "utterance")]
    lines.append({"codebooks": [_plain(dataclasses.asdict(r) | {"protocol": r.protocol.id}) for r in codebooks]})
    lines += [{name: _plain(_columns(records))} for name, records in notes.items()]
    text = "".join(json.dumps(line, separators=(",", ":")) + "\n" for line in lines)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{run.name}.jsonl.gz"
    aside = path.with_suffix(".part")
    with gzip.GzipFile(aside, "wb", mtime=0) as file:
        file.write(text.encode())
    aside.replace(path)


def _curve(key: tuple[str, str, str], column: list[Reading], ids: list[str]) -> dict[str, Any]:
    line: dict[str, Any] = {"curve": list(key), "d": column[0].d, "step": _deltas([r.step for r in column])}
    line["protocol"] = _runs([ids.index(r.protocol.id) for r in column])
    line["n"] = _runs([r.n for r in column])
    line["status"] = _runs(["+".join(sorted(r.status)) for r in column])
    names = list(dict.fromkeys(name for r in column for name in (*_RANKS, *r.metrics)))
    for name in names:
        values = [getattr(r, name) if name in _RANKS else r.metrics.get(name) for r in column]
        line[name] = _runs([_short(v, 4 if name in _RANKS else 3) for v in values])
    if key[0] == "first_batches" and key[1] == "frame" and key[2] != INPUT:
        kept = [np.array(r.spectrum)[:: 64 // _SPECTRUM] if r.spectrum else np.zeros(0) for r in column]
        line["spectrum"] = [[_short(float(v), 2) for v in row] for row in kept]
    return line


def read(path: Path) -> History:
    """What `write` wrote."""
    with gzip.open(path, "rt") as file:
        lines = [json.loads(line) for line in file]
    entry = lines[0]["run"]
    run = Run(**{**entry, "resumed": tuple(entry["resumed"])})
    protocols = {key: Protocol(**value) for key, value in lines[1]["protocols"].items()}
    named = {next(iter(line)): next(iter(line.values())) for line in lines[2:] if "curve" not in line}
    by_step: dict[int, list[Reading]] = {}
    input_rank: dict[str, float] = {}
    for line in lines[2:]:
        if "curve" in line:
            for reading in _readings(line, list(protocols.values())):
                if reading.layer == INPUT and reading.source == "first_batches":
                    input_rank[reading.level] = reading.effective_rank
                elif reading.layer != INPUT:
                    by_step.setdefault(reading.step, []).append(reading)
    codebooks: dict[int, list[CodebookReading]] = {}
    for record in named["codebooks"]:
        values = {k: math.nan if v is None else v for k, v in record.items()}
        values |= {"protocol": protocols[record["protocol"]], "status": frozenset(record["status"])}
        codebooks.setdefault(record["step"], []).append(CodebookReading(**values))
    records = [_rows(named[name]) for name in ("facts", "drift", "probes", "objective")]
    return History(run, dict(sorted(by_step.items())), codebooks, input_rank, *records)


def _readings(line: dict[str, Any], protocols: list[Protocol]) -> list[Reading]:
    source, level, layer = line["curve"]
    steps = np.cumsum(line["step"]).tolist()
    columns = {
        k: _unrolled(v) for k, v in line.items() if k not in ("curve", "d", "step", "spectrum")
    }  # fmt: skip
    spectra = line.get("spectrum") or [()] * len(steps)
    special = ("protocol", "n", "status", *_RANKS)
    found = []
    for i, step in enumerate(steps):
        protocol = protocols[columns["protocol"][i]]
        metrics = {k: v[i] for k, v in columns.items() if k not in special}
        rank = columns["effective_rank"][i]
        found.append(
            Reading(
                step=step,
                source=source,
                level=level,
                layer=layer,
                effective_rank=math.nan if rank is None else rank,
                effective_rank_low=columns["effective_rank_low"][i],
                effective_rank_high=columns["effective_rank_high"][i],
                rankme=columns["rankme"][i],
                metrics={k: math.nan if v is None else v for k, v in metrics.items()},
                status=frozenset(columns["status"][i].split("+")) - {""},
                n=columns["n"][i],
                d=line["d"],
                k=protocol.k,
                protocol=protocol,
                spectrum=tuple(math.nan if v is None else v for v in spectra[i]),
            )
        )
    return found


def _deltas(values: list[int]) -> list[int]:
    return np.diff(values, prepend=0).tolist()


def _runs(values: list[Any]) -> Any:
    """A list, or where all are equal {"same": value, "times": n}."""
    return {"same": values[0], "times": len(values)} if len(values) > 1 and len(set(values)) == 1 else values


def _unrolled(values: Any) -> list[Any]:
    return [values["same"]] * values["times"] if isinstance(values, dict) else values


def _columns(records: list[dict[str, Any]]) -> dict[str, Any]:
    """Records of the same names as columns, None where a record has no such name."""
    names = list(dict.fromkeys(name for record in records for name in record))
    return {name: [record.get(name) for record in records] for name in names}


def _rows(columns: dict[str, list[Any]]) -> list[dict[str, Any]]:
    return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]


def _short(value: float | None, digits: int) -> float | None:
    """So many digits, and of shares near one so many of what is missing to one."""
    if value is None or not math.isfinite(value):
        return None
    if isinstance(value, int):
        return value
    return 1 - float(f"{1 - value:.{digits - 1}g}") if 0.9 < value < 1 else float(f"{value:.{digits}g}")


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, frozenset)):
        return [_plain(item) for item in value]
    return _short(value, 4) if isinstance(value, float) else value
