"""Where rows come from: batches held back, folders and loaders, and the training pass itself."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from rankwatch.extraction.hooks.call_recorder import CallRecorder, HeldCall, _raw
from rankwatch.extraction.hooks.layer_hooks import Taps
from rankwatch.extraction.inputs.audio_files import audio_files, padded_batches, read_files
from rankwatch.extraction.inputs.containers import walk
from rankwatch.extraction.model.layers import WatchedLayer
from rankwatch.monitor.settings import Settings
from rankwatch.monitor.window import Window
from rankwatch.runtime.distributed import World, quota
from rankwatch.sampling.labelled import LabelledSet
from rankwatch.sampling.observe import Observer
from rankwatch.sampling.probe_sets import ProbeSet, audio_probe_set, loader_probe_set

_BATCH = 16  # utterances per forward pass of a probe set of files
_REPEATED = 4  # batches in a row in which nothing is new, at least, before the data are taken to have begun again
_PATIENCE = 5  # training batches at the start without a firing backbone before holding back is given up


class HoldBack:
    """Collects the default probe set from the first training batches.

    Args:
        probe_set: The set to fill.
        recorder: Makes what records the backbone's calls, when the first batch comes; None where `probe_forward` takes
            the batches themselves.
        wanted: Utterances wanted from this process.
    """

    def __init__(self, probe_set: ProbeSet, recorder: Callable[[], CallRecorder] | None, wanted: int) -> None:
        self.probe_set = probe_set
        self._new_recorder = recorder
        self._recorder: CallRecorder | None = None
        self._wanted = wanted
        self._missed = 0
        self._known = 0  # batches in a row of which every utterance is here already

    @property
    def full(self) -> bool:
        """Whether this process has all it was to hold back, or can't have more."""
        again = self._known >= max(_REPEATED, len(self.probe_set.batches))  # the data have begun again
        in_vain = self._missed >= _PATIENCE and not self.probe_set.batches  # what was called once will be again
        passes = bool(self.probe_set.batches)  # one at least, also where no utterance is wanted
        return (passes and self.probe_set.utterances >= self._wanted) or in_vain or again

    @property
    def template(self) -> HeldCall | None:
        """A call that was held back, to put other audio into."""
        for batch in self.probe_set.batches:
            return HeldCall(batch.args, batch.kwargs, batch.batch, batch.keys)
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
            call: HeldCall | None = _raw(batch)
        else:
            call = self._recorder.take(batch) if self._recorder is not None else None
        if call is None:
            return
        self._missed = 0
        if self.probe_set.batches and self.probe_set.holds(call.keys):
            self._known += 1
            return
        self._known = 0
        self.probe_set.hold_back(call, self._wanted)

    def close(self) -> None:
        """Take the hooks away."""
        if self._recorder is not None:
            self._recorder.remove()


def _nothing_in(batch: Any) -> bool:
    """Whether a loader gave None, or a batch without utterances."""
    tensors = [leaf for _, leaf in walk(batch) if isinstance(leaf, torch.Tensor)]
    return batch is None or (bool(tensors) and not any(tensor.numel() for tensor in tensors))


def named_probe_sets(settings: Settings, world: World) -> dict[str, ProbeSet]:
    """Read every folder, labelled set and dataloader among the probe sets; ``"auto"`` is left to `HoldBack`.

    Raises:
        ValueError: For a folder without audio, or a dataloader without `probe_forward`.
        FileNotFoundError: For a folder that isn't there.
    """
    sets: dict[str, ProbeSet] = {}
    how: dict[str, Any] = {
        "count": settings.n_utterances,
        "sample_rate": settings.sample_rate,
        "max_seconds": settings.max_seconds,
        "seed": settings.seed,
        "rank": world.rank,
        "world_size": world.size,
    }
    share = quota(settings.n_utterances, world.rank, world.size)
    for name, where in settings.sets.items():
        if name == settings.default_set:
            continue
        if isinstance(where, (str, Path)):
            utterances = read_files(audio_files(where), **how)
            sets[name] = audio_probe_set(name, padded_batches(list(utterances.values()), _BATCH))
        elif isinstance(where, LabelledSet):
            sets[name] = where.probe_set(name, batch_size=_BATCH, **how)
        elif settings.probe_forward is None:
            raise ValueError(
                f"probe set {name!r} is a dataloader: pass probe_forward=f, where f(module, batch) runs one of its "
                "batches through the model"
            )
        else:
            sets[name] = loader_probe_set(name, where, share, world.rank, world.size)
    return sets


class TrainPass:
    """Reads the training forward pass itself, for one window before each reading.

    Args:
        layers: Watched layers.
        observer: Turns outputs into rows.
        recorder: Records the backbone's calls by reference; they tell utterances and lengths.
        new_window: Makes an empty window.
        wanted: Utterances wanted from this process.
    """

    def __init__(
        self,
        layers: Sequence[WatchedLayer],
        observer: Observer,
        recorder: CallRecorder,
        new_window: Callable[[], Window],
        wanted: int,
    ) -> None:
        self._observer = observer
        self._recorder = recorder
        self._new_window = new_window
        self._wanted = wanted
        self._collecting = False
        self._batch: Any = None
        self._batch_size = 1
        self._taps = Taps(layers, active=lambda: self._collecting and torch.is_grad_enabled())
        self._taps.__enter__()
        recorder.install()
        self.window = new_window()
        self.failures: dict[str, Exception] = {}
        self.frames: str = "all"
        """Which frames counted: those without the mask, where one was seen."""

    def batch_starts(self, batch: Any, steps_to_reading: int) -> None:
        """Before a training batch; rows are gathered only as long before the reading as it takes."""
        near = steps_to_reading * self._batch_size <= self._wanted + self._batch_size
        self._collecting = near and self.window.utterances < self._wanted
        if self._collecting:
            self._batch = batch
            self._recorder.arm()

    def take_rows(self) -> None:
        """Draw from what has fired, before backward: nothing of it is kept alive."""
        known = len(self._taps.written)
        outputs = self._taps.take()
        if not self._collecting or not outputs:
            return
        self._collecting = False
        if len(self._taps.written) > known:  # some are missing: the next batch counts, for all layers alike
            self._recorder.forget()
            return
        call = self._recorder.take(self._batch) or _raw(self._batch)
        self._batch = None
        self._batch_size = max(1, len(call.keys))
        used = min(len(call.keys), self._wanted - self.window.utterances)
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

    def next_window(self) -> Window:
        """The window gathered; an empty one takes its place."""
        gathered, self.window = self.window, self._new_window()
        return gathered

    def close(self) -> None:
        """Take the hooks away."""
        self._taps.__exit__(None, None, None)
        self._recorder.remove()
