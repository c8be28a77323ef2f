"""Gathering: which layers, which sources, and one window of rows from each when a reading is due."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable
from typing import Any

from torch import nn

from rankwatch.extraction.eval_sets.eval_pass import EvalPass
from rankwatch.extraction.eval_sets.eval_runner import EvalRunner
from rankwatch.extraction.eval_sets.eval_set import EvalSet
from rankwatch.extraction.eval_sets.first_batches import FirstBatchCollector
from rankwatch.extraction.execution.preserved_model import ChangedParameters, preserved_random_state
from rankwatch.extraction.hooks.replayable_calls import recorder_for, replay_advice
from rankwatch.extraction.model.compiled_modules import within_one_graph
from rankwatch.extraction.model.layers import WatchedLayer, find_layers
from rankwatch.extraction.rows.row_buffer import RowBuffer
from rankwatch.extraction.rows.row_extraction import RowExtractor
from rankwatch.extraction.rows.training_rows import TrainingRows
from rankwatch.extraction.valid_frames.valid_lengths import AmbiguousLengths
from rankwatch.monitor.eval_set_loading import load_eval_sets
from rankwatch.monitor.settings import Settings
from rankwatch.readings.protocol import Protocol
from rankwatch.runtime.diagnostics import Diagnostics
from rankwatch.runtime.distributed import Group, World, quota
from rankwatch.runtime.stopwatch import Stopwatch


class RowCollector:
    """The model's side of a monitor.

    Args:
        root: The whole model.
        settings: The user's arguments.
        world: This process among the others.
        group: The other processes, or None.
        diagnostics: Where failures are told.
        stopwatch: Where time is counted.
        precision: The trainer's precision, for the protocol.
        autocast: Context in which an evaluation forward pass runs, as a training forward pass does.
        outermost: Gives what training calls: the model or a wrapper around it, which may come later.

    Raises:
        ValueError: For a layer pattern that matches nothing, or a bad evaluation set.
    """

    def __init__(
        self,
        root: nn.Module,
        settings: Settings,
        *,
        world: World,
        group: Group | None,
        diagnostics: Diagnostics,
        stopwatch: Stopwatch,
        precision: str,
        autocast: Callable[[], contextlib.AbstractContextManager[Any]],
        outermost: Callable[[], nn.Module] | None = None,
    ) -> None:
        self._outermost = outermost
        self.root = root
        self._settings = settings
        self._group = group
        self._complaints = diagnostics
        self._precision = precision
        self.layers: list[WatchedLayer] = find_layers(root, settings.layers)
        self.row_extractor = RowExtractor(
            self.layers,
            root,
            levels=settings.levels,
            per_utterance=settings.rows.frames_per_utterance,
            lengths=settings.rows.lengths,
            seed=settings.rows.seed,
            frames=settings.rows.frame_mask,
        )
        self.eval_pass = EvalPass(
            root, self.layers, self.row_extractor, diagnostics, self._numbers, autocast, stopwatch, settings.rows.seed
        )
        with preserved_random_state():  # iterating a user's dataloader draws seeds from the global generator
            self.eval_sets = load_eval_sets(settings, world)
        self.disabled_sources: dict[str, str] = {}
        self.notes: list[str] = [one.describe() for one in self.eval_sets.values()]
        self.quota = quota(settings.rows.n_utterances, world.rank, world.size)
        self._first_batches = self._start_collecting()
        self._no_more, self._whole_epoch = False, True
        self._train: TrainingRows | None = None
        whole = within_one_graph(root.modules()) if settings.watches_training_pass else set()
        if any(id(layer.module) in whole for layer in self.layers):
            reason = "layers are compiled with fullgraph=True, and hooks would end the run; compile without it"
            self.disable_source("train", reason)
        elif settings.watches_training_pass:
            self._train = TrainingRows(
                self.layers,
                self.row_extractor,
                recorder_for(root, self.layers, device=None),
                lambda: self._window("train"),
                self.quota,
            )

    def _start_collecting(self) -> FirstBatchCollector | None:
        """Collect the first batches if they are to be a set; else one call, to put other sets' audio into.

        Where every set has a `forward` of its own, no call is wanted.
        """
        name = self._settings.first_batches_set
        recorded = any(source.forward is None for source in self._settings.sets.values())
        new_recorder = functools.partial(recorder_for, self.root, self.layers) if recorded else None
        if name is not None and name not in self.eval_sets:
            eval_set = EvalSet(name, forward=self._settings.sets[name].forward)
            return FirstBatchCollector(eval_set, self.quota, new_recorder)
        if recorded:
            return FirstBatchCollector(EvalSet(""), 1, new_recorder)
        self.eval_pass.runner = EvalRunner(self.root, None, outermost=self._outermost)
        return None

    # -- during training ---------------------------------------------------------------------------------

    @property
    def complete(self) -> bool:
        """Whether all sources are there; before that the default evaluation set is being collected."""
        return self._first_batches is None

    @property
    def sources(self) -> list[str]:
        """Sources that can be read now, the primary first."""
        known = [*self.eval_sets, *(["train"] if self._train is not None else [])]
        return [name for name in self._settings.sources if name in known and name not in self.disabled_sources]

    def batch_starts(self, batch: Any, steps_to_reading: int) -> None:
        """Before a training batch's forward pass."""
        if self._first_batches is not None and not self._no_more:
            self._first_batches.batch_starts()
        if self._train is not None:
            self._train.batch_starts(batch, steps_to_reading)

    def before_backward(self) -> None:
        """After the forward pass, before backward."""
        if self._train is not None:
            self._train.take_rows()

    def batch_ends(self, batch: Any) -> None:
        """After a training batch."""
        with self._complaints.guarded("reading the training pass"):
            if self._train is not None:
                self._train.take_rows()
        if self._first_batches is None or self._no_more:
            return
        with self._complaints.guarded("holding back a batch"):
            self._first_batches.batch_ends(batch)

    def epoch_ends(self) -> None:
        """No utterance will be new from here on, if this was a whole epoch."""
        self._no_more = self._no_more or self._whole_epoch
        self._whole_epoch = True

    def resumed(self) -> None:
        """The epoch that ends next began before a restart; it may be over already."""
        self._whole_epoch = False

    def agree(self) -> None:
        """After an optimiser step: all processes stop collecting together, so that their first reading is at one step.

        Not after each batch or at an epoch's end: processes may have different numbers of batches, and meet each other
        when they take a step.
        """
        if self._first_batches is None:
            return
        lacking = not (self._first_batches.full or self._no_more)
        if max(self._numbers(int(lacking), "who is still collecting")) == 0:
            self.freeze()

    def freeze(self) -> None:
        """The default evaluation set stays as it is from now on; on all processes at once."""
        held, self._first_batches = self._first_batches, None
        if held is None:
            return
        held.close()
        backbone = held.recorder.backbone if held.recorder is not None else None
        self.eval_pass.runner = EvalRunner(self.root, backbone, held.template, self._outermost)
        name = held.eval_set.name
        in_all = sum(self._numbers(held.eval_set.utterances, "utterances held back"))
        without = [rank for rank, n in enumerate(self._numbers(len(held.eval_set.batches), "calls held back")) if not n]
        if name and in_all and without:
            reason = f"no call could be held back on process {without[:4]}, and all have to make as many passes"
            self.disable_source(name, f"{reason}; {replay_advice(self.root)}")
        elif name and in_all == 0:
            self.disable_source(
                name,
                "no module that contains all watched layers and what feeds them is called as a module with the "
                "loader's audio or features, nor are the blocks given the front end's output as it is, so their "
                f"calls can't be held back; {replay_advice(self.root)}",
            )
        elif name:
            self.eval_sets[name] = held.eval_set
            self.notes.append(held.eval_set.describe())
            asked = self._settings.rows.n_utterances
            if in_all < asked:
                self.notes.append(f"{name} holds {in_all} of the {asked} utterances asked for: no others came")

    @property
    def first_batches_set(self) -> EvalSet | None:
        """The default evaluation set, once it is complete."""
        return self.eval_sets.get(self._settings.first_batches_set or "")

    def keep(self, eval_set: EvalSet | None) -> bool:
        """Use the default evaluation set from before a restart instead of holding a new one back.

        Args:
            eval_set: This process's part of it, or None where it is lost.

        Returns:
            Whether it is used: only if no process has lost its part.
        """
        if not self.all_processes_have(eval_set is not None, "a kept evaluation set") or eval_set is None:
            return False
        if self._first_batches is not None:
            self._first_batches.close()
        source = self._settings.sets.get(eval_set.name)
        eval_set.forward = source.forward if source is not None else None
        self.eval_sets[eval_set.name] = eval_set
        self._first_batches = self._start_collecting()
        return True

    # -- a reading ---------------------------------------------------------------------------------------

    def windows(self) -> tuple[list[RowBuffer], dict[str, str], str]:
        """One window of rows from every source, the sources that can't be read at all, and what went wrong."""
        windows: list[RowBuffer] = []
        refused: dict[str, str] = {}
        errors = []
        for source in self.sources:
            try:
                windows.append(self._window_of(source))
            except (AmbiguousLengths, ChangedParameters) as error:
                refused[source] = str(error)
            except Exception as error:
                reason = f"{source} could not be read: {type(error).__name__}: {error}"
                self._complaints.fail(f"source {source}", reason, error)
                errors.append(reason)
        return windows, refused, "; ".join(errors)

    def _window_of(self, source: str) -> RowBuffer:
        if source == "train":
            assert self._train is not None
            self.eval_pass.tell_failures(self._train.failures)
            return self._train.next_window()
        window = self._window(source)
        self.eval_pass.fill(window, self.eval_sets[source])
        return window

    # -- what is known -----------------------------------------------------------------------------------

    def protocol(self, source: str, level: str) -> Protocol:
        """The conditions of a reading; width and columns are filled in by `measure`."""
        train = source == "train"
        return Protocol(
            source=source,
            level=level,
            utterances=self._settings.rows.n_utterances,
            frames_per_utterance=self._settings.rows.frames_per_utterance if level == "frame" else 1,
            d=0,
            k=None,
            pooling="none" if level == "frame" else "mean",
            input="masked" if train else self.eval_pass.inputs.get(source, "unknown"),
            frames=self._train.frames
            if train and self._train is not None
            else self.eval_pass.frames.get(source, "all"),
            mode="train" if train else "eval",
            precision=self._precision,
            seed=self._settings.rows.seed,
            eval_set=self.eval_pass.ids.get(source, ""),
        )

    def _window(self, source: str) -> RowBuffer:
        return RowBuffer(source, self._settings.levels)

    def all_processes_have(self, it: bool, about: str) -> bool:
        """Whether all processes have something."""
        return min(self._numbers(int(it), about)) == 1

    def _numbers(self, value: int, about: str) -> list[int]:
        """One number of each process."""
        return [value] if self._group is None else self._group.numbers(value, about)

    def disable_source(self, source: str, reason: str) -> None:
        """Go quiet about a source, on all processes at once."""
        self.disabled_sources[source] = f"{source} is not read: {reason}"
        self._complaints.fail(f"quiet {source}", self.disabled_sources[source])

    def close(self) -> None:
        """Take every hook away."""
        if self._first_batches is not None:
            self._first_batches.close()
        if self._train is not None:
            self._train.close()
