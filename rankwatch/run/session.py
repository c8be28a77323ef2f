"""One run under watch: the monitor, its reporters and its files. Knows no trainer; adapters are thin because of it."""

from __future__ import annotations

import contextlib
import dataclasses
import math
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

from torch import nn

from rankwatch.extraction.eval_sets.eval_set import EvalSet
from rankwatch.monitor.monitor import Monitor
from rankwatch.monitor.outcome import Outcome
from rankwatch.monitor.settings import Settings
from rankwatch.readings.alarm import CRITICAL, INFO, WARNING, Alarm
from rankwatch.readings.reading import Reading
from rankwatch.reporting.tags import monitored, monitored_defaults
from rankwatch.run.alarm_actions import AlarmActions, CollapseError
from rankwatch.run.healthy_checkpoint import HealthyCheckpoint
from rankwatch.run.run_reporters import RunReporters
from rankwatch.runtime.byte_payload import pack, unpack
from rankwatch.runtime.diagnostics import tell
from rankwatch.runtime.distributed import Group, World

_KEPT = 20_000  # readings and alarms kept in memory; the JSONL file has them all

Checkpoints = Callable[[], tuple[Sequence[str], Sequence[str]]]
"""Paths of the checkpoints that there are: those whose files never change, and those that are rewritten."""


