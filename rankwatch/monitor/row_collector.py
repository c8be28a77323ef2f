"""Which layers and which sources are read, and one window of rows from each source when a reading is due."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Mapping
from typing import Any

from torch import nn

from rankwatch.arguments.named_sets import TRAINING_PASS
from rankwatch.arguments.settings import Settings
from rankwatch.extraction.eval_sets.eval_pass import EvalPass
from rankwatch.extraction.eval_sets.eval_set import EvalSet
from rankwatch.extraction.execution.preserved_model import ChangedParameters
from rankwatch.extraction.hooks.replayable_calls import recorder_for
from rankwatch.extraction.model.layers import WatchedLayer, find_layers
from rankwatch.extraction.rows.row_buffer import RowBuffer
from rankwatch.extraction.rows.row_extraction import RowExtractor
from rankwatch.extraction.rows.training_rows import TrainingRows
from rankwatch.extraction.valid_frames.valid_lengths import AmbiguousLengths
from rankwatch.monitor.eval_set_collection import EvalSetCollection
from rankwatch.readings.protocol import Protocol
from rankwatch.runtime.diagnostics import Diagnostics
from rankwatch.runtime.distributed import Group, World, quota
from rankwatch.runtime.stopwatch import Stopwatch


class RowCollector:
    """Draws the rows of every source; all that a monitor does with the model.

    A layer pattern that matches nothing, or a bad evaluation set, raises ValueError.

    Args:
        root: The whole model.
        settings: The user's arguments.
        world: This process among the others.
        group: The other processes, or None.
        diagnostics: Warns once about each failure.
        stopwatch: Where time is counted.
        precision: The trainer's precision, for the protocol.
        autocast: Context in which an evaluation forward pass runs, as a training forward pass does.
        outermost: Gives what training calls: the model or a wrapper around it, which may come later.
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
        self.root = root
        self._settings = settings
        self._group = group
        self._diagnostics = diagnostics
        self.precision = precision
        self.layers: list[WatchedLayer] = find_layers(root, settings.layers)
        self.row_extractor = RowExtractor(
            self.layers,
            root,
            levels=settings.levels,
            per_utterance=settings.rows.frames_per_utterance,
            brief_frames=settings.rows.brief_frames,
            lengths=settings.rows.lengths,
            seed=settings.rows.seed,
            frames=settings.rows.frame_mask,
            layouts=settings.rows.layouts,
        )
        self.eval_pass = EvalPass(
            root,
            self.layers,
            self.row_extractor,
            diagnostics,
            self.all_gather_int,
            autocast,
            stopwatch,
            functools.partial(settings.brief_share, world),
            settings.rows.seed,
        )
        self.disabled_sources: dict[str, str] = {}
        self.collection = EvalSetCollection(
            root,
            self.layers,
            settings,
            world=world,
            all_gather_int=self.all_gather_int,
            disable_source=self.disable_source,
            warn_once=diagnostics.warn_once,
            outermost=outermost,
        )
        self.notes = self.collection.notes
        self.quota = quota(settings.rows.n_utterances, world.rank, world.size)
        self._train: TrainingRows | None = None
        if settings.watches_training_pass:
            recorder = recorder_for(root, self.layers, device=None)
            new_window = functools.partial(self._window, TRAINING_PASS)
            self._train = TrainingRows(self.layers, self.row_extractor, recorder, new_window, self.quota)
            self._leave_full_graphs_alone()

    def _leave_full_graphs_alone(self) -> None:
        if self._train is not None and (reason := self._train.out_of_reach(self.root)):
            self._train.close()
            self._train = None
            self.disable_source(TRAINING_PASS, reason)

    @property
    def complete(self) -> bool:
        """Whether all sources are there; before that the first batches are being collected."""
        return self.collection.complete

    @property
    def eval_sets(self) -> Mapping[str, EvalSet]:
        """The evaluation sets that are complete, by name."""
        return self.collection.sets

    @property
    def sources(self) -> list[str]:
        """Sources that can be read now, the primary first."""
        known = [*self.eval_sets, *([TRAINING_PASS] if self._train is not None else [])]
        return [name for name in self._settings.sources if name in known and name not in self.disabled_sources]

    def batch_starts(self, batch: Any, steps_to_reading: int) -> None:
        """Before a training batch's forward pass.

        Args:
            batch: As the loader gave it.
            steps_to_reading: Optimiser steps until the next reading.
        """
        with self._diagnostics.guarded("copying a training batch into the evaluation set"):
            self.collection.batch_starts(batch)
        self._leave_full_graphs_alone()  # a user may compile at any time
        if self._train is not None:
            self._train.batch_starts(batch, steps_to_reading)

    def before_backward(self) -> None:
        """After the forward pass, before backward."""
        if self._train is not None:
            self._train.take_rows()

    def batch_ends(self, batch: Any, failed: bool = False) -> None:
        """After a training batch, as the loader gave it, or after an exception in one, which is dropped."""
        if failed:
            self.collection.drop_batch()
            if self._train is not None:
                self._train.drop_batch()
            return
        with self._diagnostics.guarded("reading the training pass"):
            if self._train is not None:
                self._train.batch_ends()
        with self._diagnostics.guarded("copying a training batch into the evaluation set"):
            self.collection.batch_ends(batch)

    def windows(self, full: bool = True) -> tuple[list[RowBuffer], dict[str, str], str]:
        """Draw the rows of one reading.

        Args:
            full: Whether all utterances are read, or the first of each set, where it is large enough.

        Returns:
            One window of rows from every source; why sources can't be read at all, by source; and what went wrong, in
            words, or empty.
        """
        self.eval_pass.runner = self.collection.runner
        windows: list[RowBuffer] = []
        refused: dict[str, str] = {}
        errors = []
        for source in self.sources if full else self.collection.read_briefly(self.sources):
            try:
                windows.append(self._window_of(source, full))
            except (AmbiguousLengths, ChangedParameters) as error:
                refused[source] = str(error)
            except Exception as error:
                reason = f"{source} could not be read: {type(error).__name__}: {error}"
                self._diagnostics.fail(f"source {source}", reason, error)
                errors.append(reason)
        return windows, refused, "; ".join(errors)

    def _window_of(self, source: str, full: bool) -> RowBuffer:
        if source == TRAINING_PASS:
            assert self._train is not None
            self._train.report(self._diagnostics)
            return self._train.next_window()
        window = self._window(source)
        self.eval_pass.fill(window, self.eval_sets[source], full=full)
        return window

    def protocol(self, source: str, level: str) -> Protocol:
        """The conditions of a reading.

        Args:
            source: Name of the evaluation set, or ``"train"``.
            level: ``"frame"`` or ``"utterance"``.

        Returns:
            The protocol without the layer's width and columns, which `measure` fills in.
        """
        train = source == TRAINING_PASS
        return Protocol(
            source=source,
            level=level,
            utterances=self.eval_pass.utterances.get(source, self._settings.rows.n_utterances),
            frames_per_utterance=self._settings.rows.frames_per_utterance if level == "frame" else 1,
            d=0,
            k=None,
            pooling="none" if level == "frame" else "mean",
            input="masked" if train else self.eval_pass.inputs.get(source, "unknown"),
            frames=self._train.frames
            if train and self._train is not None
            else self.eval_pass.frames.get(source, "all"),
            mode="train" if train else "eval",
            precision=self.precision,
            seed=self._settings.rows.seed,
            eval_set=self.eval_pass.ids.get(source, ""),
        )

    def _window(self, source: str) -> RowBuffer:
        return RowBuffer(source, self._settings.levels)

    @property
    def has_others(self) -> bool:
        """Whether there are other processes."""
        return self._group is not None

    def all_gather_int(self, value: int, tag: str) -> list[int]:
        """One number of each process, about what the tag names; all of them must call this."""
        return [value] if self._group is None else self._group.all_gather_int(value, tag)

    def disable_source(self, source: str, reason: str) -> None:
        """Read a source no more, on all processes at once, with one warning.

        Args:
            source: Name of the evaluation set, or ``"train"``.
            reason: Why it can't be read, and what to do, for the warning.
        """
        self.disabled_sources[source] = f"{source} is not read: {reason}"
        self._diagnostics.fail(f"disabled {source}", self.disabled_sources[source])

    def close(self) -> None:
        """Take every hook away."""
        self.collection.close()
        if self._train is not None:
            self._train.close()
