"""Rows of the training forward pass itself, drawn before each reading."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import nn

from rankwatch.extraction.hooks.call_recorder import CallRecorder, _raw
from rankwatch.extraction.hooks.layer_hooks import LayerHooks
from rankwatch.extraction.hooks.safe_hooks import within_checkpoint
from rankwatch.extraction.model.compiled_modules import compiled_functions, within_one_graph
from rankwatch.extraction.model.layers import WatchedLayer
from rankwatch.extraction.rows.row_buffer import RowBuffer
from rankwatch.extraction.rows.row_extraction import RowExtractor
from rankwatch.extraction.taps.gradient_taps import tap_by_gradients
from rankwatch.runtime.diagnostics import Diagnostics


class TrainingRows:
    """Reads the training forward pass itself, for one window before each reading.

    Args:
        layers: Watched layers.
        row_extractor: Turns outputs into rows.
        recorder: Records the backbone's calls by reference; utterances and lengths are taken from them.
        new_window: Makes an empty window.
        wanted: Utterances wanted from this process.
    """

    def __init__(
        self,
        layers: Sequence[WatchedLayer],
        row_extractor: RowExtractor,
        recorder: CallRecorder,
        new_window: Callable[[], RowBuffer],
        wanted: int,
    ) -> None:
        self._observer = row_extractor
        self._recorder = recorder
        self._new_window = new_window
        self._wanted = wanted
        self._collecting = False
        self._batch: Any = None
        self._batch_size = 1
        self._layer_hooks = LayerHooks(layers, active=self._is_wanted)
        self._layer_hooks.__enter__()
        recorder.install()
        self.window = new_window()
        self.failures: dict[str, Exception] = {}
        self._with_gradients: set[str] = set()
        self._without_gradients: set[str] = set()
        self._functions = ""  # of the model, that were compiled, by name
        self._splits = True
        self._silent_batches = 0
        self.frames: str = "all"
        """Which frames counted: those without the mask, where one was seen."""

    def out_of_reach(self, root: nn.Module) -> str:
        """Why the training pass can't be read: a hook within a graph that must not be split would end the run.

        Args:
            root: The whole model.

        Returns:
            The reason and what to do, in words; empty where there is none.
        """
        functions = compiled_functions(root.modules())
        self._functions = ", ".join(functions)
        self._splits = not any(functions.values())
        self._layer_hooks.place_again(splits=self._splits)
        whole = within_one_graph(root.modules())
        if not any(id(layer.module) in whole for layer in self._layer_hooks.layers):
            return ""
        return (
            "layers within a module that is compiled with fullgraph=True can't be looked at without ending the run; "
            "compile it without fullgraph, or compile each of its blocks in place (block.compile())"
        )

    def batch_starts(self, batch: Any, steps_to_reading: int) -> None:
        """Before a training batch; rows are gathered only as long before the reading as it takes."""
        self.drop_batch()  # of one that was skipped, say, outputs may still be there
        self._layer_hooks.place_again(splits=self._splits)
        self._recorder.place_again()
        near = steps_to_reading * self._batch_size <= self._wanted + self._batch_size
        self._collecting = near and self.window.utterances < self._wanted
        if self._collecting:
            self._batch = batch
            self._recorder.arm()

    def _is_wanted(self, layer: WatchedLayer) -> bool:
        """A teacher, or a validation in between, runs without gradients, and so do blocks under a checkpoint."""
        if not self._collecting:
            return False
        trained = torch.is_grad_enabled() or (layer.branch != "teacher" and within_checkpoint())
        (self._with_gradients if trained else self._without_gradients).add(layer.name)
        return trained

    def report(self, diagnostics: Diagnostics) -> None:
        """Warn once about each layer that couldn't be read, by name.

        Args:
            diagnostics: Where to.
        """
        for name, error in self.failures.items():
            diagnostics.fail(f"layer {name}", f"layer {name} could not be read: {error}", error)
        teachers = {layer.name for layer in self._layer_hooks.layers if layer.branch == "teacher"}
        silent = sorted(self._without_gradients - self._with_gradients - teachers)
        if silent:
            diagnostics.warn_once(
                "layers without gradients",
                f"{', '.join(silent)} ran without gradients (torch.no_grad) in the training pass, of which only what "
                "is trained is read: see their curves of evaluation sets",
            )

        if self._silent_batches and not self._with_gradients | self._without_gradients:
            within = (
                f"; they may lie within what torch.compile has made of {self._functions}, where no hook fires: compile "
                "the encoder itself (encoder.compile()) or each of its blocks (block.compile())"
            )
            diagnostics.warn_once(
                "silent training pass",
                "no watched layer was called as a module in the training pass, of which nothing is read: see the "
                f"curves of evaluation sets{within if self._functions else ''}",
            )

    def batch_ends(self) -> None:
        """After a training batch: what fires from here on is no part of it."""
        self.take_rows()
        self._silent_batches += self._collecting
        self._collecting = False

    def drop_batch(self) -> None:
        """Forget what has fired without reading it: its batch has failed and is no batch of the training."""
        self._collecting = False
        self._batch = None
        self._layer_hooks.take()
        self._recorder.forget()

    def take_rows(self) -> None:
        """Draw from what has fired, before backward: none of it stays alive."""
        known = len(self._layer_hooks.written)
        outputs = self._layer_hooks.take()
        if not self._collecting or not outputs:
            return
        self._collecting = False
        if len(self._layer_hooks.written) > known:  # some are missing: the next batch counts, for all layers alike
            self._recorder.forget()
            return
        call = self._recorder.take(self._batch) or _raw(self._batch)
        self._batch = None
        self._batch_size = max(1, len(call.keys))
        used = min(len(call.keys), self._wanted - self.window.utterances)
        self._note_taps(outputs, self._batch_size)
        backbone = self._recorder.backbone
        drawn, failures = self._observer.rows(
            outputs,
            args=call.args,
            kwargs=call.kwargs,
            batch=call.batch,
            keys=call.keys,
            used=used,
            forward=None if backbone is None else backbone[1].forward,
            masked=True,
        )
        if self._observer.frames != "all":
            self.frames = self._observer.frames
        self.failures.update(failures)
        self.window.add(drawn, used)

    def _note_taps(self, outputs: Mapping[str, Any], size: int) -> None:
        for name in filter(self._observer.taps.lacks, outputs):
            with contextlib.suppress(Exception):  # what can't be read is named with the rows
                hidden, _ = self._observer.reader.unpack(name, outputs[name], size)
                self._observer.taps.note_by_gradients(name, tap_by_gradients(hidden))

    def next_window(self) -> RowBuffer:
        """The window gathered; an empty one takes its place."""
        gathered, self.window = self.window, self._new_window()
        return gathered

    def close(self) -> None:
        """Take the hooks away."""
        self._layer_hooks.__exit__(None, None, None)
        self._recorder.remove()
