"""Probe sets: small fixed sets of audio, and how each is run through the model."""

from __future__ import annotations

import dataclasses
import importlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from lightning_utilities.core.apply_func import apply_to_collection
from torch import Tensor, nn

from rankwatch.sampling.adapters import Adapter, unmasked_call
from rankwatch.sampling.draw import fingerprint
from rankwatch.sampling.recorder import Copies, HeldCall, primary_input
from rankwatch.sampling.substitute import substitute

ProbeForward = Callable[[nn.Module, Any], Any]


@dataclass(frozen=True)
class ProbeBatch:
    """One forward pass of a probe set, on the CPU.

    Attributes:
        args: What the backbone is called with (for a held-back call), or (waveforms, lengths).
        kwargs: Keyword arguments, likewise.
        batch: The batch as the user's loader gave it, where there is one.
        keys: (B,) int64, one per utterance.
        used: The first `used` utterances count; the rest only fill the batch up.
        audio: Whether this is (waveforms, lengths) rather than a held-back call.
    """

    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    batch: Any
    keys: Tensor
    used: int
    audio: bool = False


@dataclass
class ProbeSet:
    """A named list of batches that stays the same for the whole run."""

    name: str
    batches: list[ProbeBatch] = field(default_factory=list)

    @property
    def utterances(self) -> int:
        """Utterances of this process that count."""
        return sum(batch.used for batch in self.batches)

    def megabytes(self) -> float:
        """Memory that the tensors of its batches take."""
        found: dict[int, Tensor] = {}
        for batch in self.batches:
            everything = (batch.args, batch.kwargs, batch.batch)
            apply_to_collection(everything, Tensor, lambda tensor: found.setdefault(id(tensor), tensor))
        return sum(tensor.nbytes for tensor in found.values()) / 1e6

    def key_sum(self) -> int:
        """Sum of the utterances' keys modulo 2^63: adds up over processes, whatever order and batching."""
        return int(sum(k for batch in self.batches for k in batch.keys[: batch.used].tolist())) % (1 << 63)

    def hold_back(self, call: HeldCall, quota: int) -> None:
        """Add a call, counting at most as many of its utterances as are missing to `quota`."""
        used = min(len(call.keys), quota - self.utterances)
        self.batches.append(ProbeBatch(call.args, call.kwargs, call.batch, call.keys, used))

    def save(self, path: Path) -> None:
        """Write it to a file, so that a restarted run reads the same utterances."""
        path.parent.mkdir(parents=True, exist_ok=True)
        batches = [{f.name: getattr(batch, f.name) for f in dataclasses.fields(batch)} for batch in self.batches]
        for batch in batches:
            if batch["args"] or batch["kwargs"]:  # a held-back call: of the loader's batch only lengths are wanted
                batch["batch"] = _plain(batch["batch"])
        fresh = path.with_suffix(".new")
        torch.save({"name": self.name, "batches": batches}, fresh)
        fresh.replace(path)

    @classmethod
    def load(cls, path: Path) -> ProbeSet:
        """Read it back; only plain containers and tensors are taken from the file.

        Raises:
            Exception: Whatever `torch.load` has against the file (batches of classes of one's own, say).
        """
        content = torch.load(path, weights_only=True)
        return cls(content["name"], [ProbeBatch(**batch) for batch in content["batches"]])


def audio_probe_set(name: str, batches: Iterable[tuple[Tensor, Tensor]]) -> ProbeSet:
    """A probe set from (waveforms (B, T), lengths (B,)) pairs.

    A process that has none gets a second of silence that doesn't count, so that it can make as many passes as others.
    """
    probe_set = ProbeSet(name)
    for waveforms, lengths in batches:
        pair = (waveforms, lengths)
        probe_set.batches.append(ProbeBatch(pair, {}, pair, fingerprint(waveforms), len(lengths), audio=True))
    if not probe_set.batches:
        pair = (torch.zeros(1, 16_000), torch.tensor([16_000]))
        probe_set.batches.append(ProbeBatch(pair, {}, pair, fingerprint(pair[0]), 0, audio=True))
    return probe_set


def loader_probe_set(name: str, loader: Iterable[Any], quota: int, rank: int = 0, world_size: int = 1) -> ProbeSet:
    """A probe set from a dataloader's first batches, dealt out to the processes; they are run by `probe_forward`."""
    probe_set = ProbeSet(name)
    for index, raw in enumerate(loader):
        if index % world_size != rank:
            continue
        batch = Copies("cpu")(raw)
        keys = fingerprint(primary_input(batch))
        used = min(len(keys), quota - probe_set.utterances)
        probe_set.batches.append(ProbeBatch((), {}, batch, keys, used))
        if probe_set.utterances >= quota:
            break
    if not probe_set.batches:
        raise ValueError(f"probe set {name!r}: the dataloader gave this process no batch")
    return probe_set