class Session:
    """A run under watch, from the first batch to the last.

    Args:
        settings: The user's arguments.
        folder: Where files go, or None for none at all.
        world: This process among the others; the first one reports.
        group: The other processes, where there are several.
        surroundings: What else `Monitor` takes: precision, autocast, outermost, rate.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        folder: Path | None = None,
        world: World | None = None,
        group: Group | None = None,
        **surroundings: Any,
    ) -> None:
        self.settings = settings
        self.readings: deque[Reading] = deque(maxlen=_KEPT)
        self.alarms: deque[Alarm] = deque(maxlen=_KEPT)
        self.published = monitored_defaults(settings.name, settings.levels, settings.sources)
        self._folder = folder
        self._group = group
        self.monitor = Monitor(
            settings,
            world=world,
            group=group,
            mute=folder / f"{settings.name}.mute" if folder is not None else None,
            **surroundings,
        )
        self._books = RunReporters(settings, self.monitor, self.records)
        self._alerts = AlarmActions(settings, self.records, self.monitor.diagnostics)
        self._rank = self.monitor.world.rank
        self._healthy = HealthyCheckpoint(folder / f"{settings.name}.last_healthy.ckpt") if folder is not None else None
        self._stopped_at: int | None = None
        self._collapse = ""
        self._set_saved = False
        self.attached = False  # as long as there is nothing to watch there is no state

    @property
    def records(self) -> Path | None:
        """The JSONL file, or None where no files are written."""
        return None if self._folder is None else self._folder / f"{self.settings.name}.jsonl"

    # -- the training loop -------------------------------------------------------------------------------

    def begin(self, *, loggers: Sequence[Any] = (), shortest: str = "") -> None:
        """Training begins.

        Args:
            loggers: The trainer's loggers; also SummaryWriters.
            shortest: What keeps the run from stopping early, in words, or empty.
        """
        self.monitor.stopwatch.begin()
        self._books.loggers = loggers
        if not loggers and self._folder is not None and self._rank == 0:
            self.monitor.diagnostics.warn("logger", f"the trainer has no logger; readings go to {self.records} only")
        if self.settings.on_collapse == "stop" and shortest:
            self.monitor.diagnostics.warn("shortest", f"on_collapse='stop' can't end the run before {shortest}")

    def read_if_due(self, step: int, checkpoints: Checkpoints) -> bool:
        """Hand over what has arrived, and begin a reading, where that is due after `step` optimiser steps.

        Args:
            step: Optimiser steps taken.
            checkpoints: Gives the paths of the checkpoints that there are now.

        Returns:
            Whether the run is to be stopped: the same on all processes, and True once only.
        """
        stop = self._hand_over() if self.monitor.arrived(step) else False
        if stop:
            self._stopped_at = step
        elif self.monitor.due(step):
            self._start(step, checkpoints)
        return stop

    def last_reading(self, step: int, checkpoints: Checkpoints) -> bool:
        """A reading at the end of training, if there was none at this step and no collapse has just ended it.

        Returns:
            Whether it, or the one before, has confirmed a collapse that is to stop the run.
        """
        stop = self._hand_over()
        monitor = self.monitor
        if not monitor.gathering.complete:
            monitor.complete()
        ready = monitor.gathering.complete and bool(monitor.gathering.sources)
        if ready and step not in (monitor.last_step, self._stopped_at):
            self._start(step, checkpoints)
            stop = self._hand_over() or stop
        return stop

    def end(self, step: int, checkpoints: Checkpoints | None = None, *, broken_off: str = "") -> None:
        """The run is over: a last reading, unless it broke off, and the summary.

        Raises:
            CollapseError: With ``on_collapse="raise"``, where it is these last readings that confirm a collapse.
        """
        stop = False
        if checkpoints is not None:
            stop = self.last_reading(step, checkpoints)
        elif self.monitor.arrives_soon():
            self._hand_over()
        told: dict[str, Any] = {"stopped": self.stopped, "checkpoint": self._last_healthy, "broken_off": broken_off}
        self._books.close(step, list(self.alarms), **told)
        self._alerts.settle()
        if stop and self.settings.on_collapse == "raise":
            self._raise(step)

    def give_up(self, step: int) -> None:
        """With ``on_collapse="raise"``, once `read_if_due` has said to stop: close the books, then end the run.

        Nobody leaves before the first process is done: a launcher may end the others as soon as one is gone.

        Raises:
            CollapseError: The same on all processes.
        """
        if self.settings.on_collapse != "raise":
            return
        with contextlib.suppress(Exception):  # a better one is on its way
            self.end(step)
        self._raise(step)

    def _raise(self, step: int) -> NoReturn:
        told = [self._collapse, str(self._last_healthy or "")]
        if self._group is not None:
            with contextlib.suppress(Exception):  # a process that is gone
                told, _ = unpack(self._group.from_first(pack(told)))
        message, kept = told
        raise CollapseError(message, step, Path(kept) if kept else None)

    @property
    def stopped(self) -> bool:
        """Whether a collapse has ended the run."""
        return self._stopped_at is not None

    @property
    def _last_healthy(self) -> Path | None:
        return self._healthy.path if self._healthy is not None else None

    def close(self) -> None:
        """No hook, no thread and no process group of ours outlives the run, nor what was put aside in vain."""
        if self._healthy is not None and self._rank == 0:
            with self.monitor.diagnostics.guarded("keeping the last healthy checkpoint"):
                self._healthy.settle(False)
        self.monitor.close()

    # -- a reading ---------------------------------------------------------------------------------------

    def _start(self, step: int, checkpoints: Checkpoints) -> None:
        """Draw the rows, and put the newest checkpoint aside until it is known whether they are healthy."""
        with self.monitor.diagnostics.guarded("a reading"):
            self.monitor.start(step)
        self._save_probe_set()
        if self._healthy is not None and self._rank == 0:
            guarded = self.monitor.diagnostics.guarded("keeping the last healthy checkpoint")
            with self.monitor.stopwatch.part("reporting"), guarded:
                stable, rewritten = checkpoints()
                self._healthy.put_aside(stable, step, rewritten)

    def _hand_over(self) -> bool:
        """Tell what came of the pending reading, if there is one.

        Whether it asks for a stop is known before anything is told, which only one process does.
        """
        if not self.monitor.pending:
            return False
        stop = False
        with self.monitor.diagnostics.guarded("a reading"):
            outcome = self.monitor.outcome()
            stop = outcome.collapsed and self.settings.on_collapse != "warn" and self._stopped_at is None
            self._collapse = outcome.report.message or outcome.summary
            with self.monitor.stopwatch.part("reporting"), self.monitor.diagnostics.guarded("reporting a reading"):
                self._tell(outcome, stop)
        return stop

    def _save_probe_set(self) -> None:
        """As soon as it is complete, for a run that is restarted."""
        held = self.monitor.gathering.first_batches_set
        if held is not None and self._folder is not None and not self._set_saved:
            self._set_saved = True
            with (
                self.monitor.stopwatch.part("reporting"),
                self.monitor.diagnostics.guarded("writing the evaluation set"),
            ):
                held.save(self._folder / self._eval_set_file)

    def _tell(self, outcome: Outcome, stop: bool) -> None:
        report, settings = outcome.report, self.settings
        self.readings.extend(report.readings)
        self.alarms.extend(alarm for alarm in report.alarms if alarm.severity != INFO)
        values = monitored(report, settings.name, settings.levels, settings.sources)
        if math.isnan(report.health):  # nothing was measured: the last value stands
            values.pop(f"{settings.name}/health")
        self.published.update(values)
        severity = self._alerts.severity(outcome, stop)
        aloud = severity in (WARNING, CRITICAL)
        message = outcome.summary if aloud and (outcome.muted or not report.message) else report.message
        if self._healthy is not None and self._rank == 0:
            with self.monitor.diagnostics.guarded("keeping the last healthy checkpoint"):
                self._healthy.settle(outcome.healthy)
            message = f"{message} {self._healthy.describe()}" if message and report.alarm_level else message
            self._collapse = message
        self._books.report(dataclasses.replace(report, message=message))
        if self._rank == 0:
            self._alerts.give(severity, outcome, message, self._last_healthy)

    # -- state -------------------------------------------------------------------------------------------

    @property
    def _eval_set_file(self) -> str:
        return f"{self.settings.name}.eval_set.rank{self._rank}.pt"

    def attach(self, root: nn.Module) -> None:
        """See `Monitor.attach`."""
        self.monitor.attach(root)
        self.attached = True

    def state_dict(self) -> dict[str, Any]:
        """Plain values, small; loads with ``weights_only=True``. Waits for a reading that is being worked on."""
        return {
            "monitor": self.monitor.state_dict(),
            "published": dict(self.published),
            "healthy": self._healthy.state_dict() if self._healthy is not None else None,
            "alerts": self._alerts.state_dict(),
            "folder": str(self._folder or ""),
            "processes": self.monitor.world.size,
        }

    def load_state_dict(self, state: dict[str, Any] | None) -> None:
        """Go on where another session was, after `attach`: history, alarms and the default evaluation set.

        Args:
            state: What `state_dict` gave, or None where it is lost. All processes call this, with it or without: if one
                has none, none goes on.
        """
        with self.monitor.diagnostics.guarded("taking over the state from before the restart"):
            if self.monitor.gathering.all_processes_have(state is not None, "a state from before the restart"):
                assert state is not None
                self._take_over(state)
            elif state is not None:
                tell(f"{self.settings.name}: another process has no state from before the restart; curves start again.")

    def _take_over(self, state: dict[str, Any]) -> None:
        with self.monitor.diagnostics.guarded("taking over the state from before the restart"):
            self.monitor.load_state_dict(state["monitor"])
            self.published.update(state["published"])
            self._alerts.load_state_dict(state["alerts"])
            if self._healthy is not None and state["healthy"] is not None:
                self._healthy.load_state_dict(state["healthy"])
        if self.settings.first_batches_set is None:
            return
        kept: EvalSet | None = None
        reason = f"{state.get('processes')} processes before, {self.monitor.world.size} now"
        if state.get("processes") == self.monitor.world.size:
            try:
                kept = EvalSet.load(Path(state["folder"]) / self._eval_set_file)
            except Exception as error:
                reason = f"{type(error).__name__}: {error}".partition("\n")[0]
        if not self.monitor.gathering.keep(kept) and self._rank == 0:
            tell(f"{self.settings.name}: the default evaluation set is made anew, its curves start again ({reason}).")
