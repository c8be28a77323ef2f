"""How evaluation sets are run through a model that nobody trains: by calls that the run has stored, or by others."""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Callable, Collection, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from rankwatch.extraction.eval_sets.eval_runner import EvalRunner
from rankwatch.extraction.eval_sets.eval_set import EvalBatch, EvalForward, EvalSet
from rankwatch.extraction.eval_sets.recorded_caller import Backbone, find_caller
from rankwatch.extraction.execution.audio_calls import AudioCall, audio_calls
from rankwatch.extraction.execution.model_families import unmasked_call
from rankwatch.extraction.execution.preserved_model import preserved_model
from rankwatch.extraction.hooks.call_recorder import RecordedCall
from rankwatch.extraction.hooks.layer_hooks import LayerHooks
from rankwatch.extraction.hooks.replayable_calls import backbone_candidates
from rankwatch.extraction.model.layers import WatchedLayer
from rankwatch.monitor.codebook_collector import CodebookCollector

Autocast = Callable[[], contextlib.AbstractContextManager[Any]]


class CountingRunner(EvalRunner):
    """Runs evaluation sets, and lets codes be counted in the primary one's passes, since there are no other passes.

    Args:
        root: The whole model.
        backbone: (path, module) whose call is replayed, or None.
        template: A recorded call to put audio into, or None.
        codebooks: Counts the codes.
        counted: The primary set's batches.
    """

    def __init__(
        self,
        root: nn.Module,
        backbone: Backbone | None,
        template: RecordedCall | None,
        codebooks: CodebookCollector,
        counted: Collection[EvalBatch],
    ) -> None:
        super().__init__(root, backbone, template)
        self._codebooks = codebooks
        self._all = {id(batch) for batch in counted}
        self._wanted: set[int] = set()
        self._step = 0

    def begin(self, step: int) -> None:
        """A reading begins, after `step` optimiser steps."""
        self._step, self._wanted = step, set(self._all)

    def run(self, batch: EvalBatch, device: torch.device, forward: EvalForward | None = None) -> None:
        """One forward pass, as `EvalRunner.run` makes it."""
        counts = id(batch) in self._wanted  # a pass that is made once more doesn't
        self._wanted.discard(id(batch))
        if counts:
            self._codebooks.batch_starts(self._step, self._step + 1)
        failed = True
        try:
            super().run(batch, device, forward)
            failed = False
        finally:
            if counts:
                self._codebooks.conditions["input"] = self.input(batch, forward)
                self._codebooks.batch_ends(batch.batch, failed)


def backbone_of(root: nn.Module, layers: Sequence[WatchedLayer], calls: EvalSet | None) -> Backbone | None:
    """What made the calls that a run has recorded.

    Args:
        root: The whole model.
        layers: The watched layers.
        calls: A set of recorded calls, or None.

    Returns:
        Path and module; None where no calls were recorded.

    Raises:
        ValueError: If the model has no module that can be called so.
    """
    batch = calls.batches[0] if calls is not None and calls.batches else None
    if calls is None or batch is None or batch.audio or not (batch.args or batch.kwargs):
        return None
    found = find_caller(root, calls.caller) or _that_takes(root, layers, batch)
    if found is None:
        raise ValueError(
            f"the run has recorded calls of {calls.caller.get('path', 'a module')!r}, and {type(root).__name__} has no "
            "module that can be called so: make the model as the run had it, from the outermost module on"
        )
    return found


def _that_takes(root: nn.Module, layers: Sequence[WatchedLayer], batch: EvalBatch) -> Backbone | None:
    """Of a run that didn't note whose calls it recorded: the deepest module that can be called so, with all layers."""
    device = next((p.device for p in root.parameters()), torch.device("cpu"))
    for path, module in backbone_candidates(root, layers):
        try:
            inspect.signature(module.forward).bind(*batch.args, **batch.kwargs)
            with preserved_model(root, 0), LayerHooks(layers, written=set()) as hooks:
                EvalRunner(root, (path, module)).run(batch, device)
                fired = hooks.take()
        except Exception:  # that isn't it
            continue
        if all(layer.name in fired for layer in layers):
            return path, module
    return None


class FoundCall:
    """Runs a set's batches by a call that was found.

    Args:
        call: It.
    """

    def __init__(self, call: AudioCall) -> None:
        self._run = call.run
        with_lengths = "waveforms and lengths" if call.takes_lengths else "waveforms"
        self.in_words = f"a call of {call.name} with {with_lengths} (eval mode)"

    def __call__(self, _: nn.Module, batch: tuple[Tensor, Tensor]) -> Any:
        """Run the model on (waveforms, lengths)."""
        return self._run(*batch)


def forward_for_audio(
    root: nn.Module, layers: Sequence[WatchedLayer], eval_set: EvalSet, autocast: Autocast
) -> EvalForward | None:
    """What runs files of audio through a model of which no call was recorded.

    Args:
        root: The whole model.
        layers: The watched layers.
        eval_set: The set.
        autocast: Context of a forward pass.

    Returns:
        None where the model's family is known; else a function of the model and a batch.

    Raises:
        ValueError: If nothing that was tried works, with what to pass.
    """
    if unmasked_call(root, root) is not None:
        return None
    device = next((p.device for p in root.parameters()), torch.device("cpu"))
    waveforms, lengths = (part.to(device) for part in eval_set.batches[0].args)
    reason = "no module that holds all layers takes waveforms alone, or with lengths"
    for call in audio_calls(root, layers):
        if not call.takes_lengths and any(len(set(batch.args[1].tolist())) > 1 for batch in eval_set.batches):
            reason = "its forward pass takes no lengths, and the set's utterances are of several lengths"
            continue
        try:
            with preserved_model(root, 0), autocast():
                call.run(waveforms, lengths)
        except Exception as error:
            reason = f"{type(error).__name__}: {error}"
            continue
        return FoundCall(call)
    raise ValueError(
        f"{type(root).__name__} could not be run on files of audio ({reason}): pass forward=f with "
        "f(model, (waveforms, lengths)), on the command line --forward MODULE:FUNCTION"
    )
