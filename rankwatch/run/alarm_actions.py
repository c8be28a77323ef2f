"""What an alarm sets off, beside being written down: a Python warning, a call of the user's, the end of the run."""

from __future__ import annotations

import threading
import time
import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rankwatch.alarms.mute_file import loud
from rankwatch.monitor.outcome import Outcome
from rankwatch.monitor.settings import Settings
from rankwatch.readings.alarm import CRITICAL, WARNING, Alarm, level_of
from rankwatch.runtime.diagnostics import CollapseWarning, Diagnostics, tell

ENDED = "ended"

_PATIENCE = 10.0
"""Seconds that calls of `on_alarm` are waited for at the end of a run, all together."""


class CollapseError(RuntimeError):
    """A confirmed collapse has ended the run, as ``on_collapse="raise"`` asks for.

    Attributes:
        message: The alarm's message.
        step: Optimiser steps taken.
        checkpoint: The last healthy checkpoint, or None where there is none.
        exit_status: What a script should leave with: 65, the "bad data" of ``sysexits.h``. Like all of these but 75 it
            says that another try gives the same again, and no scheduler, shell or Python itself uses it for anything
            else.

    Example:
        >>> import sys
        >>> def train():
        ...     raise CollapseError("CRITICAL at step 360: ...", 360)
        >>> try:
        ...     train()
        ... except CollapseError as collapse:
        ...     sys.exit(collapse.exit_status)
        Traceback (most recent call last):
        SystemExit: 65
    """

    exit_status = 65

    def __init__(self, message: str, step: int, checkpoint: Path | None = None) -> None:
        super().__init__(message, step, checkpoint)  # all of them, so that it can be pickled
        self.message, self.step, self.checkpoint = message, step, checkpoint

    def __str__(self) -> str:
        return self.message


@dataclass(frozen=True)
class AlarmEvent:
    """What `on_alarm` is told: an episode of alarms has begun, has grown worse, or has ended.

    Attributes:
        name: The callback's name.
        severity: ``"warning"``, ``"critical"`` or ``"ended"``.
        step: Optimiser step of the reading.
        message: What the terminal is told.
        alarms: Those that hold and aren't muted; none when the episode has ended.
        records: The JSONL file, or None where no files are written.
        checkpoint: The last healthy checkpoint, or None.
    """

    name: str
    severity: str
    step: int
    message: str
    alarms: tuple[Alarm, ...]
    records: Path | None
    checkpoint: Path | None


class AlarmActions:
    """Decides what is told aloud, and does it on the first process.

    Args:
        settings: The user's arguments.
        records: The JSONL file, or None.
        diagnostics: Hears of `on_alarm`'s failures. These end no run, `strict` or not.
    """

    def __init__(self, settings: Settings, records: Path | None, diagnostics: Diagnostics) -> None:
        self._call: Callable[[AlarmEvent], Any] | None = settings.alarm_call
        self._name = settings.name
        self._records = records
        self._complaints = diagnostics
        self._loud: tuple[Alarm, ...] = ()  # at the newest outcome
        self._muting_told: tuple[str, ...] = ()
        self._threads: list[threading.Thread] = []
        self._errors: list[Exception] = []

    def severity(self, outcome: Outcome, stop: bool) -> str:
        """How grave what is to be told aloud now is, or empty for nothing; all processes ask, once for each outcome.

        What is muted counts as if it weren't there: what is no longer muted, and still holds, is told like a beginning.
        """
        level, before = level_of(outcome.loud), level_of(loud(self._loud, outcome.muted))
        self._loud = outcome.loud
        if level:
            news = stop or level > before or (outcome.report.message and self._news(outcome))
            return (CRITICAL if level == 2 else WARNING) if news else ""
        return ENDED if before else ""

    @staticmethod
    def _news(outcome: Outcome) -> bool:
        """Whether it is about what isn't muted."""
        return any(alarm.step == outcome.report.step for alarm in outcome.loud)

    def give(self, severity: str, outcome: Outcome, message: str, checkpoint: Path | None) -> None:
        """On the first process: warn and call `on_alarm`, or if this is nothing to be told aloud only write a line."""
        self._complain()
        self._tell_of_muting(outcome.muted)
        step = outcome.report.step
        if severity == ENDED:
            message = message or f"ENDED at step {step}: the alarms are over."
        if severity and self._call is not None:
            alarms = outcome.loud
            self._start(AlarmEvent(self._name, severity, step, message, alarms, self._records, checkpoint))
        if severity in (WARNING, CRITICAL):
            warnings.warn(f"{self._name}: {message}", CollapseWarning, stacklevel=2)
        elif message:
            tell(f"{self._name}: {message}" if severity else f"{self._name}, muted: {message}")

    def _tell_of_muting(self, globs: tuple[str, ...]) -> None:
        if globs == self._muting_told:
            return
        self._muting_told = globs
        what = "everything" if "*" in globs else ", ".join(globs)
        now = f"muted: {what} (no warnings, calls or stops)" if globs else "no longer muted"
        tell(f"{self._name} is {now}.")

    def _start(self, event: AlarmEvent) -> None:
        """In a thread of its own, so that one that hangs holds up neither the training nor the next one."""
        call = self._call
        assert call is not None

        def run() -> None:
            try:
                call(event)
            except Exception as error:
                self._errors.append(error)

        thread = threading.Thread(target=run, name="rankwatch on_alarm", daemon=True)
        self._threads = [*(one for one in self._threads if one.is_alive()), thread]
        thread.start()

    def _complain(self) -> None:
        """In the training's own thread: warnings are its user's."""
        for error in self._errors:
            self._complaints.warn("on_alarm", f"on_alarm failed: {type(error).__name__}: {error}")

    def settle(self) -> None:
        """The run is over: wait for calls that are still going on, though not for ever."""
        latest = time.monotonic() + _PATIENCE
        for thread in self._threads:
            thread.join(max(latest - time.monotonic(), 0.0))
        if any(thread.is_alive() for thread in self._threads):
            self._complaints.warn("on_alarm hangs", f"on_alarm didn't return within {_PATIENCE:g} s; it is left behind")
        self._complain()

    def state_dict(self) -> dict[str, Any]:
        """Plain values."""
        return {"loud": [asdict(alarm) for alarm in self._loud]}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """What was told before a restart isn't told again."""
        self._loud = tuple(Alarm(**alarm) for alarm in state["loud"])
