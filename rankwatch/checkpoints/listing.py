"""The checkpoints that there are, in the order of their steps: from files, folders and globs, here or in a store."""

from __future__ import annotations

import glob
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rankwatch.checkpoints.checkpoint_steps import step_in, step_in_name
from rankwatch.checkpoints.plain_load import BrokenCheckpointError
from rankwatch.checkpoints.stored_checkpoint import is_checkpoint, on_this_machine, open_checkpoint
from rankwatch.runtime.files.file_actions import modified
from rankwatch.runtime.files.run_paths import RemotePath, RunPath, run_path

_BESIDE = re.compile(
    r"(?:optimizer|scheduler|rng_state|training_args|scaler|random_states|meta|sampler)"
    r"(?:[_\-=.]*(?:states?|dict|rank|global|step|epoch|iteration|iter|checkpoint|ckpt|latest|last|best|final|\d+))*"
    r"\.\w+",
    re.IGNORECASE,
)
"""Names of files that lie beside checkpoints and end as they do; one that says more may be a run's own name."""

_GLOB = frozenset("*?[")

CONTENTS, NAME = "contents", "name"
"""What a checkpoint's step is known from."""


@dataclass(frozen=True)
class Checkpoint:
    """One checkpoint, and from which step it is.

    Attributes:
        path: A file or a folder.
        step: Optimiser steps after which it was written.
        step_from: `CONTENTS` or `NAME`.
    """

    path: RunPath
    step: int
    step_from: str = CONTENTS


@dataclass(frozen=True)
class Listed:
    """What was found.

    Attributes:
        checkpoints: Those that can be read, one of each step, in the order of their steps.
        broken: Why others can't be, by path.
        notes: What else one should know: steps that two have, and steps that are only a number in a name.
    """

    checkpoints: tuple[Checkpoint, ...] = ()
    broken: dict[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


class CheckpointListing:
    """Lists checkpoints again and again, without opening those that haven't changed.

    Args:
        places: Files, folders and globs (``"run/*.ckpt"``), also URLs. A folder that isn't a checkpoint itself stands
            for all that are in it, at any depth.
    """

    def __init__(self, places: str | Path | Sequence[str | Path]) -> None:
        several = [places] if isinstance(places, (str, Path)) else list(places)
        self._places = [run_path(place) for place in several]
        self._known: dict[str, tuple[Any, Checkpoint | str]] = {}

    def update(self) -> Listed:
        """What is there now.

        Returns:
            It; empty where there is nothing.
        """
        found: list[Checkpoint] = []
        broken: dict[str, str] = {}
        for path in _each_once(path for place in self._places for path in _paths(place)):
            one = self._look_at(path)
            if isinstance(one, Checkpoint):
                found.append(one)
            else:
                broken[str(path)] = one
        return _in_order(found, broken)

    def _look_at(self, path: RunPath) -> Checkpoint | str:
        """The checkpoint, or why it is none."""
        try:
            changed = _signature(path)
        except OSError as error:  # removed since it was listed
            return f"{path}: {error}"
        before, known = self._known.get(str(path), (None, ""))
        if before != changed or (isinstance(known, str) and path.is_dir()):  # files in it may have grown
            known = _read_step(path)
            self._known[str(path)] = (changed, known)
        return known


def _signature(path: RunPath) -> tuple[int, int]:
    """Changes whenever the checkpoint does."""
    size = path.stat().st_size if isinstance(path, Path) else 0
    return modified(path), size


def _read_step(path: RunPath) -> Checkpoint | str:
    named = step_in_name(path.name, path.parent.name)
    if isinstance(path, RemotePath) and named is not None:  # it is fetched only once, when it is read
        return Checkpoint(path, named, NAME)
    try:
        with on_this_machine(path) as here:
            step = step_in(open_checkpoint(here))
    except (BrokenCheckpointError, OSError) as error:
        return str(error)
    if step is not None:
        return Checkpoint(path, step)
    if named is None:
        return (
            f"{path} says neither by its contents nor by its name from which step it is; name it step=500 or the like"
        )
    return Checkpoint(path, named, NAME)


def _in_order(found: Iterable[Checkpoint], broken: dict[str, str]) -> Listed:
    """One of each step: of those with the same, the one whose name has it, which isn't written over by the next."""
    by_step: dict[int, list[Checkpoint]] = {}
    for one in found:
        by_step.setdefault(one.step, []).append(one)
    chosen, notes = [], []
    for step in sorted(by_step):
        several = sorted(by_step[step], key=lambda one: (step_in_name(one.path.name) != step, str(one.path)))
        chosen.append(several[0])
        if len(several) > 1:
            others = ", ".join(str(one.path) for one in several[1:])
            notes.append(f"step {step}: {several[0].path} is read; of the same step, and left out: {others}")
    named = [one for one in chosen if one.step_from == NAME]
    if named:
        notes.append(
            f"{len(named)} of {len(chosen)} checkpoints don't say from which step they are, so the number in the name "
            f"counts ({named[0].path.name} is from step {named[0].step})"
        )
    return Listed(tuple(chosen), broken, tuple(notes))


def _each_once(paths: Iterable[RunPath]) -> list[RunPath]:
    """Without those that lead to the same place in a folder by a longer way, over links for example."""
    found: dict[RunPath, RunPath] = {}
    for path in paths:
        real = path.parent.resolve() / path.name if isinstance(path, Path) else path
        before = found.setdefault(real, path)
        if len(str(path)) < len(str(before)):
            found[real] = path
    return list(found.values())


def _paths(place: RunPath) -> list[RunPath]:
    """All checkpoints that a file, a folder or a glob stands for, in the order of their names."""
    if not _GLOB.isdisjoint(str(place)) and not place.exists():
        return [path for match in _matches(place) for path in _below(match)]
    return _below(place, asked=True)


def _matches(place: RunPath) -> list[RunPath]:
    if isinstance(place, RemotePath):
        store, inside = place.store()
        store.invalidate_cache()
        protocol = place.url.partition("://")[0]
        return [RemotePath(f"{protocol}://{match.lstrip('/')}") for match in sorted(store.glob(inside))]
    return [Path(match) for match in sorted(glob.glob(str(place), recursive=True))]  # noqa: PTH207 - any root, and **


def _below(path: RunPath, *, asked: bool = False) -> list[RunPath]:
    """The checkpoint itself, or those in the folder."""
    if is_checkpoint(path):
        return [path] if asked or _may_be_one(path.name) else []
    if not path.is_dir():
        return []
    return [found for child in _children(path) for found in _below(child)]


def _may_be_one(name: str) -> bool:
    """Whether a file isn't one of those that lie beside checkpoints; rankwatch's own sets and replays are such."""
    beside = name.startswith(".") or _BESIDE.fullmatch(name)
    return not beside and ".eval_set." not in name and ".replay." not in name


def _children(folder: RunPath) -> list[RunPath]:
    if isinstance(folder, Path):
        real = folder.resolve()
        above = {real, *real.parents}
        return [one for one in sorted(folder.iterdir()) if not (one.is_symlink() and one.resolve() in above)]
    store, inside = folder.store()
    store.invalidate_cache()
    names = [name.rstrip("/").rpartition("/")[2] for name in store.ls(inside, detail=False)]
    return [folder / name for name in sorted(names) if name]


def list_checkpoints(places: str | Path | Sequence[str | Path]) -> Listed:
    """List checkpoints once; see `CheckpointListing`.

    Args:
        places: Files, folders and globs.

    Returns:
        What is there.
    """
    return CheckpointListing(places).update()
