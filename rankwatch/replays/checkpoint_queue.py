"""Which checkpoint is read next: in the order of steps, the new ones as a run writes them, half-written ones later."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from rankwatch.checkpoints.checkpoint_steps import step_in_name
from rankwatch.checkpoints.listing import Checkpoint, CheckpointListing, Listed
from rankwatch.replays.replay_state import ReplayState
from rankwatch.runtime.files.file_actions import modified
from rankwatch.runtime.files.run_paths import run_path

HALF_WRITTEN = 60.0
"""Seconds without any change after which a file that can't be read isn't taken to be still written any more."""

_REASONS = 3
"""Why checkpoints can't be read, of so many in one message."""

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
        self._unfinished: dict[str, str] = {}  # why what may be still written can't be read yet, by path
        self._looks: dict[str, tuple[tuple[int, int] | None, float]] = {}  # signature, and since when it is that
        self._newest_listed = -1

    def __iter__(self) -> Iterator[Checkpoint]:
        """The checkpoints, each once, as long as there are any or any are waited for."""
        newest = self._clock()
        while True:
            found = self._next()
            if found is not None:
                yield found
                if str(found.path) not in self._unfinished:
                    newest = self._clock()
                    continue
            left = math.inf if self._idle is None else newest + self._idle - self._clock()
            if not self._follow or left <= 0.0 or self._is_past_the_last():
                self._give_up()
                return
            self._sleep(min(self._poll, left))

    def put_back(self, checkpoint: Checkpoint, reason: str) -> None:
        """A checkpoint could not be read: where new ones are waited for it is tried again, if it isn't complete yet.

        Args:
            checkpoint: That was given.
            reason: Why.
        """
        self._fail_if_finished(str(checkpoint.path), reason)

    def _next(self) -> Checkpoint | None:
        listed = self._listing.update()
        for note in listed.notes:
            self._say(note)
        self._say_which_are_others(listed)
        self._newest_listed = max((one.step for one in listed.checkpoints), default=-1)
        if self._follow:
            changed = [path for path in self._state.failed if self._looks.get(path, (None,))[0] != _signature(path)]
            for path in changed:  # it was still being written after all, or is gone
                del self._state.failed[path]
        self._unfinished = {}
        for path, reason in listed.broken.items():
            self._fail_if_finished(path, reason)
        earliest_unfinished = min((_named_step(path) for path in self._unfinished), default=math.inf)
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
            return one if one.step < earliest_unfinished else None
        return None

    def _say_which_are_others(self, listed: Listed) -> None:
        """Of steps that were read already, those whose checkpoint is another file now: they may be of another run."""
        there = {_absolute(str(one.path)) for one in listed.checkpoints}
        done = self._state.done
        others = [one for one in listed.checkpoints if one.step in done and _absolute(done[one.step]) not in there]
        if others:
            first = others[0]
            self._say(
                f"{len(others)} steps were read before from other files than are there now and aren't read again (step "
                f"{first.step} from {done[first.step]}, now {first.path}): if these are of another run, "
                "replay them into another folder"
            )

    def _is_past_the_last(self) -> bool:
        """Whether `until_step` was reached, and nothing up to it may still become readable."""
        if self._until_step is None or self._unfinished:
            return False
        steps = [self._newest_listed, self._state.last_step, *map(_named_step, self._state.failed)]
        return any(self._until_step <= step < math.inf for step in steps)

    def _give_up(self) -> None:
        """What is still not readable at the end stays so."""
        for path, reason in {**self._unfinished, **self._listing.update().broken}.items():
            self._fail(path, reason)

    def _fail_if_finished(self, path: str, reason: str) -> None:
        """What can't be read failed, unless it may be still written."""
        if not self._follow or self._unchanged_for(path) >= HALF_WRITTEN:
            self._fail(path, reason)
        else:
            self._unfinished[path] = reason

    def _unchanged_for(self, path: str) -> float:
        """Seconds for which it has been as it is now: at the first look by its own time, later by what was seen."""
        now, state = self._clock(), _signature(path)
        before, since = self._looks.get(path, (None, now))
        if path not in self._looks and state is not None:
            since = now - max(time.time() - state[0] / 1e9, 0.0)
        elif before != state:
            since = now
        self._looks[path] = (state, since)
        return now - since

    def _fail(self, path: str, reason: str) -> None:
        if path not in self._state.failed:
            self._state.failed[path] = reason
            self._say(f"left out: {reason}")

    def _say(self, sentence: str) -> None:
        if sentence not in self._said:
            self._said.add(sentence)
            self._say_any(sentence)

    def why_nothing(self, places: object) -> str:
        """Why there is nothing to read.

        Args:
            places: As the user has named them.

        Returns:
            A sentence; empty where there is something, or it is waited for.
        """
        listed, last = self._listing.update(), self._until_step
        if listed.checkpoints:
            first = listed.checkpoints[0]
            if last is None or first.step <= last or self._state.done:
                return ""
            return f"there is no checkpoint up to step {last}: the first is {first.path}, from step {first.step}"
        if self._follow:
            return ""
        if not listed.broken:
            return f"there is no checkpoint at {places}"
        reasons = list(listed.broken.values())
        more = f"; and {len(reasons) - _REASONS} more" if len(reasons) > _REASONS else ""
        return f"no checkpoint at {places} can be read: {'; '.join(reasons[:_REASONS])}{more}"

    @property
    def steps(self) -> list[int]:
        """Steps of all that can be read now."""
        return [one.step for one in self._listing.update().checkpoints]


def _signature(path: str) -> tuple[int, int] | None:
    """When it or a file in its folder was last written, in ns since 1970, and its bytes; None where it is gone."""
    place = run_path(path)
    with contextlib.suppress(OSError):
        if not isinstance(place, Path):
            return modified(place), 0
        about = [one.stat() for one in ([place, *place.rglob("*")] if place.is_dir() else [place])]
        return max(one.st_mtime_ns for one in about), sum(one.st_size for one in about)
    return None


def _absolute(path: str) -> str:
    place = run_path(path)
    return str(place.absolute()) if isinstance(place, Path) else path


def _named_step(path: str) -> float:
    """The step in a file's name; infinite where there is none, so that nothing waits for it."""
    place = run_path(path)
    step = step_in_name(place.name, place.parent.name)
    return math.inf if step is None else step
