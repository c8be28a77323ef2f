"""One pass of an evaluation set through the model, whose rows go into a window."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import nn

from rankwatch.extraction.eval_sets.eval_runner import EvalRunner
from rankwatch.extraction.eval_sets.eval_set import EvalBatch, EvalPart, EvalSet, same_number_of_passes
from rankwatch.extraction.execution.preserved_model import preserved_model, unchanged_parameters
from rankwatch.extraction.hooks.layer_hooks import LayerHooks
from rankwatch.extraction.hooks.safe_hooks import eager
from rankwatch.extraction.model.layers import WatchedLayer
from rankwatch.extraction.rows.row_buffer import RowBuffer
from rankwatch.extraction.rows.row_extraction import RowExtractor
from rankwatch.extraction.state.known_changes import MOST_FOLLOWED, KnownChanges
from rankwatch.extraction.taps.tap_finder import TapFinder
from rankwatch.runtime.diagnostics import Diagnostics
from rankwatch.runtime.stopwatch import Stopwatch

_ONCE_MORE = "a pass once more"


class EvalPass:
    """Runs evaluation sets with hooks on the layers, in eval mode, and leaves the model as it was.

    Args:
        root: The whole model.
        layers: Watched layers.
        row_extractor: Turns outputs into rows.
        diagnostics: Warns once about each failure.
        all_gather_int: Gives one number of each process from one's own, and what it is about.
        autocast: Context in which a forward pass runs, as a training forward pass does.
        stopwatch: Where time is counted.
        brief_share: Gives of a set's utterances over all processes how many of this process belong to a brief reading;
            None where the set is always read as a whole.
        seed: Of what a model draws in eval mode (masks, for example).
    """

    def __init__(
        self,
        root: nn.Module,
        layers: Sequence[WatchedLayer],
        row_extractor: RowExtractor,
        diagnostics: Diagnostics,
        all_gather_int: Callable[[int, str], list[int]],
        autocast: Callable[[], contextlib.AbstractContextManager[Any]],
        stopwatch: Stopwatch,
        brief_share: Callable[[int], int | None] = lambda utterances: None,
        seed: int = 0,
    ) -> None:
        self._root = root
        self._layers = layers
        self._row_extractor = row_extractor
        self._diagnostics = diagnostics
        self._all_gather_int = all_gather_int
        self._autocast = autocast
        self._stopwatch = stopwatch
        self._brief_share = brief_share
        self._seed = seed
        self._changes = KnownChanges()
        self._passes: dict[tuple[str, bool], int] = {}
        self._written: set[str] = set()
        self._proven: set[str] = set()  # evaluation sets that were run without a change to a parameter
        self.fired: set[str] = set()
        """Layers that have fired in some pass."""
        self.left_out: set[str] = set()
        """Layers that aren't read for now."""
        self.runner: EvalRunner | None = None
        self.ids: dict[str, str] = {}
        """Fingerprints of the evaluation sets over all processes, by name, once they were run."""
        self.utterances: dict[str, int] = {}
        """Utterances of the evaluation sets over all processes, likewise."""
        self.inputs: dict[str, str] = {}
        """What the model's input was: ``"clean"``, ``"replayed"`` or ``"user"``, by evaluation set."""
        self.frames: dict[str, str] = {}
        """Which frames counted, by evaluation set, where a mask over time was seen."""

    def fill(self, window: RowBuffer, eval_set: EvalSet, *, full: bool = True) -> None:
        """Run the set; what the first failing pass raised is raised once all passes have been made.

        Args:
            window: Where its rows go.
            eval_set: The set.
            full: Whether all of it is run, or only its first utterances, where it is large enough for brief readings.
        """
        name = eval_set.name
        if (name, True) not in self._passes:
            self._passes[name, True] = max(self._all_gather_int(len(eval_set.batches), f"passes over {name}"))
            keys = self._all_gather_int(eval_set.key_sum(), f"utterances of {name}")
            self.ids[name] = f"{sum(keys) % (1 << 63):016x}"
            self.utterances[name] = sum(self._all_gather_int(eval_set.utterances, f"number of utterances of {name}"))
        share = self._brief_share(self.utterances[name])
        parts, full = eval_set.parts(share or 0), full or share is None
        if not full:
            parts = [part for part in parts if part.brief] or parts[:1]
            if (name, False) not in self._passes:
                self._passes[name, False] = max(self._all_gather_int(len(parts), f"passes over the first of {name}"))
        parts = same_number_of_passes(parts, self._passes[name, full])
        first = name not in self._proven
        proving = unchanged_parameters(self._root) if first else contextlib.nullcontext()
        self._changes.begin(thorough=first)
        with contextlib.ExitStack() as after:
            after.callback(self._name_unrestored_state)
            with preserved_model(self._root, self._seed, self._changes), proving, eager():
                self._proven.add(name)
                self._run(eval_set, parts, window, first, full)
        if window.dropped:
            reason = f"{name}: {window.dropped} utterances are too short to have a single frame"
            self._diagnostics.warn_once(f"dropped {name}", reason)

    def _name_unrestored_state(self) -> None:
        for where, kind in self._changes.take_unrestored().items():
            self._diagnostics.warn_once(
                f"state {where}",
                f"a forward pass that was run for a reading has changed {where} ({kind}), which can't be put back: "
                f"training is not identical to a run without {self._diagnostics.name}; where that matters, run "
                "evaluation sets by a function that doesn't use it, for example "
                "eval_sets=FirstBatches(forward=f) or AudioFolder(path, forward=f) with f(module, batch)",
            )
        left_out = self._changes.take_left_out()
        if left_out:
            names = ", ".join(left_out[:5]) + (f" and {len(left_out) - 5} more" if len(left_out) > 5 else "")
            self._diagnostics.warn_once(
                "state that was left out",
                f"the model holds more values than can be followed before each pass ({MOST_FOLLOWED:,}): what a "
                f"forward pass changes deep in {names} is neither put back nor noticed; if it changes nothing there, "
                "nothing is lost, else run evaluation sets by a function that doesn't use it (forward=f)",
            )

    def _run(self, eval_set: EvalSet, parts: Sequence[EvalPart], window: RowBuffer, first: bool, full: bool) -> None:
        """All passes are made whatever happens in one of them: other processes make theirs."""
        trouble: Exception | None = None
        if first and not parts:
            self._all_gather_int(0, _ONCE_MORE)  # others ask below
        for part in parts:
            known = len(self._written)
            finder = self._tap_finder(part.batch) if first else None
            with finder.listening() if finder is not None else contextlib.nullcontext():
                outputs, error = self._pass(part.batch, eval_set)
            # Outputs that the model writes into are seen afterwards, and copied from then on: once more, on all alike.
            # So it is where the pass has failed: perhaps it can't bear that its operations are followed.
            again = len(self._written) > known or error is not None
            if first and max(self._all_gather_int(int(again), _ONCE_MORE)):
                outputs, error = self._pass(part.batch, eval_set)
            if finder is not None:
                for layer, tap in finder.taps.items():
                    self._row_extractor.taps.note(eval_set.name, layer, tap)
            first = False
            trouble = trouble or error
            used = part.batch.used if full else part.brief
            if part.counts and used and trouble is None:
                try:
                    with self._stopwatch.part("drawing"):
                        self._take(part, outputs, window, eval_set, full)
                except Exception as problem:
                    trouble = problem
        if trouble is not None:
            raise trouble
        if eval_set.batches and self.runner is not None:
            self.inputs[eval_set.name] = self.runner.input(eval_set.batches[-1], eval_set.forward)

    def _tap_finder(self, batch: EvalBatch) -> TapFinder:
        reader = self._row_extractor.reader
        return TapFinder(self._root, self._layers, lambda name, output: reader.unpack(name, output, len(batch.keys))[0])

    def _pass(self, batch: EvalBatch, eval_set: EvalSet) -> tuple[dict[str, Any], Exception | None]:
        """What the layers gave in one forward pass, and what went wrong."""
        assert self.runner is not None
        device = next((p.device for p in self._root.parameters()), torch.device("cpu"))
        watched = [layer for layer in self._layers if layer.name not in self.left_out]
        hooked = [*watched, *self._row_extractor.reader.convolutions]
        try:
            with LayerHooks(hooked, written=self._written) as layer_hooks:
                with self._autocast():
                    self.runner.run(batch, device, eval_set.forward)
                return layer_hooks.take(), None
        except Exception as error:
            return {}, error

    def _take(
        self, part: EvalPart, outputs: Mapping[str, Any], window: RowBuffer, eval_set: EvalSet, full: bool
    ) -> None:
        assert self.runner is not None
        batch = part.batch if full else replace(part.batch, used=part.brief)
        levels = None if full else ("frame",)
        self.fired.update(outputs)
        drawn, failures = self._row_extractor.rows(
            outputs,
            args=batch.args,
            kwargs=batch.kwargs,
            batch=batch.batch,
            keys=batch.keys,
            used=batch.used,
            forward=self.runner.signature(batch, eval_set.forward),
            audio=batch.audio,
            masked=self.runner.input(batch, eval_set.forward) == "replayed",
            brief=part.brief,
            levels=levels,
        )
        if self._row_extractor.frames != "all":
            self.frames[window.source] = self._row_extractor.frames
        self.warn_of_failures(failures)
        if eval_set.left_out:
            drawn = {layer: rows.without(eval_set.left_out) for layer, rows in drawn.items()}
        window.add(drawn, len(eval_set.counted(batch)), eval_set.labels if full else None, levels)

    def warn_of_failures(self, failures: Mapping[str, Exception]) -> None:
        """Warn once about each layer that couldn't be read.

        Args:
            failures: What was raised, by layer.
        """
        for layer, error in failures.items():
            self._diagnostics.fail(f"layer {layer}", f"layer {layer} could not be read: {error}", error)

    def warn_of_silent_layers(self) -> None:
        """After the first window: warn about layers whose forward pass was never called, by name."""
        for layer in self._layers if self.fired else []:
            if layer.name not in self.fired | self.left_out:
                reason = f"layer {layer.name} did not fire in the first window (is it bypassed?); it is not watched"
                self._diagnostics.fail(f"silent {layer.name}", reason)
