"""What a replay that is interrupted goes on from: what was read, under which settings, and all that alarms remember."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from rankwatch.checkpoints.listing import Checkpoint
from rankwatch.runtime.files.file_actions import write
from rankwatch.runtime.files.run_paths import RunPath


@dataclass
class ReplayState:
    """What is done so far.

    Attributes:
        file: Where it is stored, on the first process.
        asked: The settings, as plain data: another replay must not go on from this one.
        done: Steps that were read, with the checkpoint of each.
        failed: Why checkpoints could not be read, by path.
        session: State of the session, or None before the first reading.
    """

    file: RunPath
    asked: Mapping[str, Any]
    done: dict[int, str] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    session: dict[str, Any] | None = None

    @property
    def last_step(self) -> int:
        """The newest step that was read; -1 where none was."""
        return max(self.done, default=-1)

    def take(self, checkpoint: Checkpoint, session: dict[str, Any]) -> None:
        """A checkpoint was read: remember it, on this machine's disks or in the store, as a whole or not at all.

        Args:
            checkpoint: The checkpoint.
            session: State of the session after it.
        """
        self.done[checkpoint.step] = str(checkpoint.path)
        self.failed.pop(str(checkpoint.path), None)
        self.session = session

    def save(self) -> None:
        """Write it down."""
        steps = [[step, path] for step, path in self.done.items()]
        content = {"asked": json.dumps(self.asked, sort_keys=True), "done": steps, "session": self.session}
        write(self.file, lambda file: torch.save(content, file))


def open_state(folder: RunPath, name: str, asked: Mapping[str, Any]) -> ReplayState:
    """The state of a replay in a folder, or a new one.

    Args:
        folder: Of the replay.
        name: The callback's.
        asked: The settings of this replay.

    Returns:
        The state.

    Raises:
        ValueError: If a replay with other settings, or a run, has written into the folder; with what differs. If the
            state can't be read, or the folder is a file.
    """
    file = folder / f"{name}.replay.pt"
    if isinstance(folder, Path) and folder.exists() and not folder.is_dir():
        raise ValueError(f"{folder} is a file: name a folder for the replay")
    if not file.exists():
        if (folder / f"{name}.jsonl").exists():
            raise ValueError(f"{folder} holds the records of a run ({name}.jsonl): name another folder for the replay")
        return ReplayState(file, asked)
    try:
        with file.open("rb") as opened:
            content = torch.load(opened, weights_only=True)
        before, done, session = json.loads(content["asked"]), dict(content["done"]), content["session"]
    except Exception as error:  # torch raises many kinds for files that are cut off or something else
        raise ValueError(
            f"{file}, from which the replay would go on, can't be read ({type(error).__name__}): remove {folder}, or "
            "name another folder, and all checkpoints are read anew"
        ) from error
    now = json.loads(json.dumps(asked, sort_keys=True))
    differing = sorted(key for key in {*before, *now} if before.get(key) != now.get(key))
    if differing:
        said = "; ".join(f"{key} was {before.get(key)!r} and is {now.get(key)!r}" for key in differing[:3])
        raise ValueError(f"{folder} holds a replay with other settings ({said}): name another folder, or remove it")
    return ReplayState(file, asked, done, session=session)
