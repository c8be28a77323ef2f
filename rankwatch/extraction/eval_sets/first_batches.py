"""The default evaluation set: copied from the first training batches."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from rankwatch.extraction.eval_sets.eval_set import EvalSet
from rankwatch.extraction.hooks.call_recorder import CallRecorder, RecordedCall, _raw
from rankwatch.extraction.inputs.containers import walk

_REPEATED = 4  # batches in a row in which nothing is new, at least, before the data are taken to have begun again


_PATIENCE = 5  # training batches at the start without a firing backbone before holding back is given up


class FirstBatchCollector:
    """Collects the default evaluation set from the first training batches.

    Args:
        eval_set: The set to fill.
        recorder: Makes what records the backbone's calls, when the first batch comes; None where `probe_forward` takes
            the batches themselves.
        wanted: Utterances wanted from this process.
    """

    def __init__(self, eval_set: EvalSet, recorder: Callable[[], CallRecorder] | None, wanted: int) -> None:
        self.eval_set = eval_set
        self._new_recorder = recorder
        self._recorder: CallRecorder | None = None
        self._wanted = wanted
        self._missed = 0
        self._known = 0  # batches in a row of which every utterance is here already

    @property
    def full(self) -> bool:
        """Whether this process has all it was to hold back, or can't have more."""
        again = self._known >= max(_REPEATED, len(self.eval_set.batches))  # the data have begun again
        in_vain = self._missed >= _PATIENCE and not self.eval_set.batches  # what was called once will be again
        passes = bool(self.eval_set.batches)  # one at least, also where no utterance is wanted
        return (passes and self.eval_set.utterances >= self._wanted) or in_vain or again

    @property
    def template(self) -> RecordedCall | None:
        """A call that was held back, to put other audio into."""
        for batch in self.eval_set.batches:
            return RecordedCall(batch.args, batch.kwargs, batch.batch, batch.keys)
        return None

    def batch_starts(self) -> None:
        """Before a training batch."""
        if self._new_recorder is not None and self._recorder is None:
            self._recorder = self._new_recorder()
            self._recorder.install()
        if self._recorder is not None and not self.full:
            self._recorder.arm()

    def batch_ends(self, batch: Any) -> None:
        """After a training batch."""
        if self.full:
            return
        nothing = _nothing_in(batch)
        if nothing and self._new_recorder is None:
            return
        self._missed += not nothing  # a step that is skipped says nothing of the model
        if self._new_recorder is None:
            call: RecordedCall | None = _raw(batch)
        else:
            call = self._recorder.take(batch) if self._recorder is not None else None
        if call is None:
            return
        self._missed = 0
        if self.eval_set.batches and self.eval_set.holds(call.keys):
            self._known += 1
            return
        self._known = 0
        self.eval_set.add_call(call, self._wanted)

    def close(self) -> None:
        """Take the hooks away."""
        if self._recorder is not None:
            self._recorder.remove()


def _nothing_in(batch: Any) -> bool:
    """Whether a loader gave None, or a batch without utterances."""
    tensors = [leaf for _, leaf in walk(batch) if isinstance(leaf, torch.Tensor)]
    return batch is None or (bool(tensors) and not any(tensor.numel() for tensor in tensors))
