"""The default evaluation set: copied from the first training batches."""

from __future__ import annotations

from collections.abc import Callable
from statistics import median_low
from typing import Any

import torch

from rankwatch.extraction.eval_sets.eval_set import EvalBatch, EvalSet
from rankwatch.extraction.hooks.call_recorder import CallRecorder, RecordedCall
from rankwatch.extraction.inputs.containers import walk
from rankwatch.extraction.inputs.tensor_copies import Copies
from rankwatch.extraction.inputs.utterance_keys import fingerprint, primary_input

_REPEATED = 4
"""Batches in a row in which nothing is new, at least, before the data are taken to have begun again."""

_PATIENCE = 5
"""Training batches at the start in which no module was called that could be recorded, before that is given up."""

_LARGE = 64_000_000
"""Bytes, 17 minutes of audio at 16 kHz: a smaller batch is never too large for an evaluation set."""

_FAR = 16
"""Times the size of the median batch: further than lengths scatter in a corpus."""


class FirstBatchCollector:
    """Collects the default evaluation set, and the model's call that other sets' audio is put into.

    A set with a `forward` of its own takes the loader's batches as they are, any other the model's recorded calls.

    Args:
        eval_set: The set to fill; its name is empty where only a call is wanted.
        wanted: Utterances wanted from this process.
        new_recorder: Makes what records the model's calls, when the first batch comes; None where all sets have a
            `forward` of their own.
    """

    def __init__(self, eval_set: EvalSet, wanted: int, new_recorder: Callable[[], CallRecorder] | None) -> None:
        self.eval_set = eval_set
        self.recorder: CallRecorder | None = None
        self._new_recorder = new_recorder
        self._keeps_calls = new_recorder is not None and eval_set.forward is None
        self._only_call: RecordedCall | None = None  # where the set itself holds none
        self._wanted = wanted
        self._missed_calls = self._missed_batches = 0  # in a row
        self._known = 0  # batches in a row of which every utterance is here already
        self._batch: Any = None  # as it was before the model could write into it

    @property
    def full(self) -> bool:
        """Whether this process has all that was wanted of it, or can't have more."""
        return self._has_utterances and not self._lacks_call

    @property
    def template(self) -> RecordedCall | None:
        """A recorded call that other audio can be put into."""
        if not self._keeps_calls or not self.eval_set.batches:
            return self._only_call
        first = self.eval_set.batches[0]
        return RecordedCall(first.args, first.kwargs, first.batch, first.keys)

    @property
    def _has_utterances(self) -> bool:
        batches = self.eval_set.batches
        missed = self._missed_calls if self._keeps_calls else self._missed_batches
        in_vain = missed >= _PATIENCE and not batches  # what came once will come again
        data_began_again = self._known >= max(_REPEATED, len(batches))
        return (bool(batches) and self.eval_set.utterances >= self._wanted) or in_vain or data_began_again

    @property
    def _lacks_call(self) -> bool:
        wanted = self._new_recorder is not None and self.template is None
        return wanted and self._missed_calls < _PATIENCE

    def batch_starts(self, batch: Any) -> None:
        """Before a training batch's forward pass: copy it, and record the call that comes.

        Args:
            batch: The batch as the loader gave it.
        """
        self._batch = None
        if self._new_recorder is not None and self.recorder is None:
            self.recorder = self._new_recorder()
            self.recorder.install()
        if self.recorder is not None and not self.full:
            self.recorder.arm(batch=batch if self._keeps_calls else None)
        if not self._keeps_calls and not self._has_utterances:
            self._batch = Copies("cpu")(batch)

    def batch_ends(self, batch: Any) -> None:
        """After a training batch: add it, or what the model was called with.

        Args:
            batch: The batch as the loader gave it.
        """
        if self.full:
            return
        empty = _is_empty(batch)
        if self._keeps_calls:
            call = self._take_call(batch, empty)
            if call is not None:
                self._add(EvalBatch(call.args, call.kwargs, call.batch, call.keys, 0))
        elif not empty:
            if self._lacks_call:
                self._only_call = self._take_call(batch, empty)
            if not self._has_utterances:
                self._missed_batches += 1
                self._add(EvalBatch((), {}, self._batch, fingerprint(primary_input(self._batch)), 0))
                self._missed_batches = 0

    def _take_call(self, batch: Any, empty: bool) -> RecordedCall | None:
        self._missed_calls += not empty  # a step that is skipped says nothing of the model
        call = self.recorder.take(batch) if self.recorder is not None else None
        self._missed_calls = self._missed_calls if call is None else 0
        return call

    def _add(self, batch: EvalBatch) -> None:
        """Add a batch whose utterances are new, counting at most as many of them as are missing.

        A batch that is far larger than the others (somebody's recording of half an hour among utterances) would be run
        at every reading; it is left out again as soon as that shows. It goes as a whole: nothing can be cut out of a
        call that isn't ours without changing what the model sees of the rest.
        """
        eval_set = self.eval_set
        if eval_set.batches and self._has_all(batch.keys):
            self._known += 1
            return
        self._known = 0
        used = min(len(batch.keys), self._wanted - eval_set.utterances)
        eval_set.batches.append(EvalBatch(batch.args, batch.kwargs, batch.batch, batch.keys, used))
        sizes = [one.bytes() for one in eval_set.batches]
        most = max(_LARGE, _FAR * median_low(sizes))
        if max(sizes) > most:
            for one, size in zip(eval_set.batches, sizes, strict=True):
                eval_set.passed_over.update(one.keys.tolist() if size > most else ())
            eval_set.batches = [one for one, size in zip(eval_set.batches, sizes, strict=True) if size <= most]

    def _has_all(self, keys: torch.Tensor) -> bool:
        """Whether all these utterances are here already, or were passed over."""
        here = {key for batch in self.eval_set.batches for key in batch.keys.tolist()}
        return here | self.eval_set.passed_over >= set(keys.tolist())

    def close(self) -> None:
        """Take the hooks away."""
        if self.recorder is not None:
            self.recorder.remove()


def _is_empty(batch: Any) -> bool:
    """Whether a loader gave None, or a batch without utterances."""
    tensors = [leaf for _, leaf in walk(batch) if isinstance(leaf, torch.Tensor)]
    return batch is None or (bool(tensors) and not any(tensor.numel() for tensor in tensors))
