"""What a reading's outcome sets off on this process: scalars, the healthy checkpoint, reports, alarm actions."""

from __future__ import annotations

import contextlib
import dataclasses
import math
from collections import deque
from collections.abc import Callable, Sequence
from typing import NoReturn

from rankwatch.alarms.alarm_message import ended_message, full_message
from rankwatch.arguments.settings import Settings
from rankwatch.monitor.monitor import Monitor
from rankwatch.monitor.outcome import Outcome
from rankwatch.readings.alarm import CRITICAL, INFO, WARNING, Alarm
from rankwatch.readings.codebook_reading import CodebookReading
from rankwatch.readings.reading import Reading
from rankwatch.reporting.tags import monitored, monitored_defaults
from rankwatch.run.alarm_actions import ENDED, AlarmActions, CollapseError
from rankwatch.run.healthy_checkpoint import HealthyCheckpoint
from rankwatch.run.run_reporters import RunReporters
from rankwatch.runtime.byte_payload import pack, unpack
from rankwatch.runtime.distributed import Group
from rankwatch.runtime.files.run_paths import RunPath, run_path

Checkpoints = Callable[[], tuple[Sequence[str], Sequence[str]]]
"""Paths of the checkpoints that exist: those whose files never change, and those that are written into again."""

_IN_MEMORY = 20_000
"""Readings and alarms that stay in memory; the JSONL file has all of them."""


class OutcomeReports:
    """Publishes and reports one outcome after the other.

    Args:
        settings: The user's arguments.
        monitor: Says which process this is, and reports failures.
        reporters: Show the readings.
        actions: What an alarm sets off.
        healthy: The last healthy checkpoint, or None where there are no files.

    Attributes:
        readings: The newest readings of layers.
        codebook_readings: The newest readings of quantizers.
        alarms: The newest alarms.
        published: The newest scalars by tag.
        collapse_message: The newest alarm's message with the last healthy checkpoint, for `CollapseError`.
    """

    def __init__(
        self,
        settings: Settings,
        monitor: Monitor,
        reporters: RunReporters,
        actions: AlarmActions,
        healthy: HealthyCheckpoint | None,
    ) -> None:
        self._settings = settings
        self._monitor = monitor
        self._reporters = reporters
        self._actions = actions
        self._healthy = healthy
        self.readings: deque[Reading] = deque(maxlen=_IN_MEMORY)
        self.codebook_readings: deque[CodebookReading] = deque(maxlen=_IN_MEMORY)
        self.alarms: deque[Alarm] = deque(maxlen=_IN_MEMORY)
        self.published = monitored_defaults(settings.name, settings.levels, settings.sources)
        self.collapse_message = ""

    @property
    def checkpoint(self) -> RunPath | None:
        """The last healthy checkpoint, or None as long as there is none."""
        return self._healthy.path if self._healthy is not None else None

    def set_aside(self, step: int, checkpoints: Checkpoints) -> None:
        """Set the newest checkpoint aside until it is known whether the reading that begins is healthy.

        Args:
            step: Optimiser steps taken.
            checkpoints: Gives the paths of the checkpoints that exist now.
        """
        if self._healthy is not None and self._monitor.world.rank == 0:
            guarded = self._monitor.diagnostics.guarded("keeping the last healthy checkpoint")
            with self._monitor.stopwatch.part("reporting"), guarded:
                stable, rewritten = checkpoints()
                self._healthy.set_aside(stable, step, rewritten)

    def close(self) -> None:
        """Drop a checkpoint that was set aside in vain."""
        if self._healthy is not None and self._monitor.world.rank == 0:
            with self._monitor.diagnostics.guarded("keeping the last healthy checkpoint"):
                self._healthy.settle(False)

    def report(self, outcome: Outcome, stop: bool) -> None:
        """Publish and report an outcome, and act on its alarms.

        Args:
            outcome: The same on all processes.
            stop: Whether it ends the run.
        """
        report = outcome.report
        first = self._monitor.world.rank == 0
        self.readings.extend(report.readings)
        self.codebook_readings.extend(report.codebooks)
        self.alarms.extend(alarm for alarm in report.alarms if alarm.severity != INFO)
        self._publish(outcome)
        severity = self._actions.update(outcome, stop)
        checkpoint = ""
        if self._healthy is not None and first:
            with self._monitor.diagnostics.guarded("keeping the last healthy checkpoint"):
                self._healthy.settle(outcome.healthy)
            checkpoint = self._healthy.describe() if report.alarm_level else ""
        notify = severity in (WARNING, CRITICAL)
        message = full_message(report.message, outcome.summary, notify=notify, checkpoint=checkpoint)
        if severity == ENDED and not message:  # the episode began before a restart
            message = ended_message(report.step)
        self.collapse_message = message or outcome.summary
        self._reporters.report(dataclasses.replace(report, message=message, muted=outcome.muted))
        if first:
            self._actions.notify(severity, outcome, message, self.checkpoint)

    def report_pending(self, *, stopped: bool) -> bool:
        """Report the outcome of the pending reading, if there is one.

        Args:
            stopped: Whether an earlier one has stopped the run.

        Returns:
            Whether it asks for a stop; decided before anything is reported, which only one process does.
        """
        monitor = self._monitor
        if not monitor.background.exists:
            return False
        stop = False
        with monitor.diagnostics.guarded("a reading"):
            outcome = monitor.outcome()
            stop = outcome.collapsed and self._settings.on_collapse != "warn" and not stopped
            with monitor.stopwatch.part("reporting"), monitor.diagnostics.guarded("reporting a reading"):
                self.report(outcome, stop)
        return stop

    def raise_collapse(self, step: int, group: Group | None) -> NoReturn:
        """End the run with an error that is the same on all processes, which all call this.

        Args:
            step: Optimiser steps taken.
            group: The other processes, where there are several.

        Raises:
            CollapseError: Always.
        """
        content = [self.collapse_message, str(self.checkpoint or "")]
        if group is not None:
            with contextlib.suppress(Exception):  # a process that is gone
                content, _ = unpack(group.broadcast_from_rank0(pack(content)))
        message, path = content
        raise CollapseError(message, step, run_path(path) if path else None)

    def _publish(self, outcome: Outcome) -> None:
        report, settings = outcome.report, self._settings
        values = monitored(report, settings.name, settings.levels, settings.sources)
        if math.isnan(report.health):  # nothing was measured: the last value stands
            values.pop(f"{settings.name}/health")
        self.published.update(values)
