"""The monitor: collect rows, evaluate them in parallel to the training, return the outcome. Knows no trainer."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from torch import nn

from rankwatch.arguments.settings import Settings
from rankwatch.extraction.inputs.repeated_batches import RepeatedBatches
from rankwatch.monitor.background_reading import BackgroundReading, EvaluationResult
from rankwatch.monitor.codebook_collector import CodebookCollector
from rankwatch.monitor.collected_rows import collect_rows
from rankwatch.monitor.eval_set_collection import EvalSetCollection
from rankwatch.monitor.evaluator import Evaluator, ExchangeFailedError
from rankwatch.monitor.outcome import Outcome
from rankwatch.monitor.row_collector import RowCollector
from rankwatch.runtime.default_device import DefaultDevice, on_the_cpu
from rankwatch.runtime.diagnostics import Diagnostics
from rankwatch.runtime.distributed import Group, World
from rankwatch.runtime.files.run_paths import RunPath
from rankwatch.runtime.stopwatch import Stopwatch


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
        mute: RunPath | None = None,
    ) -> None:
        self.settings = settings
        self.default_device, self.stopwatch = DefaultDevice(), Stopwatch()
        self.diagnostics = Diagnostics(settings.name, settings.strict)
        self.last_step: int | None = None
        self.readings_taken = self.longest_interval = 0  # the latter in optimiser steps between two readings
        self.world = world or World()
        self.codebooks = CodebookCollector(settings, self.world, precision, self.diagnostics)
        self._precision, self._autocast, self._outermost = precision, autocast, outermost
        self._group, self._rate, self._mute = group, rate, mute
        self._row_collector: RowCollector | None = None
        self._evaluator: Evaluator | None = None
        self.background = BackgroundReading(settings.lag, self.stopwatch)
        self._next_step: int | None = None
        self._repeats = RepeatedBatches()
        self.next_full, self._shares_cpu = True, False
        self._agreed_at: int | None = None

    @on_the_cpu
    def attach(self, root: nn.Module) -> None:
        """Find the layers of the whole model, read the evaluation sets, put the hooks in place.

        ValueError is raised for a layer pattern that matches nothing or a bad evaluation set, FileNotFoundError for a
        folder that doesn't exist.
        """
        self._row_collector = RowCollector(
            root,
            self.settings,
            world=self.world,
            group=self._group,
            diagnostics=self.diagnostics,
            stopwatch=self.stopwatch,
            precision=self._precision,
            autocast=self._as_in_training,
            outermost=self._outermost,
        )
        self._row_collector.notes += self.codebooks.attach(root)
        self._evaluator = Evaluator(
            self.settings,
            [layer.name for layer in self._row_collector.layers],
            self._group,
            first=self.world.rank == 0,
            quantizers=self.codebooks.names,
            mute=self._mute,
        )

    @contextlib.contextmanager
    def _as_in_training(self) -> Iterator[None]:
        """A forward pass as in training: under the trainer's autocast, with the user's default device."""
        with self.default_device.back(), self._autocast():
            yield

    @property
    def row_collector(self) -> RowCollector:
        """The model's side; after `attach`."""
        assert self._row_collector is not None, "Monitor.attach(model) comes first"
        return self._row_collector

    @property
    def _evaluation(self) -> Evaluator:
        assert self._evaluator is not None
        return self._evaluator

    @on_the_cpu
    def batch_starts(self, batch: Any, step: int) -> None:
        """Before a training batch's forward pass, after `step` optimiser steps."""
        self._evaluation.schedule.begin(step)
        with self.stopwatch.part("watching"), self.diagnostics.guarded("reading a training batch"):
            self.row_collector.batch_starts(batch, 0 if self._next_step is None else self._next_step - step)
            self.codebooks.batch_starts(step, self._next_step)
            self._repeats.see(batch, before_reading=self._next_step == step + 1)

    @on_the_cpu
    def before_backward(self) -> None:
        """After the forward pass, before backward."""
        with self.stopwatch.part("watching"), self.diagnostics.guarded("reading the training pass"):
            self.row_collector.before_backward()

    @on_the_cpu
    def batch_ends(self, batch: Any, failed: bool = False) -> None:
        """After a training batch, or after an exception in one, of which nothing counts then."""
        with self.stopwatch.part("watching"), self.diagnostics.guarded("reading a training batch"):
            self.codebooks.batch_ends(batch, failed)
            self.row_collector.batch_ends(batch, failed)

    def epoch_ends(self) -> None:
        """No utterance will be new from here on: the default set is complete, as of the next optimiser step."""
        self.eval_sets.epoch_ends()

    @on_the_cpu
    def complete_eval_sets(self) -> bool:
        """At the end of the run: complete the default evaluation set as it is, on all processes at once.

        Returns:
            Whether there is a source that can be read.
        """
        if not self.row_collector.complete:
            with self.diagnostics.guarded("completing the evaluation set"):
                self.eval_sets.finish()
        return self.row_collector.complete and bool(self.row_collector.sources)

    @property
    def eval_sets(self) -> EvalSetCollection:
        """The evaluation sets, and how the first batches are collected; after `attach`."""
        return self.row_collector.collection

    @on_the_cpu
    def agree_whether_due(self, step: int) -> bool:
        """Agree with the other processes whether rows are drawn after `step` optimiser steps; all must call this."""
        if not self.row_collector.complete and step != self._agreed_at:
            self._agreed_at = step
            with self.stopwatch.part("watching"), self.diagnostics.guarded("completing the evaluation set"):
                self.eval_sets.finish_together()
        ready = self.row_collector.complete and bool(self.row_collector.sources) and not self.background.exists
        return ready and (self.last_step is None or self._next_step is None or step >= self._next_step)

    @on_the_cpu
    def start(self, step: int) -> None:
        """Draw the rows of one reading of every source; all else is done in the background."""
        self.last_step, self._next_step = step, self._evaluation.schedule.regular(step)
        # Asked for now: a trainer may move the model after `attach`.
        self._shares_cpu = next((p.device.type for p in self.row_collector.root.parameters()), "cpu") == "cpu"
        full, stopwatch = self.next_full, self.stopwatch
        rows = collect_rows(step, self.settings, self.row_collector, self.codebooks, stopwatch, full=full)
        repeated = self._repeats.take()
        rows = replace(rows, shares_cpu_with_training=self._shares_cpu, rate=self._rate(), repeated_batches=repeated)
        work = functools.partial(self._evaluation.evaluate, rows)
        self.background.begin(step, work, shares_cpu=self._shares_cpu)

    @on_the_cpu
    def outcome(self) -> Outcome:
        """What came of the pending reading; waits for it, and raises what went wrong with it."""
        start = self.stopwatch.elapsed
        try:
            result = self.background.fetch()
        except ExchangeFailedError as problem:  # a process is gone: no hang at every further reading
            for source in self.row_collector.sources:
                self.row_collector.disable_source(source, f"the exchange between processes failed: {problem}")
            raise
        return self._take_in(result, self.stopwatch.elapsed - start)

    def read(self, step: int) -> Outcome:
        """Make a reading and wait for its outcome."""
        self.start(step)
        return self.outcome()

    def _take_in(self, evaluated: EvaluationResult, waited: float) -> Outcome:
        """Follow what the outcome says about the next reading, failures and costs."""
        outcome = evaluated.outcome
        self._next_step, self.next_full = outcome.next_step, outcome.next_full
        self.longest_interval = max(self.longest_interval, outcome.report.cost.interval)
        self.readings_taken += 1
        for subject, note in outcome.notes.items():
            self.diagnostics.warn_once(subject, note)
        for source, reason in outcome.refused.items():
            self.row_collector.disable_source(source, reason)
        if self._shares_cpu and not self.background.waits(self._shares_cpu):
            self.stopwatch.count(max(evaluated.seconds.get("decomposition", 0.0) - waited, 0.0))
        for trouble in evaluated.troubles:
            self.diagnostics.fail(trouble.subject, trouble.message, trouble.error)
        with self.stopwatch.part("reporting"):
            history = self._evaluation.tables() if self.world.rank == 0 else {}
        return outcome.completed(history, self.stopwatch.take(), self.stopwatch.share)

    def state_dict(self) -> dict[str, Any]:
        """Plain numbers, strings, lists and dicts; loads with ``weights_only=True``. Waits for a pending outcome."""
        return {
            "pending": self.background.state_dict(),  # first: what follows is as after it
            "last_step": self.last_step,
            "next_step": self._next_step,
            "next_full": self.next_full,
            "readings_taken": self.readings_taken,
            "evaluation": self._evaluation.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state_dict` gave."""
        self.eval_sets.mark_epoch_incomplete()
        changed = self._evaluation.load_state_dict(state["evaluation"])
        if changed:
            self.diagnostics.warn_once("layers", changed)
        self.last_step, self._next_step = state["last_step"], state["next_step"]
        self.next_full = state.get("next_full", True)
        self.readings_taken = state["readings_taken"]
        self.background.load_state_dict(state["pending"])

    def close(self) -> None:
        """Remove every hook, and destroy the process group."""
        self.background.wait_briefly()
        self.background.drop()
        self.codebooks.close()
        if self._row_collector is not None:
            self._row_collector.close()
            self._row_collector = None
        group, self._group = self._group, None
        if group is not None and not self.background.abandoned:  # its thread still waits in it
            group.close()
