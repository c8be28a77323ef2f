"""One run under watch: everything that an adapter to a trainer calls, and nothing that knows a trainer."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import Any

from torch import nn

from rankwatch.arguments.settings import Settings
from rankwatch.extraction.model.lazy_modules import is_unbuilt
from rankwatch.monitor.monitor import Monitor
from rankwatch.readings.alarm import Alarm
from rankwatch.readings.codebook_reading import CodebookReading
from rankwatch.readings.reading import Reading
from rankwatch.run.alarm_actions import AlarmActions
from rankwatch.run.healthy_checkpoint import HealthyCheckpoint
from rankwatch.run.outcome_reports import Checkpoints, OutcomeReports
from rankwatch.run.run_reporters import RunReporters
from rankwatch.run.run_state import RunIdentity, RunState
from rankwatch.runtime.diagnostics import Diagnostics
from rankwatch.runtime.distributed import Group, World
from rankwatch.runtime.files.run_paths import RunPath


class Session:
    """A run under watch, from the first batch to the last; the only class that adapters to trainers talk to.

    Args:
        settings: The user's arguments.
        folder: Where files go, or None for none at all.
        world: This process among the others; the first one reports.
        group: The other processes, where there are several.
        preserved: Preserves the last healthy checkpoint.
        surroundings: What else `Monitor` takes: precision, autocast, outermost, learning_rate.

    Attributes:
        attached: Whether layers are watched; before that there are no readings.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        folder: RunPath | None = None,
        world: World | None = None,
        group: Group | None = None,
        preserved: type[HealthyCheckpoint] = HealthyCheckpoint,
        **surroundings: Any,
    ) -> None:
        self.settings = settings
        self._group = group
        self._records = folder / f"{settings.name}.jsonl" if folder is not None else None
        self.monitor = Monitor(
            settings,
            world=world,
            group=group,
            mute=folder / f"{settings.name}.mute" if folder is not None else None,
            **surroundings,
        )
        self._rank = self.monitor.world.rank
        identity = RunIdentity()
        self.reporters = RunReporters(settings, self.monitor, self._records, identity)
        self._actions = AlarmActions(settings, self._records, self.monitor.diagnostics)
        healthy = preserved(folder / f"{settings.name}.last_healthy.ckpt") if folder is not None else None
        self.outcomes = OutcomeReports(settings, self.monitor, self.reporters, self._actions, healthy)
        self.state = RunState(settings, folder, self.monitor, self._actions, healthy, self.published, identity)
        self._stopped_at: int | None = None
        self.attached = False
        self._unbuilt: nn.Module | None = None
        self._restored: dict[str, Any] | None = None  # until there is something to restore it to

    @property
    def readings(self) -> list[Reading]:
        """The newest readings; the JSONL file has all of them."""
        return list(self.outcomes.readings)

    @property
    def codebook_readings(self) -> list[CodebookReading]:
        """The newest readings of quantizers, likewise."""
        return list(self.outcomes.codebook_readings)

    @property
    def alarms(self) -> list[Alarm]:
        """The newest alarms, likewise."""
        return list(self.outcomes.alarms)

    @property
    def published(self) -> dict[str, float]:
        """The newest scalars by tag, which a trainer's own callbacks may monitor."""
        return self.outcomes.published

    def own_writer(self) -> Any:
        """See `RunReporters.own_writer`."""
        return self.reporters.own_writer()

    def attach(self, root: nn.Module) -> None:
        """Find the layers, read the evaluation sets, register the hooks; see `Monitor.attach`.

        Lazy modules (``nn.LazyLinear``) are waited for: until training begins, by which time a trial batch may have
        built them, or until the first training batch has.
        """
        self._unbuilt = root if is_unbuilt(root) else None
        if self._unbuilt is None:
            self._attach(root)

    def _attach(self, root: nn.Module) -> None:
        self._unbuilt = None
        self.monitor.attach(root)
        self.state.agree_on_identity()
        self.attached = True
        if self._restored is not None:
            self.state.load_state_dict(self._restored)

    def begin(self, *, loggers: Sequence[Any] = (), earliest_stop: str = "") -> None:
        """Training begins.

        Args:
            loggers: The trainer's loggers; also SummaryWriters.
            earliest_stop: What keeps the run from stopping early (``"min_steps=1000"``), or empty.
        """
        if self._unbuilt is not None:
            self.attach(self._unbuilt)
        self.monitor.stopwatch.begin()
        self.reporters.begin(loggers)
        if self.settings.on_collapse == "stop" and earliest_stop:
            late = f"on_collapse='stop' can't end the run before {earliest_stop} is reached"
            self.diagnostics.warn_once("earliest stop", late)

    def batch_starts(self, batch: Any, step: int) -> None:
        """Before a training batch's forward pass, after `step` optimiser steps."""
        if self.attached:
            self.monitor.batch_starts(batch, step)

    def before_backward(self) -> None:
        """After the forward pass, before backward."""
        if self.attached:
            self.monitor.before_backward()

    def batch_ends(self, batch: Any, failed: bool = False) -> None:
        """After a training batch, or after an exception in one."""
        if self.attached:
            self.monitor.batch_ends(batch, failed)
        elif self._unbuilt is not None and not failed:
            with self.diagnostics.guarded("finding the layers to watch"):
                self._attach(self._unbuilt)

    def epoch_ends(self) -> None:
        """After one pass over the data: no utterance will be new from here on."""
        if self.attached:
            self.monitor.epoch_ends()

    @property
    def diagnostics(self) -> Diagnostics:
        """How failures are reported: one warning each, and the training goes on."""
        return self.monitor.diagnostics

    def read_if_due(self, step: int, checkpoints: Checkpoints) -> bool:
        """Report what has arrived, and begin a reading where one is due after `step` optimiser steps.

        Args:
            step: Optimiser steps taken.
            checkpoints: Gives the paths of the checkpoints that exist now.

        Returns:
            Whether the run is to be stopped: the same on all processes, and True only once.
        """
        if not self.attached:
            return False
        stop = self.outcomes.report_pending(stopped=self.stopped) if self.monitor.background.is_due(step) else False
        if stop:
            self._stopped_at = step
        elif self.monitor.agree_whether_due(step):
            self._start_reading(step, checkpoints)
        return stop

    def last_reading(self, step: int, checkpoints: Checkpoints) -> bool:
        """Make a reading at the end of training, unless there was one at this step or a collapse has just ended it.

        Returns:
            Whether it, or the one before, has confirmed a collapse that is to stop the run.
        """
        stop = self.outcomes.report_pending(stopped=self.stopped)
        done = step in (self.monitor.last_step, self._stopped_at) or not self.attached
        if not done and self.monitor.complete_eval_sets():
            self._start_reading(step, checkpoints)
            stop = self.outcomes.report_pending(stopped=self.stopped) or stop
        return stop

    def end(self, step: int, checkpoints: Checkpoints | None = None, *, interrupted_by: str = "") -> None:
        """The run is over: a last reading, unless it was interrupted, and the summary.

        With ``on_collapse="raise"`` a collapse that these last readings confirm is raised as a `CollapseError`.

        Args:
            step: Optimiser steps taken.
            checkpoints: See `read_if_due`; None makes no further reading.
            interrupted_by: The exception's name, where one has ended the run.
        """
        stop = self.last_reading(step, checkpoints) if checkpoints is not None else False
        if checkpoints is None and self.monitor.background.wait_briefly():
            self.outcomes.report_pending(stopped=self.stopped)
        self.reporters.close(step, self.alarms, self.stopped, self.outcomes.checkpoint, interrupted_by)
        self._actions.settle()
        if stop and self.settings.on_collapse == "raise":
            self.outcomes.raise_collapse(step, self._group)

    def raise_if_asked(self, step: int) -> None:
        """With ``on_collapse="raise"``, after `read_if_due` has returned True: end the run with an error.

        `CollapseError` is raised after the summary, the same on all processes. None leaves before the first one is
        done: a launcher may end the others as soon as one is gone.
        """
        if self.settings.on_collapse != "raise":
            return
        with contextlib.suppress(Exception):  # the error that matters is raised below
            self.end(step)
        self.outcomes.raise_collapse(step, self._group)

    @property
    def stopped(self) -> bool:
        """Whether a collapse has ended the run."""
        return self._stopped_at is not None

    def close(self) -> None:
        """Remove all hooks, threads and groups, and a checkpoint set aside in vain; writers are closed before."""
        self.outcomes.close()
        self.reporters.finish()
        self.monitor.close()

    def state_dict(self) -> dict[str, Any]:
        """Plain values, small; loads with ``weights_only=True``. Waits for a reading that is being worked on."""
        return self.state.state_dict() if self.attached else self._restored or {"attached": False}

    def load_state_dict(self, state: dict[str, Any] | None) -> None:
        """Go on where another session was, after `attach`; see `RunState.load_state_dict`."""
        self._restored = state
        if self.attached:
            self.state.load_state_dict(state)

    # -- a reading -------------------------------------------------------------------------------------------

    def _start_reading(self, step: int, checkpoints: Checkpoints) -> None:
        """Draw the rows, and set the newest checkpoint aside until it is known whether they are healthy."""
        with self.diagnostics.guarded("a reading"):
            self.monitor.start(step)
        self.state.save_eval_set()
        self.outcomes.set_aside(step, checkpoints)
