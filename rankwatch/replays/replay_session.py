"""A run's session without the run: one reading of whatever weights the model has now, at the step that is said."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from rankwatch.arguments.settings import Settings
from rankwatch.extraction.eval_sets.eval_set import EvalSet
from rankwatch.extraction.eval_sets.eval_set_sources import AudioFolder
from rankwatch.extraction.eval_sets.labelled_set import LabelledSet
from rankwatch.extraction.execution.preserved_model import preserved_model
from rankwatch.extraction.hooks.call_recorder import RecordedCall
from rankwatch.extraction.hooks.layer_hooks import LayerHooks
from rankwatch.readings.alarm import Alarm
from rankwatch.readings.reading import Reading
from rankwatch.replays.named_checkpoint import NamedCheckpoint
from rankwatch.replays.run_settings.earlier_run import EarlierRun
from rankwatch.replays.run_settings.shared_sets import joined, stored_call, stored_parts
from rankwatch.replays.run_settings.trainer_precision import autocast_of
from rankwatch.replays.untrained_calls import CountingRunner, backbone_of, forward_for_audio
from rankwatch.run.session import Session
from rankwatch.runtime.distributed import Group, World
from rankwatch.runtime.files.run_paths import RunPath


class ReplaySession:
    """Reads a model again and again, through the session of a run.

    Args:
        model: The model, with weights or without.
        settings: What is read.
        folder: Where files go.
        like: The run whose stored evaluation sets and calls are used, or None.
        precision: The trainer's.
        world: This process among the others.
        group: The other processes, where there are several.
        state: State of the session that this one goes on from, or None.

    A set that can't be had, or that can't be run through the model, raises ValueError or FileNotFoundError.
    """

    def __init__(
        self,
        model: nn.Module,
        settings: Settings,
        folder: RunPath,
        like: EarlierRun | None,
        precision: str,
        world: World,
        group: Group | None,
        state: Mapping[str, Any] | None,
    ) -> None:
        self._model, self._settings, self._world = model, settings, world
        self._device = next((p.device for p in model.parameters()), torch.device("cpu"))
        self._rate: float | None = None
        self._touched: dict[frozenset[str], frozenset[str]] = {}
        self._autocast = autocast_of(precision, self._device.type)
        self.session = Session(
            settings,
            folder=folder,
            world=world,
            group=group,
            preserved=NamedCheckpoint,
            precision=precision,
            autocast=self._autocast,
            rate=lambda: self._rate,
        )
        self._monitor = self.session.monitor
        self._monitor.codebooks.conditions = {"input": "unknown", "mode": "eval"}
        self.session.state.sets_are_given = self.session.reporters.replayed = True
        self.session.attach(model)
        if state is not None:
            self.session.load_state_dict(dict(state))
        self._runner = self._use_sets(like)
        self._writer = self.session.own_writer() if world.rank == 0 else None
        self.session.begin(loggers=[self._writer] if self._writer is not None else [])

    def _use_sets(self, like: EarlierRun | None) -> CountingRunner:
        """The sets as the run had them, and what runs them."""
        collection, calls = self._monitor.eval_sets, None
        for name, source in self._settings.sets.items():
            if name == self._settings.first_batches_set:
                if like is None:
                    raise ValueError("first batches are those of a run: name it (--like RUN.jsonl), or other audio")
                run_name = str(like.settings.get("name", self._settings.name))
                parts = stored_parts(like.folder, run_name, like.processes, self._world)
                calls = parts[0]
            elif like is not None and like.processes > 1 and isinstance(source, (AudioFolder, LabelledSet)):
                parts = self._shares(name, source, like.processes)
            else:
                continue
            for part in parts:
                part.name = name
                collection.restore(part)  # each as its process had it
            collection.sets[name] = joined(parts)
        if calls is None and like is not None:
            calls = stored_call(like.folder, str(like.settings.get("name", self._settings.name)))
        collection.finish()
        layers = self._monitor.row_collector.layers
        backbone = backbone_of(self._model, layers, calls)
        for eval_set in collection.sets.values():
            audio = bool(eval_set.batches) and eval_set.batches[0].audio
            if audio and eval_set.forward is None and backbone is None:
                eval_set.forward = forward_for_audio(self._model, layers, eval_set, self._autocast)
        template = _template(calls) if backbone is not None else None
        primary = collection.sets[self._settings.sources[0]]
        runner = CountingRunner(self._model, backbone, template, self._monitor.codebooks, primary.batches)
        collection.runner = runner
        return runner

    def _shares(self, name: str, source: AudioFolder | LabelledSet, processes: int) -> list[EvalSet]:
        rows = self._settings.rows
        ranks = range(processes) if self._world.size == 1 else [self._world.rank]
        size = processes if self._world.size == 1 else self._world.size
        first = rows.brief_of(rows.n_utterances)
        return [
            source.load(name, count=rows.n_utterances, seed=rows.seed, world=World(rank, size), first=first)
            for rank in ranks
        ]

    def read(self, step: int, path: str, rate: float | None, *, full: bool, left_out: frozenset[str]) -> bool:
        """One reading of the model as it is now, through to the reports.

        Args:
            step: Optimiser steps after which its weights were written.
            path: Of the checkpoint.
            rate: Learning rate then, or None.
            full: Whether the sets are read as a whole.
            left_out: Layers that aren't read.

        Returns:
            Whether there was one.
        """
        before = self._monitor.readings_taken
        self._rate, self._monitor.next_full = rate, full
        self._runner.begin(step)
        self._monitor.row_collector.eval_pass.left_out = set(left_out)
        self.session.last_reading(step, lambda: ([path], []))
        return self._monitor.readings_taken > before

    def touched_by(self, weights: Sequence[str]) -> frozenset[str]:
        """Layers whose output depends on some weights, which are set to NaN for good.

        Args:
            weights: Names in the model's state.

        Returns:
            Paths of watched layers.
        """
        wanted = frozenset(weights)
        if not wanted:
            return wanted
        state = self._model.state_dict()
        for name in wanted:
            if state[name].is_floating_point():
                state[name].fill_(float("nan"))
        if wanted not in self._touched:
            self._touched[wanted] = self._that_are_nan()
        return self._touched[wanted]

    def _that_are_nan(self) -> frozenset[str]:
        eval_set = self._monitor.eval_sets.sets[self._settings.sources[0]]
        layers = self._monitor.row_collector.layers
        with preserved_model(self._model, 0), self._autocast(), LayerHooks(layers, written=set()) as hooks:
            self._runner.run(eval_set.batches[0], self._device, eval_set.forward)
            outputs = hooks.take()
        return frozenset(name for name, output in outputs.items() if _has_nan(output))

    @property
    def layers(self) -> list[str]:
        """Paths of the watched layers."""
        return [layer.name for layer in self._monitor.row_collector.layers]

    @property
    def readings(self) -> list[Reading]:
        """The newest readings."""
        return self.session.readings

    @property
    def alarms(self) -> list[Alarm]:
        """The newest alarms."""
        return self.session.alarms

    @property
    def healthy(self) -> RunPath | None:
        """The last checkpoint whose reading was healthy."""
        return self.session.outcomes.checkpoint

    @property
    def health(self) -> float:
        """Of the newest reading."""
        return self.session.published[f"{self._settings.name}/health"]

    def end(self, step: int, interrupted_by: str = "") -> None:
        """Report the summary, and close all files."""
        try:
            self.session.end(step, None, interrupted_by=interrupted_by)
        finally:
            if self._writer is not None:
                self._writer.close()
            self.session.close()


def _template(calls: EvalSet | None) -> RecordedCall | None:
    first = calls.batches[0] if calls is not None and calls.batches else None
    return None if first is None else RecordedCall(first.args, first.kwargs, first.batch, first.keys)


def _has_nan(output: Any) -> bool:
    if isinstance(output, Tensor):
        return output.is_floating_point() and bool(output.isnan().any())
    several = output.values() if isinstance(output, Mapping) else output if isinstance(output, (tuple, list)) else ()
    return any(_has_nan(one) for one in several)
