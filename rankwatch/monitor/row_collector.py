"""Gathering: which layers, which sources, and one window of rows from each when a reading is due."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

from torch import nn

from rankwatch.extraction.eval_sets.eval_pass import Probing
from rankwatch.extraction.eval_sets.eval_runner import ProbeForward, Runner
from rankwatch.extraction.eval_sets.eval_set import ProbeSet
from rankwatch.extraction.eval_sets.first_batches import HoldBack
from rankwatch.extraction.execution.preserved_model import ChangedParameters, same_random_state
from rankwatch.extraction.hooks.call_recorder import CallRecorder, HeldCall
from rankwatch.extraction.hooks.replayable_calls import recorder_for, way_out
from rankwatch.extraction.model.compiled_modules import within_one_graph
from rankwatch.extraction.model.layers import WatchedLayer, find_layers
from rankwatch.extraction.rows.row_buffer import Window
from rankwatch.extraction.rows.row_extraction import Observer
from rankwatch.extraction.rows.training_rows import TrainPass
from rankwatch.extraction.valid_frames.valid_lengths import AmbiguousLengths
from rankwatch.monitor.eval_set_loading import named_probe_sets
from rankwatch.monitor.settings import Settings
from rankwatch.readings.protocol import Protocol
from rankwatch.runtime.diagnostics import Complaints
from rankwatch.runtime.distributed import Group, World, quota
from rankwatch.runtime.import_path import import_function
from rankwatch.runtime.stopwatch import Stopwatch


class Gathering:
    """The model's side of a monitor.

    Args:
        root: The whole model.
        settings: The user's arguments.
        world: This process among the others.
        group: The other processes, or None.
        complaints: Where failures are told.
        stopwatch: Where time is counted.
        precision: The trainer's precision, for the protocol.
        autocast: Context in which a probe forward pass runs, as a training forward pass does.
        outermost: Gives what training calls: the model or a wrapper around it, which may come later.

    Raises:
        ValueError: For a layer pattern that matches nothing, or a bad probe set.
    """

    def __init__(
        self,
        root: nn.Module,
        settings: Settings,
        *,
        world: World,
        group: Group | None,
        complaints: Complaints,
        stopwatch: Stopwatch,
        precision: str,
        autocast: Callable[[], contextlib.AbstractContextManager[Any]],
        outermost: Callable[[], nn.Module] | None = None,
    ) -> None:
        self._outermost = outermost
        self.root = root
        self._settings = settings
        self._group = group
        self._complaints = complaints
        self._precision = precision
        self.layers: list[WatchedLayer] = find_layers(root, settings.layers)
        self.observer = Observer(
            self.layers,
            root,
            levels=settings.levels,
            per_utterance=settings.frames_per_utterance,
            lengths=settings.lengths,
            seed=settings.seed,
            frames=settings.frames,
        )
        forward = settings.probe_forward
        self._forward: ProbeForward | None = import_function(forward) if isinstance(forward, str) else forward
        self.probing = Probing(
            root, self.layers, self.observer, complaints, self._numbers, autocast, stopwatch, settings.seed
        )
        self._recorder: CallRecorder | None = None
        with same_random_state():  # iterating a user's dataloader draws seeds from the global generator
            self.probe_sets = named_probe_sets(settings, world)
        self.quiet: dict[str, str] = {}
        self.notes: list[str] = [one.describe(settings.max_seconds) for one in self.probe_sets.values()]
        self.quota = quota(settings.n_utterances, world.rank, world.size)
        self._hold_back = self._start_holding_back()
        self._no_more, self._whole_epoch = False, True
        self._train: TrainPass | None = None
        whole = within_one_graph(root.modules()) if settings.watch_train else set()
        if any(id(layer.module) in whole for layer in self.layers):
            reason = "layers are compiled with fullgraph=True, and hooks would end the run; compile without it"
            self.silence("train", reason)
        elif settings.watch_train:
            self._train = TrainPass(
                self.layers,
                self.observer,
                recorder_for(root, self.layers, device=None),
                lambda: self._window("train"),
                self.quota,
            )

    def _runner(self, backbone: tuple[str, nn.Module] | None, template: HeldCall | None = None) -> Runner:
        return Runner(self.root, backbone, self._forward, template, self._outermost)

    def _start_holding_back(self) -> HoldBack | None:
        """Collect the default set if there is to be one; else one call, which tells the backbone."""
        auto = self._settings.default_set
        if auto is not None and auto not in self.probe_sets:
            return HoldBack(ProbeSet(auto), self._new_recorder if self._forward is None else None, self.quota)
        if self._settings.sets and self._forward is None:
            return HoldBack(ProbeSet(""), self._new_recorder, 1)
        self.probing.runner = self._runner(None)
        return None

    def _new_recorder(self) -> CallRecorder:
        """With the first batch: what was compiled until then gets no hook inside."""
        self._recorder = recorder_for(self.root, self.layers)
        return self._recorder

    # -- during training ---------------------------------------------------------------------------------

    @property
    def complete(self) -> bool:
        """Whether all sources are there; before that the default probe set is being collected."""
        return self._hold_back is None

    @property
    def sources(self) -> list[str]:
        """Sources that can be read now, the headline first."""
        known = [*self.probe_sets, *(["train"] if self._train is not None else [])]
        return [name for name in self._settings.sources if name in known and name not in self.quiet]

    def batch_starts(self, batch: Any, steps_to_reading: int) -> None:
        """Before a training batch's forward pass."""
        if self._hold_back is not None and not self._no_more:
            self._hold_back.batch_starts()
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
        if self._hold_back is None or self._no_more:
            return
        with self._complaints.guarded("holding back a batch"):
            self._hold_back.batch_ends(batch)

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
        if self._hold_back is None:
            return
        lacking = not (self._hold_back.full or self._no_more)
        if max(self._numbers(int(lacking), "who is still collecting")) == 0:
            self.freeze()

    def freeze(self) -> None:
        """The default probe set stays as it is from now on; on all processes at once."""
        held, self._hold_back = self._hold_back, None
        if held is None:
            return
        held.close()
        self.probing.runner = self._runner(
            self._recorder.backbone if self._recorder is not None else None, held.template
        )
        name = held.probe_set.name
        in_all = sum(self._numbers(held.probe_set.utterances, "utterances held back"))
        without = [
            rank for rank, n in enumerate(self._numbers(len(held.probe_set.batches), "calls held back")) if not n
        ]
        if name and in_all and without:
            reason = f"no call could be held back on process {without[:4]}, and all have to make as many passes"
            self.silence(name, f"{reason}; {way_out(self.root)}")
        elif name and in_all == 0:
            self.silence(
                name,
                "no module that contains all watched layers and what feeds them is called as a module with the "
                "loader's audio or features, nor are the blocks given the front end's output as it is, so their "
                f"calls can't be held back; {way_out(self.root)}",
            )
        elif name:
            self.probe_sets[name] = held.probe_set
            self.notes.append(held.probe_set.describe(self._settings.max_seconds))
            asked = self._settings.n_utterances
            if in_all < asked:
                self.notes.append(f"{name} holds {in_all} of the {asked} utterances asked for: no others came")

    @property
    def default_set(self) -> ProbeSet | None:
        """The default probe set, once it is complete."""
        return self.probe_sets.get(self._settings.default_set or "")

    def keep(self, probe_set: ProbeSet | None) -> bool:
        """Use the default probe set from before a restart instead of holding a new one back.

        Args:
            probe_set: This process's part of it, or None where it is lost.

        Returns:
            Whether it is used: only if no process has lost its part.
        """
        if not self.all_have(probe_set is not None, "a kept probe set") or probe_set is None:
            return False
        if self._hold_back is not None:
            self._hold_back.close()
        self.probe_sets[probe_set.name] = probe_set
        self._hold_back = self._start_holding_back()
        return True

    # -- a reading ---------------------------------------------------------------------------------------

    def windows(self) -> tuple[list[Window], dict[str, str], str]:
        """One window of rows from every source, the sources that can't be read at all, and what went wrong."""
        windows: list[Window] = []
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

    def _window_of(self, source: str) -> Window:
        if source == "train":
            assert self._train is not None
            self.probing.tell_failures(self._train.failures)
            return self._train.next_window()
        window = self._window(source)
        self.probing.fill(window, self.probe_sets[source])
        return window

    # -- what is known -----------------------------------------------------------------------------------

    def protocol(self, source: str, level: str) -> Protocol:
        """The conditions of a reading; width and columns are filled in by `measure`."""
        train = source == "train"
        return Protocol(
            source=source,
            level=level,
            utterances=self._settings.n_utterances,
            frames_per_utterance=self._settings.frames_per_utterance if level == "frame" else 1,
            d=0,
            k=None,
            pooling="none" if level == "frame" else "mean",
            input="masked" if train else self.probing.inputs.get(source, "unknown"),
            frames=self._train.frames if train and self._train is not None else self.probing.frames.get(source, "all"),
            mode="train" if train else "eval",
            precision=self._precision,
            seed=self._settings.seed,
            probe_set=self.probing.ids.get(source, ""),
        )

    def _window(self, source: str) -> Window:
        return Window(source, tuple(self._settings.levels))

    def all_have(self, it: bool, about: str) -> bool:
        """Whether all processes have something."""
        return min(self._numbers(int(it), about)) == 1

    def _numbers(self, value: int, about: str) -> list[int]:
        """One number of each process."""
        return [value] if self._group is None else self._group.numbers(value, about)

    def silence(self, source: str, reason: str) -> None:
        """Go quiet about a source, on all processes at once."""
        self.quiet[source] = f"{source} is not read: {reason}"
        self._complaints.fail(f"quiet {source}", self.quiet[source])

    def close(self) -> None:
        """Take every hook away."""
        if self._hold_back is not None:
            self._hold_back.close()
        if self._train is not None:
            self._train.close()