class Runner:
    """Runs probe batches through the model; never through a training or validation step.

    Order of ways: the user's `probe_forward`; the adapter of a known model family (unmasked); for a
    held-back call its replay as it was; for audio the held-back call with the waveforms exchanged.

    Args:
        root: The whole model.
        backbone: (path, module) whose call was held back; None as long as none was.
        probe_forward: The user's function of (root, batch), or None.
        template: A held-back call to put audio into where no adapter knows the model.
    """

    def __init__(
        self,
        root: nn.Module,
        backbone: tuple[str, nn.Module] | None,
        probe_forward: ProbeForward | None = None,
        template: HeldCall | None = None,
    ) -> None:
        self._root = root
        self._backbone = backbone
        self._probe_forward = probe_forward
        self._template = template
        self._adapter: Adapter | None = unmasked_call(backbone[1] if backbone else root, root)
        self._replayed = False

    def input(self, batch: ProbeBatch) -> str:
        """The protocol's word for what the model is given: ``"clean"``, ``"replayed"`` or ``"user"``."""
        if self._probe_forward is not None:
            return "user"
        replayed = self._adapter is None or (self._replayed and not batch.audio)
        return "replayed" if replayed else "clean"

    @property
    def way(self) -> str:
        """How batches are run, in words, for the table."""
        if self._probe_forward is not None:
            return "your probe_forward"
        if self._adapter is not None and not self._replayed:
            return f"{self._adapter.name} (unmasked, eval mode)"
        return f"replay of the call of {self._path} (eval mode)"

    @property
    def _path(self) -> str:
        return (self._backbone[0] if self._backbone else "") or "the module itself"

    def signature(self, batch: ProbeBatch) -> Callable[..., Any] | None:
        """What tells the names of the batch's arguments."""
        if batch.audio:
            return _audio
        return self._backbone[1].forward if self._backbone is not None else None

    def run(self, batch: ProbeBatch, device: torch.device) -> None:
        """One forward pass; what it returns is thrown away, the taps have what matters.

        Raises:
            ValueError: If there is no way to run this batch, saying what to pass.
        """
        there = Copies(device)
        if self._probe_forward is not None:
            self._probe_forward(self._root, there(batch.batch))
        elif batch.audio:
            self._run_audio(*there(batch.args))
        elif self._backbone is None:
            raise ValueError(
                "no module that contains all watched layers is called as a module in training_step, so its "
                "call can't be replayed: pass probe_forward=... or watch_train=True"
            )
        else:
            args, kwargs, batched = there((batch.args, batch.kwargs, batch.batch))
            clean = self._adapter.transform(args, kwargs, batched) if self._adapter is not None else None
            if clean is not None:
                clean()
            else:
                self._replayed = True
                self._backbone[1](*args, **kwargs)

    def _run_audio(self, waveforms: Tensor, lengths: Tensor) -> None:
        if self._adapter is not None:
            self._adapter.run(waveforms, lengths)
        elif self._backbone is not None and self._template is not None:
            args, kwargs = Copies(waveforms.device)((self._template.args, self._template.kwargs))
            args, kwargs = substitute(args, kwargs, waveforms, lengths, self._backbone[1].forward)
            self._backbone[1](*args, **kwargs)
        else:
            raise ValueError("audio can't be run through this model without probe_forward=...")


def _plain(batch: Any) -> Any:
    """Named tuples and dataclasses as dicts, which a file may hold and dotted paths go through as well."""
    if isinstance(batch, tuple) and hasattr(batch, "_asdict"):
        batch = batch._asdict()
    elif dataclasses.is_dataclass(batch) and not isinstance(batch, type):
        batch = {f.name: getattr(batch, f.name) for f in dataclasses.fields(batch)}
    if isinstance(batch, dict):
        return {name: _plain(value) for name, value in batch.items()}
    if isinstance(batch, (list, tuple)):
        return [_plain(value) for value in batch]
    return batch


def _audio(waveforms: Tensor, lengths: Tensor) -> None:
    """The names of a folder batch's parts."""


def import_function(path: str) -> ProbeForward:
    """The function that a dotted path such as ``"my_project.probes:forward"`` or ``"a.b.f"`` names.

    Raises:
        ValueError: If the module or the function isn't there.
    """
    module, _, name = path.replace(":", ".").rpartition(".")
    try:
        function = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise ValueError(f"{path!r} names no function that can be imported: {error}") from error
    if not callable(function):
        raise ValueError(f"{path!r} is not a function")
    return function  # type: ignore[no-any-return]


def quota(utterances: int, world_size: int) -> int:
    """Utterances that each process contributes: ceil(utterances / world_size)."""
    return -(-utterances // world_size)


def same_number_of_passes(batches: Sequence[ProbeBatch], passes: int) -> list[tuple[ProbeBatch, bool]]:
    """Each batch with whether it counts, the last repeated up to `passes`.

    Some encoders communicate within their forward pass, so every process makes equally many.
    """
    padded = [(batch, True) for batch in batches]
    padded += [(batches[-1], False)] * (passes - len(batches)) if batches else []
    return padded
