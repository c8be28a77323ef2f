"""What a logger's files beside the records say: the training loss and the hyperparameters."""

from __future__ import annotations

import csv
import itertools
import math
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from rankwatch.reporting.recorded.recorded_run import LossCurve

_LARGEST = 256 * 2**20  # bytes of a logger's files that are read for the loss
_LARGEST_YAML = 2**20
_MOST_TAGS = 200
_POINTS = 1_000
_WANTED = ("train_loss", "train/loss", "train_loss_step", "train/loss_step", "loss/train", "loss")


def folder_of(records: str | Path) -> Path | None:
    """The run's folder, in which a logger writes too.

    Args:
        records: The JSONL file.

    Returns:
        The folder, or None where the records are in an object store.
    """
    if not str(records) or "://" in str(records):
        return None
    inside = Path(records).absolute().parent
    return inside.parent if inside.name == "rankwatch" else inside


def loss_curve(folder: Path) -> tuple[LossCurve | None, list[str]]:
    """The training loss from ``metrics.csv`` (Lightning's CSVLogger) or from TensorBoard's event files.

    The tag is ``train_loss`` or ``train/loss`` where there is one, else the first with "loss" in it that is no
    validation loss. Long curves are averaged to 1,000 points.

    Args:
        folder: Of the run; files in folders inside of it are left alone.

    Returns:
        The loss or None, and what couldn't be read, in sentences.
    """
    table = folder / "metrics.csv"
    events = sorted(folder.glob("events.out.tfevents.*"))
    files = [table] if table.is_file() and not table.is_symlink() else [e for e in events if not e.is_symlink()]
    size = sum(os.path.getsize(file) for file in files)  # noqa: PTH202 - a sum over many
    if size > _LARGEST:
        return None, [f"The logger's files are {size / 2**20:.0f} MiB: too large to look for the loss in them."]
    curves: dict[str, dict[int, float]] = {}
    try:
        for step, tag, value in _table_losses(table) if files == [table] else _event_losses(files):
            if tag in curves or len(curves) < _MOST_TAGS:
                curves.setdefault(tag, {})[step] = value
    except Exception as error:  # whatever is wrong with another program's file
        return None, [f"The logger's files can't be read for the loss ({type(error).__name__})."]
    tag = _training_loss(curves)
    return (_curve(tag, curves[tag]) if tag else None), []


def hyperparameters(folder: Path) -> dict[str, str]:
    """What ``hparams.yaml`` and ``config.yaml`` hold, flat, as Lightning and its command line write them.

    Args:
        folder: Of the run.

    Returns:
        Values as text by dotted name; nothing of a file that can't be read as plain YAML.
    """
    import yaml

    found: dict[str, str] = {}
    for name in ("config.yaml", "hparams.yaml"):
        file = folder / name
        try:
            if file.is_file() and not file.is_symlink() and file.stat().st_size <= _LARGEST_YAML:
                found.update(_flat(yaml.safe_load(file.read_text(encoding="utf-8")), ""))
        except (OSError, ValueError, yaml.YAMLError, RecursionError):
            continue
    return {name: value for name, value in found.items() if not name.startswith("trainer.callbacks")}


def _flat(value: Any, name: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _flat(inner, f"{name}.{key}" if name else str(key))
    elif isinstance(value, list) and any(isinstance(one, (Mapping, list)) for one in value):
        for i, inner in enumerate(value):
            yield from _flat(inner, f"{name}.{i}")
    elif name:
        yield name, str(value)[:300]


def _table_losses(file: Path) -> Iterator[tuple[int, str, float]]:
    with file.open(encoding="utf-8", errors="replace", newline="") as lines:
        for row in csv.DictReader(lines):
            for tag, value in row.items():
                if tag and value and "loss" in tag.lower() and row.get("step"):
                    yield int(float(row["step"])), tag, float(value)


def _event_losses(files: Iterable[Path]) -> Iterator[tuple[int, str, float]]:
    from tensorboard.backend.event_processing.event_file_loader import LegacyEventFileLoader

    for file in files:
        for event in LegacyEventFileLoader(str(file)).Load():
            for value in event.summary.value:
                if "loss" in value.tag.lower() and value.HasField("simple_value"):
                    yield event.step, value.tag, value.simple_value


def _training_loss(curves: Mapping[str, Mapping[int, float]]) -> str:
    tags = [tag for tag in curves if not tag.lower().startswith(("val", "test"))] or list(curves)
    wanted = [tag for name in _WANTED for tag in tags if tag.lower() == name]
    return (wanted or [*sorted(tags, key=lambda tag: -len(curves[tag])), ""])[0]


def _curve(tag: str, points: Mapping[int, float]) -> LossCurve:
    steps = np.array(sorted(points), np.int64)
    values = np.array([points[int(step)] for step in steps], np.float64)
    if len(steps) > _POINTS:
        edges = np.linspace(0, len(steps), _POINTS + 1).astype(int)
        means = [float(np.mean(values[a:b])) for a, b in itertools.pairwise(edges)]
        steps, values = steps[edges[1:] - 1], np.array(means)
    values[~np.isfinite(values) | (np.abs(values) > 1e30)] = math.nan
    return LossCurve(tag[:200], steps, values.astype(np.float32))
