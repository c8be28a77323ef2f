"""What an alarm sets off besides being recorded: a Python warning, a call of `on_alarm`, the end of the run."""

from __future__ import annotations

import contextvars
import threading
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from rankwatch.arguments.settings import Settings
from rankwatch.monitor.outcome import Outcome
from rankwatch.readings.alarm import CRITICAL, WARNING, Alarm, level_of
from rankwatch.runtime.diagnostics import CollapseWarning, Diagnostics, log_info
from rankwatch.runtime.files.run_paths import RunPath

ENDED = "ended"

_PATIENCE = 10.0
"""Seconds that calls of `on_alarm` are waited for at the end of a run, all together."""


class CollapseError(RuntimeError):
    """A confirmed collapse has ended the run, as ``on_collapse="raise"`` asks for.

    Attributes:
        message: The alarm's message.
        step: Optimiser steps taken.
        checkpoint: The last healthy checkpoint, or None where there is none. Like all paths of a run a `pathlib.Path`,
            or where the run's folder isn't on this machine's disks something whose `str` is the URL.
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

    def __init__(self, message: str, step: int, checkpoint: RunPath | None = None) -> None:
        super().__init__(message, step, checkpoint)  # all of them, so that it can be pickled
        self.message, self.step, self.checkpoint = message, step, checkpoint

    def __str__(self) -> str:
        return self.message


@dataclass(frozen=True)
class AlarmEvent:
    """What `on_alarm` is called with: an episode of alarms has begun, has grown worse, or has ended.

    Attributes:
        name: The callback's name.
        severity: ``"warning"``, ``"critical"`` or ``"ended"``.
        step: Optimiser step of the reading.
        message: The message that the terminal shows.
        alarms: The alarms that hold; none when the episode has ended.
        records: The JSONL file, or None where no files are written.
        checkpoint: The last healthy checkpoint, or None.
    """

    name: str
    severity: str
    step: int
    message: str
    alarms: tuple[Alarm, ...]
    records: RunPath | None
    checkpoint: RunPath | None


class AlarmActions:
    """Decides when the user is notified of alarms, and notifies them, on the first process.

    Args:
        settings: The user's arguments.
        records: The JSONL file, or None.
        diagnostics: Reports failures of `on_alarm`. These end no run, `strict` or not.
    """

    def __init__(self, settings: Settings, records: RunPath | None, diagnostics: Diagnostics) -> None:
        self._call: Callable[[AlarmEvent], Any] | None = settings.alarm_call
        self._name = settings.name
        self._records = records
        self._diagnostics = diagnostics
        self._notified_level = 0  # of the alarms at the newest reading that wasn't muted
        self._muted = False
        self._threads: list[threading.Thread] = []
        self._errors: list[Exception] = []

    def update(self, outcome: Outcome, stop: bool) -> str:
        """Take in an outcome, on all processes, once for each.

        While alarms are muted nobody is notified. What still holds afterwards is reported like a beginning, and what
        has ended meanwhile isn't reported.

        Args:
            outcome: Of the newest reading.
            stop: Whether it ends the run.

        Returns:
            The severity that the user is to be notified of: ``"warning"``, ``"critical"``, ``"ended"``, or empty.
        """
        before, alarms = self._notified_level, outcome.report.open_alarms
        level = 0 if outcome.muted else level_of(alarms)
        self._notified_level = level
        if outcome.muted:
            return ""
        if not level:
            return ENDED if before else ""
        begun = any(alarm.step == outcome.report.step for alarm in alarms)
        if stop or level > before or (outcome.report.message and begun):
            return CRITICAL if level == 2 else WARNING
        return ""

    def notify(self, severity: str, outcome: Outcome, message: str, checkpoint: RunPath | None) -> None:
        """Warn and call `on_alarm`, on the first process.

        Args:
            severity: From `update`; where it is empty a message is only logged.
            outcome: Of the newest reading.
            message: The whole message, or empty.
            checkpoint: The last healthy checkpoint, or None.
        """
        self._report_errors()
        self._log_muting(outcome.muted)
        if severity and self._call is not None:
            alarms = () if severity == ENDED else tuple(outcome.report.open_alarms)
            step = outcome.report.step
            self._start(AlarmEvent(self._name, severity, step, message, alarms, self._records, checkpoint))
        if severity in (WARNING, CRITICAL):
            warnings.warn(f"{self._name}: {message}", CollapseWarning, stacklevel=2)
        elif message:
            log_info(f"{self._name}{' (muted)' if outcome.muted else ''}: {message}")

    def _log_muting(self, muted: bool) -> None:
        if muted != self._muted:
            self._muted = muted
            now = "muted: there are no warnings, calls or stops" if muted else "no longer muted"
            log_info(f"{self._name}: alarms are {now}.")

    def _start(self, event: AlarmEvent) -> None:
        """In a thread of its own, so that one that hangs holds up neither the training nor the next one.

        Context variables are those of the training's thread: trackio has its current run in one.
        """
        call = self._call
        assert call is not None

        def run() -> None:
            try:
                call(event)
            except Exception as error:
                self._errors.append(error)

        context = contextvars.copy_context()
        thread = threading.Thread(target=context.run, args=(run,), name="rankwatch on_alarm", daemon=True)
        self._threads = [*(one for one in self._threads if one.is_alive()), thread]
        thread.start()

    def _report_errors(self) -> None:
        """In the training's own thread, where its user's warning filters hold."""
        for error in self._errors:
            self._diagnostics.warn_once("on_alarm", f"on_alarm failed: {type(error).__name__}: {error}")

    def settle(self) -> None:
        """At the end of the run: wait for calls that are still going on, for 10 s at most."""
        latest = time.monotonic() + _PATIENCE
        for thread in self._threads:
            thread.join(max(latest - time.monotonic(), 0.0))
        if any(thread.is_alive() for thread in self._threads):
            self._diagnostics.warn_once(
                "on_alarm hangs",
                f"on_alarm did not return within {_PATIENCE:g} s after the end of the run",
            )
        self._report_errors()

    def state_dict(self) -> dict[str, Any]:
        """Plain values."""
        return {"notified_level": self._notified_level}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """What the user was notified of before a restart isn't reported again."""
        self._notified_level = int(state["notified_level"])
