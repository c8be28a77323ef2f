"""Measure the checkpoints of a model: `rankwatch.replay` on all sets, and what is stored of it in this folder."""

from __future__ import annotations

import csv
import gzip
import json
import logging
import math
import tempfile
from pathlib import Path
from typing import Any

from rankwatch import replay
from study.catalogue import CHECKPOINTS, Run
from study.sets import ROWS, encoder, evaluation_sets

RESULTS = Path(__file__).parent / "results"
_RECORDS = ("run", "protocol", "reading")
_DIGITS = 5
"""Significant digits that are stored: the intervals are wider by orders of magnitude."""


def read(run: Run, data: Path, runs: Path) -> None:
    """Read all checkpoints of a run, and store the readings and the loss.

    Args:
        run: Which one.
        data: The folder of corpora.
        runs: The folder of all runs.
    """
    logging.getLogger("rankwatch").setLevel(logging.ERROR)
    with tempfile.TemporaryDirectory() as folder:
        found = replay(
            encoder(),
            [runs / run.name / f"step-{step}.pt" for step in CHECKPOINTS],
            evaluation_sets(data, runs / "sets"),
            out=folder,
            rows=ROWS,
            device="cpu",
            say=lambda line: None,
        )
        if found.failed or sorted(set(found.steps)) != sorted(CHECKPOINTS):
            raise RuntimeError(f"{run.name}: read {found.steps}, failed {found.failed}")
        store(run, Path(folder) / "RankWatch.jsonl", runs / run.name / "loss.csv")


def store(run: Run, records: Path, losses: Path) -> None:
    """Write what the tables need of a run's records, and its losses as a further kind of record.

    Args:
        run: Which one.
        records: Its JSONL file.
        losses: Its ``loss.csv``.
    """
    RESULTS.mkdir(exist_ok=True)
    lines = []
    with records.open(encoding="utf-8") as file:
        for line in file:
            record = json.loads(line)
            if record["record"] in _RECORDS:
                lines.append(json.dumps(_short({k: v for k, v in record.items() if k != "spectrum"})))
    with losses.open(newline="") as file:
        lines += [json.dumps({"record": "loss", **_short(_numbers(row))}) for row in csv.DictReader(file)]
    text = "\n".join(lines) + "\n"
    (RESULTS / f"{run.name}.jsonl.gz").write_bytes(gzip.compress(text.encode(), 9, mtime=0))


def _numbers(row: dict[str, str]) -> dict[str, float | None]:
    values = {name: float(cell) for name, cell in row.items()}
    return {name: None if math.isnan(value) else value for name, value in values.items()}


def _short(value: Any) -> Any:
    if isinstance(value, float):
        return float(f"{value:.{_DIGITS}g}")
    if isinstance(value, dict):
        return {name: _short(one) for name, one in value.items()}
    return [_short(one) for one in value] if isinstance(value, list) else value
