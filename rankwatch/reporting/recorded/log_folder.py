"""What a logger's files beside the records say: the training loss and the hyperparameters."""

from __future__ import annotations

import csv
import dataclasses
import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from rankwatch.reporting.recorded.recorded_run import LossCurve, RecordedRun

_LARGEST = 256 * 2**20  # bytes of a logger's files that are read for the loss
_YAML = ("config.yaml", "hparams.yaml")
_LARGEST_YAML = 2**20
_MOST_NODES = 20_000  # of a YAML file, which may name one part of itself again and again
_MOST_TAGS = 200
_POINTS = 1_000
_MOST_POINTS = 16_384  # of each tag in memory
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


class LogFolder:
    """The folder that a run's records and a logger's files are in; files are read anew only where they have changed.

    Args:
        records: The JSONL file, or its URL in an object store, beside which nothing is looked for.
        within: A folder that isn't left, or None.
    """

    def __init__(self, records: str | Path, within: Path | None = None) -> None:
        folder = folder_of(records)
        inside = folder is not None and (within is None or folder.is_relative_to(within))
        self._folder = folder if inside else None
        self._seen: dict[str, tuple[object, Any]] = {}

    def added_to(self, run: RecordedRun, *, loss: LossCurve | None = None) -> RecordedRun:
        """A run with the loss and the hyperparameters.

        Args:
            run: What its records say.
            loss: Where it is known from elsewhere; no file is looked into for it then.

        Returns:
            A copy, in whose problems stands what couldn't be read; the run itself where there is no folder.
        """
        folder = self._folder
        if folder is None or not folder.is_dir():
            return run if loss is None else dataclasses.replace(run, loss=loss)
        problems: list[str] = []
        if loss is None:
            loss, problems = self.loss()
        yaml = [file for file in (folder / name for name in _YAML) if _is_plain(file)]
        parameters = self._cached("hyperparameters", yaml, lambda: _hyperparameters(yaml))
        return dataclasses.replace(run, loss=loss, hyperparameters=parameters, problems=[*run.problems, *problems])

    def loss(self, tag: str = "") -> tuple[LossCurve | None, list[str]]:
        """The loss that a logger wrote.

        Args:
            tag: Its name; by default the one that looks like the training loss: see `training_loss_tag`.

        Returns:
            The loss, or None where there is none, and what couldn't be read, in sentences.
        """
        files = _loss_files(self._folder) if self._folder is not None and self._folder.is_dir() else []
        found: tuple[LossCurve | None, list[str]] = self._cached(f"loss {tag}", files, lambda: _loss_curve(files, tag))
        return found

    def _cached(self, what: str, files: Sequence[Path], read: Callable[[], Any]) -> Any:
        state = [(file.name, file.stat().st_mtime_ns, file.stat().st_size) for file in files if file.exists()]
        if what not in self._seen or self._seen[what][0] != state:
            self._seen[what] = (state, read())
        return self._seen[what][1]


def _is_plain(file: Path) -> bool:
    """Neither a link, which may lead anywhere, nor a pipe, which may never end."""
    return file.is_file() and not file.is_symlink()


def _loss_files(folder: Path) -> list[Path]:
    """``metrics.csv`` of Lightning's CSVLogger, or else TensorBoard's event files; none of folders inside."""
    table = folder / "metrics.csv"
    found = [table] if _is_plain(table) else sorted(folder.glob("events.out.tfevents.*"))
    return [file for file in found if _is_plain(file)]


def _loss_curve(files: Sequence[Path], only: str = "") -> tuple[LossCurve | None, list[str]]:
    """The training loss, or what is called `only`, or None, and what couldn't be read, in sentences."""

    def wanted(tag: str) -> bool:
        return tag == only if only else "loss" in tag.lower()

    size = sum(file.stat().st_size for file in files)
    if size > _LARGEST:
        return None, [f"The logger's files are {size / 2**20:.0f} MiB: too large to look for the loss in them."]
    curves: dict[str, dict[int, float]] = {}
    counts: dict[str, tuple[int, int]] = {}  # values so far, and of how many each is kept
    try:
        for step, tag, value in _table_scalars(files[0], wanted) if _is_table(files) else _event_scalars(files, wanted):
            if tag not in curves and len(curves) == _MOST_TAGS:
                continue
            count, stride = counts.get(tag, (0, 1))
            points = curves.setdefault(tag, {})
            if count % stride == 0:
                points[step] = value
            if len(points) > _MOST_POINTS:
                curves[tag], stride = dict(list(points.items())[::2]), 2 * stride
            counts[tag] = (count + 1, stride)
    except Exception as error:  # whatever is wrong with another program's file
        return None, [f"The logger's files can't be read for the loss ({type(error).__name__})."]
    tag = next(iter(curves), "") if only else training_loss_tag({tag: len(points) for tag, points in curves.items()})
    return (loss_curve(tag, curves[tag]) if tag else None), []


