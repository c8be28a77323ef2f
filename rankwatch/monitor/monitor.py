"""The monitor: gather, evaluate beside the training, hand over. Knows no trainer; `rankwatch.run.session` calls it."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import nn

from rankwatch.extraction.eval_sets.eval_set import EvalSet
from rankwatch.monitor.codebook_collector import CodebookCollector
from rankwatch.monitor.evaluator import Evaluator, ExchangeFailedError
from rankwatch.monitor.outcome import Outcome
from rankwatch.monitor.pending_reading import CollectedRows, EvaluationResult, PendingReading
from rankwatch.monitor.row_collector import RowCollector
from rankwatch.monitor.settings import Settings
from rankwatch.runtime.background_job import BackgroundJob
from rankwatch.runtime.default_device import DefaultDevice, on_the_cpu
from rankwatch.runtime.diagnostics import Diagnostics
from rankwatch.runtime.distributed import Group, World
from rankwatch.runtime.stopwatch import Stopwatch

WAITS_ON_CPU = True
"""Training on the CPU has no core to spare: one step is longer then, instead of several being slower. Told as late."""

_LEAVING = 10.0
"""Seconds that an outcome is waited for when the run has broken off: other processes may be gone."""


class Monitor:
    """Watches one model during one run.

    Args:
        settings: The user's arguments.
        world: This process among the others.
        group: The other processes, where there are several.
        precision: The trainer's precision, for the protocol.
        autocast: Context in which an evaluation forward pass runs, as a training forward pass does.
        outermost: Gives what training calls: the model or a wrapper around it (FSDP's), which may come later.
        rate: Gives the learning rate, or None where it isn't known.
        mute: The file that mutes alarms while it is there, or None.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        world: World | None = None,
        group: Group | None = None,
        precision: str = "32-true",
        autocast: Callable[[], contextlib.AbstractContextManager[Any]] = contextlib.nullcontext,
        outermost: Callable[[], nn.Module] | None = None,
        rate: Callable[[], float | None] = lambda: None,
        mute: Path | None = None,
    ) -> None:
        self.settings = settings
        self.default_device = DefaultDevice()
        self.diagnostics = Diagnostics(settings.name, settings.strict)
        self.stopwatch = Stopwatch()
        self.last_step: int | None = None
        self.readings_taken = 0
        self.longest_interval = 0  # the most optimiser steps between two readings
        self.world = world or World()
        self._codebooks = CodebookCollector(settings, self.world, precision, self.diagnostics)
        self._group = group
        self._precision, self._autocast = precision, autocast
        self._outermost = outermost
        self._rate = rate
        self._mute = mute
        self._gathering: RowCollector | None = None
        self._evaluator: Evaluator | None = None
        self._shares_cpu = False
        self._pending: PendingReading | None = None
        self._next_step: int | None = None
        self._agreed_at: int | None = None
        self._stuck = False

    @on_the_cpu
    def attach(self, root: nn.Module) -> None:
        """Find the layers, read the named evaluation sets, put the hooks in place.

        Args:
            root: The whole model.

        Raises:
            ValueError: For a layer pattern that matches nothing, or a bad evaluation set.
            FileNotFoundError: For a folder that isn't there.
        """
        self._gathering = RowCollector(
            root,
            self.settings,
            world=self.world,
            group=self._group,
            diagnostics=self.diagnostics,
            stopwatch=self.stopwatch,
            precision=self._precision,
            autocast=self._as_the_users,
            outermost=self._outermost,
        )
        self._gathering.notes += self._codebooks.attach(root)
        self._evaluator = Evaluator(
            self.settings,
            [layer.name for layer in self._gathering.layers],
            self._group,
            first=self.world.rank == 0,
            quantizers=self._codebooks.names,
            mute=self._mute,
        )

    @contextlib.contextmanager
    def _as_the_users(self) -> Iterator[None]:
        """A forward pass as in training: under the trainer's autocast, with the user's default device."""
        with self.default_device.back(), self._autocast():
            yield

    @property
    def gathering(self) -> RowCollector:
        """The model's side; after `attach`."""
        assert self._gathering is not None, "Monitor.attach(model) comes first"
        return self._gathering

    @property
    def _evaluation(self) -> Evaluator:
        assert self._evaluator is not None
        return self._evaluator

    @on_the_cpu
    def batch_starts(self, batch: Any, step: int) -> None:
        """Before a training batch's forward pass, after `step` optimiser steps."""
        self._evaluation.schedule.begin(step)
        with self.stopwatch.part("watching"), self.diagnostics.guarded("reading a training batch"):
            self.gathering.batch_starts(batch, 0 if self._next_step is None else self._next_step - step)
            self._codebooks.batch_starts(step, self._next_step)

    @on_the_cpu
    def before_backward(self) -> None:
        """After the forward pass, before backward."""
        with self.stopwatch.part("watching"), self.diagnostics.guarded("reading the training pass"):
            self.gathering.before_backward()

    @on_the_cpu
    def batch_ends(self, batch: Any) -> None:
        """After a training batch."""
        with self.stopwatch.part("watching"), self.diagnostics.guarded("reading a training batch"):
            self._codebooks.batch_ends()
            self.gathering.batch_ends(batch)

    def epoch_ends(self) -> None:
        """No utterance will be new from here on: the default set is complete, as of the next optimiser step."""
        self.gathering.collection.epoch_ends()

    @on_the_cpu
    def complete_eval_sets(self) -> bool:
        """At the end of the run: complete the default evaluation set as it is, on all processes at once.

        Returns:
            Whether there is a source that can be read.
        """
        if not self.gathering.complete:
            with self.diagnostics.guarded("completing the evaluation set"):
                self.gathering.collection.finish()
        return self.gathering.complete and bool(self.gathering.sources)

    @property
    def first_batches_set(self) -> EvalSet | None:
        """The evaluation set that was copied from the first training batches, once it is complete."""
        return self.gathering.collection.first_batches

    def restore_eval_set(self, eval_set: EvalSet | None) -> bool:
        """Use the first batches from before a restart; see `EvalSetCollection.restore`."""
        return self.gathering.collection.restore(eval_set)

    def all_processes_have(self, available: bool, what: str) -> bool:
        """Whether all processes have something; each says whether it does."""
        return self.gathering.all_processes_have(available, what)

    @on_the_cpu
    def due(self, step: int) -> bool:
        """Whether rows are to be drawn after `step` optimiser steps: the same on all processes, all of which ask."""
        if not self.gathering.complete and step != self._agreed_at:
            self._agreed_at = step
            with self.stopwatch.part("watching"), self.diagnostics.guarded("completing the evaluation set"):
                self.gathering.collection.finish_together()
        ready = self.gathering.complete and bool(self.gathering.sources) and self._pending is None
        return ready and (self.last_step is None or self._next_step is None or step >= self._next_step)

    @on_the_cpu
    def start(self, step: int) -> None:
        """Draw the rows of one reading of every source; all else is done beside the training."""
        self.last_step, self._next_step = step, self._evaluation.schedule.regular(step)
        with self.stopwatch.part("forward"):
            try:
                windows, refused, error = self.gathering.windows()
            except Exception as problem:
                if self._group is None or self.settings.strict:
                    raise
                windows, refused, error = [], {}, f"{type(problem).__name__}: {problem}"  # others wait for this one
        self.gathering.eval_pass.warn_of_silent_layers()
        about, levels = self.gathering.protocol, self.settings.levels
        protocols = {(one.source, level): about(one.source, level) for one in windows for level in levels}
        with self.stopwatch.part("drawing"):
            usages = self._codebooks.take()
        protocols |= {(one.source, one.level): one for one in [self._codebooks.protocol] if usages}
        # Asked for now: a trainer may move the model after `attach`.
        self._shares_cpu = next((p.device.type for p in self.gathering.root.parameters()), "cpu") == "cpu"
        now = (*self.stopwatch.times, self._shares_cpu, self._rate())
        gathered = CollectedRows(step, windows, protocols, refused, error, *now, usages)
        job = BackgroundJob(functools.partial(self._evaluation.evaluate, gathered))
        self._pending = PendingReading(step, step + self.settings.lag, job)
        if self._shares_cpu and WAITS_ON_CPU:
            with self.stopwatch.part("waiting"):
                job.wait()

    def arrived(self, step: int) -> bool:
        """Whether an outcome is to be handed over after `step` optimiser steps: the same on all processes."""
        return self._pending is not None and step >= self._pending.due

    @property
    def pending(self) -> bool:
        """Whether there is an outcome that wasn't handed over yet."""
        return self._pending is not None

    @on_the_cpu
    def outcome(self) -> Outcome:
        """What came of the pending reading; waits for it, and raises what went wrong with it."""
        if self._pending is None:
            raise RuntimeError("no reading was started")
        start = self.stopwatch.elapsed
        try:
            with self.stopwatch.part("waiting"):
                evaluated = self._pending.fetch()  # Ctrl-C in here leaves it pending
        except Exception as problem:
            self._pending = None
            if isinstance(problem, ExchangeFailedError):  # a process is gone: no hang at every further reading
                for source in self.gathering.sources:
                    self.gathering.disable_source(source, f"the exchange between processes failed: {problem}")
            raise
        self._pending = None
        return self._told(evaluated, self.stopwatch.elapsed - start)

    def arrives_soon(self) -> bool:
        """Whether a pending outcome can be had within some seconds: the run has broken off, other processes with it."""
        if self._pending is None:
            return False
        self._stuck = not self._pending.there(_LEAVING)
        if self._stuck:
            self._pending = None
        return not self._stuck

    def read(self, step: int) -> Outcome:
        """Make a reading and wait for its outcome."""
        self.start(step)
        return self.outcome()

    def _told(self, evaluated: EvaluationResult, waited: float) -> Outcome:
        outcome = evaluated.outcome
        self._next_step = outcome.next_step
        self.longest_interval = max(self.longest_interval, outcome.report.cost.interval)
        self.readings_taken += 1
        for subject, note in outcome.notes.items():
            self.diagnostics.warn(subject, note)
        for source, reason in outcome.refused.items():
            self.gathering.disable_source(source, reason)
        if self._shares_cpu and not WAITS_ON_CPU:
            self.stopwatch.count(max(evaluated.seconds.get("decomposition", 0.0) - waited, 0.0))
        for trouble in evaluated.troubles:
            self.diagnostics.fail(trouble.subject, trouble.message, trouble.error)
        with self.stopwatch.part("reporting"):
            history = self._evaluation.tables() if self.world.rank == 0 else {}
        seconds = {**self.stopwatch.take(), **outcome.report.cost.seconds}
        cost = replace(outcome.report.cost, seconds=seconds, share=self.stopwatch.share)
        return replace(outcome, report=replace(outcome.report, cost=cost, history=history))

    def state_dict(self) -> dict[str, Any]:
        """Plain numbers, strings, lists and dicts; loads with ``weights_only=True``. Waits for a pending outcome."""
        with self.stopwatch.part("waiting"):
            pending = self._pending.state_dict() if self._pending is not None else None  # what follows is as after it
        return {
            "pending": pending,
            "last_step": self.last_step,
            "next_step": self._next_step,
            "readings_taken": self.readings_taken,
            "evaluation": self._evaluation.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state_dict` gave."""
        self.gathering.collection.mark_epoch_incomplete()
        changed = self._evaluation.load_state_dict(state["evaluation"])
        if changed:
            self.diagnostics.warn("layers", changed)
        self.last_step, self._next_step = state["last_step"], state["next_step"]
        self.readings_taken = state["readings_taken"]
        if state["pending"] is not None:
            self._pending = PendingReading.from_state(state["pending"])

    def close(self) -> None:
        """Take every hook away, and give the process group back."""
        self.arrives_soon()
        self._pending = None
        self._codebooks.close()
        if self._gathering is not None:
            self._gathering.close()
            self._gathering = None
        group, self._group = self._group, None
        if group is not None and not self._stuck:  # a thread that still waits in it goes down with the process
            group.close()
