"""``rankwatch calibrate``: thresholds from the records of a team's own healthy runs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rankwatch.alarms.detectors.calibration import Calibration, Worst, conditions, unlike, worst
from rankwatch.alarms.learning_rate_warmup import LearningRateWarmup
from rankwatch.extraction.inputs.folder_search import find_files
from rankwatch.readings.reading import Reading
from rankwatch.reporting.jsonl_records import newest_run, read_jsonl
from rankwatch.reporting.recorded.run_reader import holds_records

_FEWEST = 12
"""Readings that a run needs: fewer are hardly more than the warm-up."""


def find_runs(paths: Sequence[str | Path]) -> list[Path]:
    """The records of runs that are named, or that are in folders that are, at any depth.

    Args:
        paths: Files, which are taken as they are, and folders, in which other files than rankwatch's are passed over.

    Returns:
        The files, those of each folder sorted; one that is also named or is in several folders counts once.

    Raises:
        ValueError: If a folder holds none.
    """
    files: list[Path] = []
    for path in map(Path, paths):
        if not path.is_dir():
            files.append(path)
            continue
        candidates = find_files(path, [".jsonl"]).files
        inside = [file for file in candidates if holds_records(file)]
        if not inside:
            others = f" ({len(candidates)} .jsonl files are not rankwatch's)" if candidates else ""
            raise ValueError(f"{path} holds no records of rankwatch's, <name>.jsonl, at any depth{others}")
        named = {one.resolve() for one in files}
        files += [file for file in inside if file.resolve() not in named]
    return files


@dataclass(frozen=True)
class _Run:
    """What is taken from one file."""

    path: Path
    conditions: dict[str, dict[str, Any]]
    every_n_steps: int
    worst: Worst


def calibrate(
    paths: Sequence[str | Path], *, allowed: int = 0, margin: float = 0.95, with_alarms: bool = False
) -> Calibration:
    """Choose thresholds below what healthy runs have shown.

    For each threshold, ``margin`` times the (`allowed` + 1)-th smallest of the runs' own worst values (see
    `rankwatch.alarms.detectors.calibration.worst`), at least 0.1 and at most 0.9. A file that isn't there raises
    FileNotFoundError.

    Args:
        paths: JSONL records of healthy runs, all of one recipe, or folders that hold nothing else of rankwatch's.
        allowed: How many of these runs each threshold may raise an alarm in.
        margin: How far below what was seen the thresholds lie; in (0, 1].
        with_alarms: Take runs that hold a critical alarm for healthy all the same.

    Returns:
        The thresholds, with the conditions that they hold for and the false-alarm rate that they imply.

    Raises:
        ValueError: If runs were read under different protocols, hold too few readings or a critical alarm, or there are
            not more of them than `allowed`.
    """
    if not 0.0 < margin <= 1.0:
        raise ValueError(f"margin={margin}: must lie in (0, 1]")
    files = find_runs(paths)
    twice = [str(path) for i, path in enumerate(files) if path.resolve() in [one.resolve() for one in files[:i]]]
    if twice:
        raise ValueError(f"{twice[0]} was passed twice")
    runs = [_read(path, with_alarms) for path in files]
    if len(runs) <= allowed:
        raise ValueError(f"{len(runs)} runs are too few to allow {allowed} alarms")
    first = runs[0]
    for run in runs[1:]:
        _same(first, run)
    shared = [name for name in first.worst if all(name in run.worst for run in runs)]
    if not shared:
        raise ValueError("no run goes on long enough after its learning rate's warm-up to compare anything")
    chosen = {name: margin * sorted(run.worst[name] for run in runs)[allowed] for name in shared}
    thresholds = {name: min(max(math.floor(1000 * value) / 1000, 0.1), 0.9) for name, value in chosen.items()}
    alarms = sum(any(run.worst[name] < thresholds[name] for name in shared) for run in runs)
    names = [str(run.path) for run in runs]
    return Calibration(thresholds, first.conditions, first.every_n_steps, names, allowed, alarms)


def _read(path: Path, with_alarms: bool) -> _Run:
    by_step: dict[int, list[Reading]] = {}
    for reading in read_jsonl(path):
        by_step.setdefault(reading.step, []).append(reading)
    if len(by_step) < _FEWEST:
        raise ValueError(f"{path} holds {len(by_step)} readings; thresholds need runs of at least {_FEWEST}")
    records = newest_run(path)
    header = next((record for record in records if record["record"] == "run"), None)
    if header is None:
        raise ValueError(f"{path} holds no header: it is no file of rankwatch's, or its beginning is gone")
    critical = [r for r in records if r["record"] == "alarm" and r["severity"] == "critical"]
    if critical and not with_alarms:
        raise ValueError(
            f"{path} holds a critical alarm ({critical[0]['kind']} at step {critical[0]['step']}): not a healthy run, "
            "or a false alarm that is to be learnt from; with --with-alarms it counts"
        )
    primary = header["sources"][0]
    rates = {record["step"]: record.get("learning_rate") for record in records if record["record"] == "summary"}
    found: dict[str, dict[str, Any]] = {}
    for reading in (reading for readings in by_step.values() for reading in readings if reading.source == primary):
        here = conditions(reading.protocol)
        differs = unlike(found.setdefault(reading.level, here), here)
        if differs:
            raise ValueError(f"{path}: its protocol changes at step {reading.step}: {differs}")
    warm_up = LearningRateWarmup()
    steps = [(readings, warm_up.update(rates.get(step))) for step, readings in by_step.items()]
    return _Run(path, found, int(header["every_n_steps"]), worst(steps, primary))


def _same(first: _Run, run: _Run) -> None:
    if first.conditions.keys() != run.conditions.keys():
        raise ValueError(
            f"{run.path} has the levels {', '.join(run.conditions)}, {first.path} {', '.join(first.conditions)}"
        )
    for level, there in first.conditions.items():
        differs = unlike(there, run.conditions[level])
        if differs:
            raise ValueError(f"{run.path} was read under another protocol than {first.path}, {level} level: {differs}")
    if first.every_n_steps != run.every_n_steps:
        raise ValueError(
            f"{run.path} was read every {run.every_n_steps} steps, {first.path} every {first.every_n_steps}: patience "
            "counts readings, so thresholds of the one don't hold for the other"
        )
