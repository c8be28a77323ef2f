"""Gathering: which layers, which sources, and one window of rows from each when a reading is due."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import nn

from rankwatch.monitor.complaints import Complaints
from rankwatch.monitor.exchange import GroupGather
from rankwatch.monitor.reading import Protocol
from rankwatch.monitor.report import LayerRow
from rankwatch.monitor.settings import Settings
from rankwatch.monitor.sources import HoldBack, TrainPass, World, named_probe_sets
from rankwatch.monitor.window import Samples, Window
from rankwatch.numerics import choose_projection
from rankwatch.sampling.discovery import WatchedLayer, backbone_candidates, find_layers
from rankwatch.sampling.lengths import AmbiguousLengths
from rankwatch.sampling.observe import Observer
from rankwatch.sampling.probe_sets import (
    ProbeForward,
    ProbeSet,
    Runner,
    import_function,
    quota,
    same_number_of_passes,
)
from rankwatch.sampling.recorder import CallRecorder
from rankwatch.sampling.taps import Taps
from rankwatch.sampling.undisturbed import eager, undisturbed


class Gathering:
    """The model's side of a monitor.

    Args:
        root: The whole model.
        settings: The user's arguments.
        world: This process among the others.
        gather: The collective, where there are several processes.
        complaints: Where failures are told.
        precision: The trainer's precision, for the protocol.
        autocast: Context in which a probe forward pass runs, as a training forward pass does.

    Raises:
        ValueError: For a layer pattern that matches nothing, or a bad probe set.
    """

    def __init__(
        self,
        root: nn.Module,
        settings: Settings,
        *,
        world: World,
        gather: GroupGather | None,
        complaints: Complaints,
        precision: str,
        autocast: Callable[[], contextlib.AbstractContextManager[Any]],
    ) -> None:
        self._root = root
        self._settings = settings
        self._gather = gather
        self._complaints = complaints
        self._precision = precision
        self._autocast = autocast
        self.layers: list[WatchedLayer] = find_layers(root, settings.layers)
        self._observer = Observer(
            self.layers,
            root,
            levels=settings.levels,
            per_utterance=settings.frames_per_utterance,
            lengths=settings.lengths,
            seed=settings.seed,
        )
        forward = settings.probe_forward
        self._forward: ProbeForward | None = import_function(forward) if isinstance(forward, str) else forward
        self._runner: Runner | None = None
        self._recorder = CallRecorder(backbone_candidates(root, self.layers))
        self.probe_sets = named_probe_sets(settings, world)
        self.quiet: dict[str, str] = {}
        self._passes: dict[str, int] = {}
        self._set_ids: dict[str, str] = {}
        self._fired: set[str] = set()
        self._quota = quota(settings.n_utterances, world.size)
        self._hold_back = self._start_holding_back()
        self._train: TrainPass | None = None
        if settings.watch_train:
            self._train = TrainPass(
                self.layers,
                self._observer,
                CallRecorder(backbone_candidates(root, self.layers), device=None),
                lambda: self._window("train"),
                self._quota,
            )

    def _start_holding_back(self) -> HoldBack | None:
        """Collect the default set if there is to be one; else one call, which tells the backbone."""
        auto = self._settings.default_set
        if auto is not None and auto not in self.probe_sets:
            recorder = self._recorder if self._forward is None else None
            return HoldBack(ProbeSet(auto), recorder, self._quota)
        if self._settings.sets and self._forward is None:
            return HoldBack(ProbeSet(""), self._recorder, 1)
        self._runner = Runner(self._root, None, self._forward)
        return None

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
        if self._hold_back is not None:
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
        if self._hold_back is None:
            return
        with self._complaints.guarded("holding back a batch"):
            self._hold_back.batch_ends(batch)
        # All processes stop collecting together, so that they make their first reading at one step.
        if max(self._numbers(int(not self._hold_back.full))) == 0:
            self.freeze()

    def freeze(self) -> None:
        """The default probe set stays as it is from now on."""
        held, self._hold_back = self._hold_back, None
        if held is None:
            return
        held.close()
        self._runner = Runner(self._root, self._recorder.backbone, self._forward, held.template)
        name = held.probe_set.name
        if name and sum(self._numbers(held.probe_set.utterances)) == 0:
            self._silence(
                name,
                "no module that contains all watched layers is called as a module in training_step, so its calls "
                "can't be held back; pass probe_forward=f with f(module, batch), or watch_train=True",
            )
        elif name:
            self.probe_sets[name] = held.probe_set

    @property
    def default_set(self) -> ProbeSet | None:
        """The default probe set, once it is complete."""
        return self.probe_sets.get(self._settings.default_set or "")

    def keep(self, probe_set: ProbeSet) -> None:
        """Use the default probe set from before a restart instead of holding a new one back."""
        if self._hold_back is not None:
            self._hold_back.close()
        self.probe_sets[probe_set.name] = probe_set
        self._hold_back = self._start_holding_back()

    # -- a reading ---------------------------------------------------------------------------------------

    def rows(self) -> tuple[Samples, str]:
        """One window of rows from every source, and what went wrong."""
        samples: Samples = {}
        errors = []
        for source in self.sources:
            try:
                samples.update(self._rows_of(source))
            except AmbiguousLengths as error:
                self._silence(source, str(error))
            except Exception as error:
                reason = f"{source} could not be read: {type(error).__name__}: {error}"
                self._complaints.fail(f"source {source}", reason, error)
                errors.append(reason)
        return samples, "; ".join(errors)

    def _rows_of(self, source: str) -> Samples:
        if source == "train":
            assert self._train is not None
            self._tell_failures(self._train.failures)
            return self._train.next_window().samples()
        probe_set = self.probe_sets[source]
        if source not in self._passes:
            self._passes[source] = max(self._numbers(len(probe_set.batches)))
            self._set_ids[source] = f"{sum(self._numbers(probe_set.key_sum())) % (1 << 63):016x}"
        window = self._window(source)
        device = next((p.device for p in self._root.parameters()), torch.device("cpu"))
        with undisturbed(self._root), eager(), self._autocast():
            self._run(probe_set, window, self._passes[source], device)
        if window.dropped:
            reason = f"{source}: {window.dropped} utterances are too short to have a single frame"
            self._complaints.warn(f"dropped {source}", reason)
        return window.samples()

    def _run(self, probe_set: ProbeSet, window: Window, passes: int, device: torch.device) -> None:
        assert self._runner is not None
        for batch, counts in same_number_of_passes(probe_set.batches, passes):
            with Taps(self.layers) as taps:
                self._runner.run(batch, device)
                outputs = taps.take()
                if counts:
                    self._fired.update(outputs)
                    drawn, failures = self._observer.rows(
                        outputs,
                        args=batch.args,
                        kwargs=batch.kwargs,
                        batch=batch.batch,
                        keys=batch.keys,
                        used=batch.used,
                        forward=self._runner.signature(batch),
                        audio=batch.audio,
                    )
                    self._tell_failures(failures)
                    window.add(drawn, batch.used)

    def _tell_failures(self, failures: Mapping[str, Exception]) -> None:
        for layer, error in failures.items():
            self._complaints.fail(f"layer {layer}", f"layer {layer} could not be read: {error}", error)

    def name_silent_layers(self) -> None:
        """After the first window: complain about layers that never fired, by name."""
        if not self.probe_sets or not self._fired:
            return
        for layer in self.layers:
            if layer.name not in self._fired:
                reason = f"layer {layer.name} did not fire in the first window (is it bypassed?); it is not watched"
                self._complaints.fail(f"silent {layer.name}", reason)

    # -- what is known -----------------------------------------------------------------------------------

    def protocol(self, source: str, level: str) -> Protocol:
        """The conditions of a reading; width and columns are filled in by `measure`."""
        train = source == "train"
        known = self._runner.input if self._runner is not None else "unknown"
        return Protocol(
            source=source,
            level=level,
            utterances=self._settings.n_utterances,
            frames_per_utterance=self._settings.frames_per_utterance if level == "frame" else 1,
            d=0,
            k=None,
            pooling="none" if level == "frame" else "mean",
            input="masked" if train else known,
            mode="train" if train else "eval",
            precision=self._precision,
            seed=self._settings.seed,
            probe_set=self._set_ids.get(source, ""),
        )

    def table(self) -> tuple[list[LayerRow], list[str]]:
        """One row per layer and sentences for the user; complete after the first reading."""
        rows = []
        asked = self._settings.projection
        for layer in self.layers:
            facts = self._observer.facts.get(layer.name)
            if facts is None:
                rows.append(LayerRow(layer.name, layer.label, 0, "-", "-", None, "did not fire"))
                continue
            columns = self._columns(facts.width)
            note = f"k = {asked} >= width: unprojected" if isinstance(asked, int) and columns is None else ""
            kept = self._quota * self._rows_per_utterance * (columns or facts.width) * 4 / 1e6
            row = LayerRow(layer.name, layer.label, facts.width, facts.layout, facts.lengths, columns, note)
            rows.append(replace(row, cost=f"{kept:.1f} MB"))
        notes = list(self.quiet.values())
        teachers = sorted({name.rsplit(".", 1)[0] for name in self._teacher_layers()})
        if teachers:
            notes.append(f"not watched: the teacher branch; layers=[..., '{teachers[0]}.*'] adds it")
        if self._runner is not None and self.probe_sets:
            notes.insert(0, f"probe sets are run by {self._runner.way}")
        return rows, notes

    def _teacher_layers(self) -> list[str]:
        """Layers of a teacher branch that could be watched and aren't."""
        watched = {layer.name for layer in self.layers}
        with contextlib.suppress(ValueError):
            every = find_layers(self._root, ["*"])
            return [layer.name for layer in every if layer.branch == "teacher" and layer.name not in watched]
        return []

    @property
    def _rows_per_utterance(self) -> int:
        frames = self._settings.frames_per_utterance if "frame" in self._settings.levels else 0
        return frames + ("utterance" in self._settings.levels)

    def _columns(self, width: int) -> int | None:
        wanted = self._settings.projection
        if wanted == "auto":
            return choose_projection(width, self._settings.n_utterances * self._settings.frames_per_utterance)
        return wanted if isinstance(wanted, int) and wanted < width else None

    def _window(self, source: str) -> Window:
        return Window(source, tuple(self._settings.levels), self._columns, self._settings.seed)

    def _numbers(self, value: int) -> list[int]:
        """One number of each process."""
        return [value] if self._gather is None else self._gather.numbers(value)

    def _silence(self, source: str, reason: str) -> None:
        self.quiet[source] = f"{source} is not read: {reason}"
        self._complaints.fail(f"quiet {source}", self.quiet[source])

    def close(self) -> None:
        """Take every hook away."""
        if self._hold_back is not None:
            self._hold_back.close()
        if self._train is not None:
            self._train.close()