def _is_table(files: Sequence[Path]) -> bool:
    return bool(files) and files[0].suffix == ".csv"


def _hyperparameters(files: Sequence[Path]) -> dict[str, str]:
    """What they hold, flat, as Lightning and its command line write them; nothing of one that is no YAML."""
    import yaml

    found: dict[str, str] = {}
    for file in files:
        try:
            if file.stat().st_size <= _LARGEST_YAML:
                # Composed and not loaded: no object is made of it.
                found.update(_flat(yaml.compose(file.read_text(encoding="utf-8"), Loader=yaml.SafeLoader)))
        except (OSError, ValueError, yaml.YAMLError, RecursionError):
            continue
    return {name: value for name, value in found.items() if not name.startswith("trainer.callbacks")}


def _flat(root: Any) -> dict[str, str]:
    """The scalars, and the lists of scalars, of a YAML node by their path."""
    found: dict[str, str] = {}
    waiting = [("", root)] if root is not None else []
    for _ in range(_MOST_NODES):
        if not waiting:
            break
        name, node = waiting.pop()
        if isinstance(node.value, str):
            found[name] = node.value[:300]
        elif node.id == "sequence" and all(isinstance(one.value, str) for one in node.value):
            found[name] = f"[{', '.join(one.value[:300] for one in node.value[:100])}]"[:300]
        else:
            pairs = _pairs(name, node)
            waiting += list(itertools.islice(pairs, max(_MOST_NODES - len(waiting), 0)))[::-1]
    return {name: value for name, value in found.items() if name}


def _pairs(name: str, node: Any) -> Iterator[tuple[str, Any]]:
    """What is in a mapping or a list, by its path."""
    pairs = node.value if node.id == "mapping" else enumerate(node.value)
    for key, inner in pairs:
        word = str(getattr(key, "value", key))[:100] if isinstance(getattr(key, "value", ""), str) else "?"
        yield f"{name}.{word}"[:300] if name else word, inner


def _table_scalars(file: Path, wanted: Callable[[str], bool]) -> Iterator[tuple[int, str, float]]:
    with file.open(encoding="utf-8", errors="replace", newline="") as lines:
        for row in csv.DictReader(lines):
            for tag, value in row.items():
                if tag and value and wanted(tag) and row.get("step"):
                    yield int(float(row["step"])), tag, float(value)


def _event_scalars(files: Iterable[Path], wanted: Callable[[str], bool]) -> Iterator[tuple[int, str, float]]:
    from tensorboard.backend.event_processing.event_file_loader import LegacyEventFileLoader

    for file in files:
        for event in LegacyEventFileLoader(str(file)).Load():
            for value in event.summary.value:
                if wanted(value.tag) and value.HasField("simple_value"):
                    yield event.step, value.tag, value.simple_value


def training_loss_tag(lengths: Mapping[str, int]) -> str:
    """Which of a logger's tags is the training loss.

    Args:
        lengths: Points by tag; those of tags without "loss" in their name don't count.

    Returns:
        ``train_loss`` or ``train/loss`` where there is one, else the longest that is no validation loss; empty where
        there is none.

    Example:
        >>> training_loss_tag({"val_loss": 90, "loss/total": 40, "lr": 90})
        'loss/total'
    """
    losses = [tag for tag in lengths if "loss" in tag.lower()]
    tags = [tag for tag in losses if not tag.lower().startswith(("val", "test"))] or losses
    wanted = [tag for name in _WANTED for tag in tags if tag.lower() == name]
    return (wanted or [*sorted(tags, key=lambda tag: -lengths[tag]), ""])[0]


def loss_curve(tag: str, points: Mapping[int, float]) -> LossCurve:
    """A loss as it is drawn.

    Args:
        tag: Its name.
        points: Values by step; many are averaged to 1,000 points.

    Returns:
        The curve; NaN where a value can't be drawn.
    """
    steps = np.array(sorted(points), np.int64)
    values = np.array([points[int(step)] for step in steps], np.float64)
    if len(steps) > _POINTS:
        edges = np.linspace(0, len(steps), _POINTS + 1).astype(int)
        means = [float(np.mean(values[a:b])) for a, b in itertools.pairwise(edges)]
        steps, values = steps[edges[1:] - 1], np.array(means)
    values[~np.isfinite(values) | (np.abs(values) > 1e30)] = math.nan
    return LossCurve(tag[:200], steps, values.astype(np.float32))
