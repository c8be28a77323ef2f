"""One checkpoint after the other: weights into the model, one reading, one line, and the state on disk."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from rankwatch.arguments.settings import Settings
from rankwatch.checkpoints.listing import CONTENTS, Checkpoint
from rankwatch.readings.alarm import Alarm
from rankwatch.readings.reading import Reading
from rankwatch.replays.checkpoint_queue import CheckpointQueue
from rankwatch.replays.model_weights import ModelWeights, make_model
from rankwatch.replays.progress_lines import named_weights, reading_line
from rankwatch.replays.replay_session import ReplaySession
from rankwatch.replays.replay_state import ReplayState
from rankwatch.replays.run_settings.earlier_run import EarlierRun
from rankwatch.runtime.byte_payload import pack, unpack
from rankwatch.runtime.distributed import Group, World
from rankwatch.runtime.files.run_paths import RunPath, run_path

_WAIT = {"wait": True}
"""What the first process tells the others while there is no checkpoint to read."""


@dataclass(frozen=True)
class ModelOptions:
    """How the model is made and loaded.

    Attributes:
        source: A model, or what names one.
        weights: Which weights, where checkpoints hold several.
        prefix: What their names begin with, or None to find it.
        precision: The trainer's.
        device: Where the model runs.
    """

    source: nn.Module | str | Path
    weights: str = ""
    prefix: str | None = None
    precision: str = "32-true"
    device: str = "cpu"


class CheckpointReadings:
    """Reads checkpoints; the model is made when the first one comes.

    Args:
        options: How the model is made.
        settings: What is read.
        folder: The replay's.
        like: The run whose settings are taken over, or None.
        state: What is done so far; is kept up to date on disk.
        world: This process among the others.
        group: The other processes, where there are several.
        say: Prints a line, on the first process.
    """

    def __init__(
        self,
        options: ModelOptions,
        settings: Settings,
        folder: RunPath,
        like: EarlierRun | None,
        state: ReplayState,
        world: World,
        group: Group | None,
        say: Callable[[str], None],
    ) -> None:
        self._options, self._settings, self._folder, self._like = options, settings, folder, like
        self._state, self._world, self._group, self._say = state, world, group, say
        self._weights: ModelWeights | None = None
        self._session: ReplaySession | None = None
        self._said, self._compared = "", False
        self.readings: list[Reading] = []
        self.alarms: list[Alarm] = []
        self.healthy: RunPath | None = None

    def read(self, checkpoint: Checkpoint) -> str:
        """Read one checkpoint; all processes call this with the same one.

        Args:
            checkpoint: The checkpoint.

        Returns:
            Why it could not be read on some process; empty where it was.
        """
        session, weights = self._ready(checkpoint)
        reason, rate = "", None
        left_out: frozenset[str] = frozenset()
        try:
            loaded = weights.load(checkpoint.path)
            reason = _written_over(checkpoint, loaded.step)
            rate, left_out = loaded.rate, session.touched_by(loaded.weights.untouched)
            said = named_weights(checkpoint.path.name, loaded.weights, left_out)
            about = said.removeprefix(checkpoint.path.name)
            if said and about != self._said:
                self._say(said)
            self._said = about
            if left_out >= set(session.layers):
                reason = f"{checkpoint.path}: every watched layer depends on weights that it lacks"
        except (ValueError, OSError) as error:
            reason = str(error)
        if self._group is not None and max(self._group.all_gather_int(int(bool(reason)), "a checkpoint's weights")):
            reason = reason or f"{checkpoint.path} could not be read on another process"
        if reason:
            return reason
        step = checkpoint.step
        like = self._like
        rate = rate if like is None else like.rates.get(step, rate)
        full = like is None or not like.brief.get(step, False)
        if self._group is not None:  # the run may be writing its records still
            full = bool(self._group.all_gather_int(int(full), "how much is read")[0])
        if not session.read(step, str(checkpoint.path), rate, full=full, left_out=left_out):
            return f"{checkpoint.path}: no reading came of it; warnings above say why"
        for note in like.unlike(session.readings) if like is not None and not self._compared else ():
            self._say(note)
        self._compared = True
        self._state.take(checkpoint, session.session.state_dict())
        if self._world.rank == 0:
            self._state.save()
        self._say(reading_line(step, session.readings, self._settings.sources[0], session.health))
        return ""

    def _ready(self, checkpoint: Checkpoint) -> tuple[ReplaySession, ModelWeights]:
        if self._session is None or self._weights is None:
            options = self._options
            model = make_model(options.source, checkpoint.path, options.precision, options.device)
            self._weights = ModelWeights(model, options.weights, options.prefix)
            self._session = ReplaySession(
                model,
                self._settings,
                self._folder,
                self._like,
                options.precision,
                self._world,
                self._group,
                self._state.session,
            )
        return self._session, self._weights

    def close(self, interrupted_by: str) -> None:
        """Report the summary and close all files; nothing where no checkpoint has come.

        Args:
            interrupted_by: The exception's name, where one has ended the replay; else empty.
        """
        session, self._session = self._session, None
        if session is None:
            if self._group is not None:
                self._group.close()
            return
        self.readings, self.alarms = session.readings, session.alarms
        self.healthy = session.healthy
        newest = max((one.step for one in session.readings), default=0)  # its state may not have been saved any more
        session.end(max(self._state.last_step, newest), interrupted_by)


def _written_over(checkpoint: Checkpoint, step: int | None) -> str:
    """Whether the file holds another step than when it was listed, in a sentence; else empty."""
    if checkpoint.step_from != CONTENTS or step == checkpoint.step:
        return ""
    return f"{checkpoint.path} was of step {checkpoint.step} and is of step {step} now: it was written over meanwhile"


def waiting_with(group: Group) -> Callable[[float], None]:
    """How the first process waits for further checkpoints, so that the others don't take it for dead.

    Args:
        group: The other processes, which wait in `on_all`, each time for no longer than a collective may take.

    Returns:
        Takes seconds, and sleeps for so long.
    """

    def wait(seconds: float) -> None:
        time.sleep(seconds)
        group.broadcast_from_rank0(pack(_WAIT))

    return wait


def on_all(queue: CheckpointQueue | None, group: Group | None) -> Iterator[Checkpoint]:
    """The first process's checkpoints, on all processes.

    Args:
        queue: Of the first process; None on the others.
        group: The other processes, where there are several.

    Yields:
        Each checkpoint, on all processes at once.
    """
    if group is None:
        yield from queue or ()
        return
    waiting = iter(queue) if queue is not None else None
    while True:
        one = next(waiting, None) if waiting is not None else None
        mine: Any = {} if one is None else {"path": str(one.path), "step": one.step, "step_from": one.step_from}
        said, _ = unpack(group.broadcast_from_rank0(pack(mine)))
        if said == _WAIT:
            continue
        if not said:
            return
        yield Checkpoint(run_path(said["path"]), said["step"], said["step_from"])
