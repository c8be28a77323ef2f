"""What a run saves with its checkpoints, and how a restarted run goes on from it: the one place that knows both."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import Any

from rankwatch.arguments.settings import Settings
from rankwatch.extraction.eval_sets.eval_set import EvalSet
from rankwatch.monitor.monitor import Monitor
from rankwatch.run.alarm_actions import AlarmActions
from rankwatch.run.healthy_checkpoint import HealthyCheckpoint
from rankwatch.runtime.diagnostics import log_info
from rankwatch.runtime.files.run_paths import RunPath, run_path

FORMAT = 5
"""Raised whenever the form of the saved state changes: a state of another form is refused."""

_RESTORING = "restoring the state from before the restart"


def eval_set_file(name: str, rank: int) -> str:
    """Name of the file in which a process's part of the first batches is stored, in the run's folder."""
    return f"{name}.eval_set.rank{rank}.pt"


def call_file(name: str, rank: int) -> str:
    """Name of the file in which a recorded call is stored that other sets' audio is put into, likewise."""
    return f"{name}.eval_set.call.rank{rank}.pt"


@dataclass
class RunIdentity:
    """Which run this is, and from which one it has what: so nothing of another run's is taken for its own.

    Attributes:
        run: This one, from its start or restart on; the same on all processes.
        curves: The run in which its curves began: this one, or the one that it goes on from.
        eval_set: The run in which its first batches were collected, likewise.
    """

    run: str = ""
    curves: str = ""
    eval_set: str = ""


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
        identity: Which run this is; is filled in.
    """

    def __init__(
        self,
        settings: Settings,
        folder: RunPath | None,
        monitor: Monitor,
        actions: AlarmActions,
        healthy: HealthyCheckpoint | None,
        published: dict[str, float],
        identity: RunIdentity,
    ) -> None:
        self._settings = settings
        self._folder = folder
        self._monitor = monitor
        self._actions = actions
        self._healthy = healthy
        self._published = published
        self._identity = identity
        self._eval_set_file = eval_set_file(settings.name, monitor.world.rank)
        self._eval_set_saved = False
        self._complete = False  # remembered, since a state may be asked for after the end
        self.sets_are_given = False
        """Whether evaluation sets come from elsewhere, so that none is stored and none restored."""

    def agree_on_identity(self) -> None:
        """A new name for this run, the same on all processes, which all call this."""
        with self._monitor.diagnostics.guarded("naming the run"):
            number = self._monitor.row_collector.all_gather_int(uuid.uuid4().int >> 66, "name of the run")[0]
            name = f"{number:016x}"
            vars(self._identity).update(run=name, curves=name, eval_set=name)

    def state_dict(self) -> dict[str, Any]:
        """Plain values, small; loads with ``weights_only=True``. Waits for a reading that is being worked on."""
        return {
            "format": FORMAT,
            **vars(self._identity),
            "n_utterances": self._settings.rows.n_utterances,
            "complete": self._complete,
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
                has none, none goes on. A state that this very run has saved before its first reading holds nothing to
                go on from: learning-rate and batch-size finders save one and load it again, at a run's start.
        """
        if state and not state.get("attached", True):  # saved before there were layers to watch: nothing to go on from
            state = None
        if state and state.get("run", "") == self._identity.run and self._monitor.last_step is None:
            return
        with self._monitor.diagnostics.guarded(_RESTORING):
            tag = "a state from before the restart"
            if min(self._monitor.row_collector.all_gather_int(int(state is not None), tag)):
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
            self._identity.curves = state.get("curves", "")
            self._published.update(state["published"])
            self._actions.load_state_dict(state["actions"])
            if self._healthy is not None and state["healthy"] is not None:
                self._healthy.load_state_dict(state["healthy"])
        if self._settings.first_batches_set is not None and not self.sets_are_given:
            self._restore_eval_set(state)

    def _restore_eval_set(self, state: dict[str, Any]) -> None:
        found, reason = self._find_eval_set(state)
        name = self._settings.name
        if self._monitor.eval_sets.restore(found):
            self._identity.eval_set = state.get("eval_set", "")
            self._complete = True
        elif self._monitor.world.rank == 0 and not state.get("complete", True):
            log_info(
                f"{name}: the default evaluation set was not complete yet when the checkpoint was saved; it is copied "
                "from the next training batches."
            )
        elif self._monitor.world.rank == 0:
            log_info(
                f"{name}: the default evaluation set could not be restored ({reason}). It is copied anew from the next "
                "training batches; where these hold other utterances, its curves start again."
            )

    def _find_eval_set(self, state: dict[str, Any]) -> tuple[EvalSet | None, str]:
        """The saved run's own evaluation set, if it is as large as it is to be now; or why not."""
        before, now = state.get("processes"), self._monitor.world.size
        if before != now:
            return None, f"{before} processes before, {now} now"
        wanted = self._settings.rows.n_utterances
        if state.get("n_utterances", wanted) != wanted:
            return None, f"n_utterances={state['n_utterances']} before, {wanted} now"
        file = run_path(state["folder"]) / self._eval_set_file
        try:
            found = EvalSet.load(file)
        except Exception as error:
            return None, f"{type(error).__name__}: {error}".partition("\n")[0]
        if found.origin != state.get("eval_set", ""):
            return None, f"{file} is another run's, which has written into the same folder since"
        return found, ""

    def save_eval_set(self) -> None:
        """Write the default evaluation set to its file once it is complete, for a run that is restarted.

        Where another set's audio is put into a recorded call, that call too, for a replay.
        """
        complete = self._monitor.eval_sets.first_batches
        self._complete = complete is not None
        if self._folder is None or self._eval_set_saved or not self._monitor.row_collector.complete:
            return
        self._eval_set_saved = True
        if self.sets_are_given:
            return
        guarded = self._monitor.diagnostics.guarded("writing the evaluation set")
        with self._monitor.stopwatch.part("reporting"), guarded:
            if complete is not None:
                complete.origin = self._identity.eval_set
                complete.save(self._folder / self._eval_set_file)
            if self._monitor.eval_sets.recorded is not None:
                call = call_file(self._settings.name, self._monitor.world.rank)
                self._monitor.eval_sets.recorded.save(self._folder / call)
