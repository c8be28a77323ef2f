"""Which checkpoint is read next: in the order of steps, the new ones as a run writes them, half-written ones later."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from rankwatch.checkpoints.listing import Checkpoint, CheckpointListing
from rankwatch.replays.replay_state import ReplayState

HALF_WRITTEN = 60.0
"""Seconds in which a file that can't be read is taken to be still written, where it may be."""

POLL = 5.0
"""Seconds between two looks at the folder."""


class CheckpointQueue:
    """Gives checkpoints that are to be read, on the first process.

    Args:
        places: Files, folders and globs.
        state: Knows what was read already, and takes in what can't be.
        follow: Whether to wait for further ones.
        until_step: The step after which nothing more is waited for, or None.
        idle_seconds: Seconds without a new checkpoint after which nothing more is waited for, or None.
        say: Prints a sentence, each once.
        poll: Seconds between two looks.
        clock: Tells the time, in seconds.
        sleep: Waits.
    """

    def __init__(
        self,
        places: str | Path | Sequence[str | Path],
        state: ReplayState,
        *,
        follow: bool = False,
        until_step: int | None = None,
        idle_seconds: float | None = None,
        say: Callable[[str], None],
        poll: float = POLL,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._listing = CheckpointListing(places)
        self._state = state
        self._follow, self._until_step, self._idle = follow, until_step, idle_seconds
        self._say_any, self._poll, self._clock, self._sleep = say, poll, clock, sleep
        self._said: set[str] = set()
        self._broken_since: dict[str, float] = {}
        self._tried: dict[str, float] = {}  # that could be listed, but not read

    def __iter__(self) -> Iterator[Checkpoint]:
        """The checkpoints, each once, as long as there are any or any are waited for."""
        newest = self._clock()
        while True:
            found = self._next()
            if found is not None:
                yield found
                newest = self._clock()
                if self._until_step is not None and found.step >= self._until_step:
                    return
                continue
            idle = self._idle is not None and self._clock() - newest >= self._idle
            if not self._follow or idle:
                self._give_up()
                return
            self._sleep(self._poll)

    def put_back(self, checkpoint: Checkpoint, reason: str) -> None:
        """A checkpoint could not be read: where new ones are waited for it is tried again, if it isn't complete yet.

        Args:
            checkpoint: That was given.
            reason: Why.
        """
        path = str(checkpoint.path)
        since = self._tried.setdefault(path, self._clock())
        if not self._follow or self._clock() - since >= HALF_WRITTEN:
            self._fail(path, reason)

    def _next(self) -> Checkpoint | None:
        listed = self._listing.update()
        for note in listed.notes:
            self._say(note)
        now = self._clock()
        for path in list(self._broken_since):
            if path not in listed.broken:  # it is complete now, or gone
                del self._broken_since[path]
        for path in set(self._state.failed) - set(listed.broken) - set(self._tried):
            del self._state.failed[path]  # it was still being written for longer than that
        for path, reason in listed.broken.items():
            since = self._broken_since.setdefault(path, now)
            if not self._follow or now - since >= HALF_WRITTEN:
                self._fail(path, reason)
        for one in listed.checkpoints:
            path = str(one.path)
            if one.step in self._state.done or path in self._state.failed:
                continue
            if self._until_step is not None and one.step > self._until_step:
                continue
            if one.step < self._state.last_step:
                self._say(
                    f"{path} is from step {one.step}, and step {self._state.last_step} was read already: curves and "
                    "alarms go forward alone. A replay into another folder reads all of them in order"
                )
                continue
            return one
        return None

    def _give_up(self) -> None:
        """What is still broken at the end stays so."""
        for path, reason in self._listing.update().broken.items():
            self._fail(path, reason)

    def _fail(self, path: str, reason: str) -> None:
        if path not in self._state.failed:
            self._state.failed[path] = reason
            self._say(f"left out: {reason}")

    def _say(self, sentence: str) -> None:
        if sentence not in self._said:
            self._said.add(sentence)
            self._say_any(sentence)

    @property
    def first(self) -> Checkpoint | None:
        """The first of those that can be read now, done or not; None where there is none."""
        return next(iter(self._listing.update().checkpoints), None)

    @property
    def steps(self) -> list[int]:
        """Steps of all that can be read now."""
        return [one.step for one in self._listing.update().checkpoints]
