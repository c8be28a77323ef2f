"""What a run saves with its checkpoints, and how a restarted run goes on from it: the one place that knows both."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rankwatch.arguments.settings import Settings
from rankwatch.extraction.eval_sets.eval_set import EvalSet
from rankwatch.monitor.monitor import Monitor
from rankwatch.run.alarm_actions import AlarmActions
from rankwatch.run.healthy_checkpoint import HealthyCheckpoint
from rankwatch.runtime.diagnostics import log_info

FORMAT = 5
"""Raised whenever the form of the saved state changes: a state of another form is refused."""

_RESTORING = "restoring the state from before the restart"


class RunState:
    """Saves and restores one run: the monitor with its alarms, the published scalars, the default evaluation set.

    The state itself is plain and goes into the trainer's checkpoint; the evaluation set that was copied from the first
    training batches is a file in the records' folder, one for each process.

    Args:
        settings: The user's arguments.
        folder: Where files go, or None for none at all.
        monitor: Holds what was read and which alarms are open.
        actions: Knows which alarms the user was notified of.
        healthy: The last healthy checkpoint, or None where there are no files.
        published: The newest scalars by tag; is updated.
    """

    def __init__(
        self,
        settings: Settings,
        folder: Path | None,
        monitor: Monitor,
        actions: AlarmActions,
        healthy: HealthyCheckpoint | None,
        published: dict[str, float],
    ) -> None:
        self._settings = settings
        self._folder = folder
        self._monitor = monitor
        self._actions = actions
        self._healthy = healthy
        self._published = published
        self._eval_set_file = f"{settings.name}.eval_set.rank{monitor.world.rank}.pt"
        self._eval_set_saved = False

    def state_dict(self) -> dict[str, Any]:
        """Plain values, small; loads with ``weights_only=True``. Waits for a reading that is being worked on."""
        return {
            "format": FORMAT,
            "monitor": self._monitor.state_dict(),
            "published": dict(self._published),
            "healthy": self._healthy.state_dict() if self._healthy is not None else None,
            "actions": self._actions.state_dict(),
            "folder": str(self._folder or ""),
            "processes": self._monitor.world.size,
        }

    def load_state_dict(self, state: dict[str, Any] | None) -> None:
        """Go on where another run was: history, open alarms and the default evaluation set.

        Args:
            state: What `state_dict` gave, or None where it is lost. All processes call this, with it or without: if one
                has none, none goes on.
        """
        with self._monitor.diagnostics.guarded(_RESTORING):
            if self._monitor.row_collector.all_processes_have(state is not None, "a state from before the restart"):
                assert state is not None
                self._restore(state)
            elif state is not None:
                log_info(
                    f"{self._settings.name}: another process has no state from before the restart, so curves and "
                    "alarms start again on all of them. The training itself is not affected."
                )

    def _restore(self, state: dict[str, Any]) -> None:
        if state.get("format") != FORMAT:
            self._monitor.diagnostics.fail(
                "format of the state",
                f"the checkpoint holds a rankwatch state of another format ({state.get('format', 'before 5')}; this "
                f"version reads {FORMAT}). Curves and alarms start again, and the default evaluation set is copied "
                "anew from the next training batches. The training itself is not affected.",
            )
            return
        with self._monitor.diagnostics.guarded(_RESTORING):
            self._monitor.load_state_dict(state["monitor"])
            self._published.update(state["published"])
            self._actions.load_state_dict(state["actions"])
            if self._healthy is not None and state["healthy"] is not None:
                self._healthy.load_state_dict(state["healthy"])
        if self._settings.first_batches_set is not None:
            self._restore_eval_set(state)

    def _restore_eval_set(self, state: dict[str, Any]) -> None:
        found: EvalSet | None = None
        before, now = state.get("processes"), self._monitor.world.size
        reason = f"{before} processes before, {now} now"
        if before == now:
            try:
                found = EvalSet.load(Path(state["folder"]) / self._eval_set_file)
            except Exception as error:
                reason = f"{type(error).__name__}: {error}".partition("\n")[0]
        if not self._monitor.eval_sets.restore(found) and self._monitor.world.rank == 0:
            log_info(
                f"{self._settings.name}: the default evaluation set could not be restored ({reason}). It is copied "
                "anew from the next training batches, and its curves start again."
            )

    def save_eval_set(self) -> None:
        """Write the default evaluation set to its file once it is complete, for a run that is restarted."""
        complete = self._monitor.eval_sets.first_batches
        if complete is None or self._folder is None or self._eval_set_saved:
            return
        self._eval_set_saved = True
        guarded = self._monitor.diagnostics.guarded("writing the evaluation set")
        with self._monitor.stopwatch.part("reporting"), guarded:
            complete.save(self._folder / self._eval_set_file)
