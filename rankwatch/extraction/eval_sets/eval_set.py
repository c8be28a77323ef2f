"""Evaluation sets: small fixed sets of audio."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from rankwatch.extraction.inputs.containers import map_tensors
from rankwatch.extraction.inputs.stored_batches import pack, unpack
from rankwatch.extraction.inputs.tensor_copies import Copies
from rankwatch.extraction.inputs.utterance_keys import fingerprint, primary_input
from rankwatch.extraction.rows.row_labels import Labels
from rankwatch.runtime.files.file_actions import write
from rankwatch.runtime.files.run_paths import RunPath

EvalForward = Callable[[nn.Module, Any], Any]
"""A function of the user's that runs one evaluation batch through the whole model."""


@dataclass(frozen=True)
class EvalBatch:
    """One forward pass of an evaluation set, on the CPU.

    Attributes:
        args: What the backbone is called with (of a recorded call), or (waveforms, lengths).
        kwargs: Keyword arguments, likewise.
        batch: The batch as the user's loader gave it, where there is one.
        keys: (B,) int64, one per utterance.
        used: The first `used` utterances count; the rest only fill the batch up.
        audio: Whether this is (waveforms, lengths) rather than a recorded call or a loader's batch.
    """

    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    batch: Any
    keys: Tensor
    used: int
    audio: bool = False

    def bytes(self) -> int:
        """Memory that its tensors take."""
        found: dict[int, Tensor] = {}
        map_tensors((self.args, self.kwargs, self.batch), lambda tensor: found.setdefault(id(tensor), tensor))
        return sum(tensor.nbytes for tensor in found.values())


@dataclass(frozen=True)
class EvalPart:
    """A batch of an evaluation set in one reading.

    Attributes:
        batch: The batch.
        brief: So many of its utterances, the first ones, belong to a brief reading.
        counts: Whether its rows count; a process with fewer batches than others repeats its last one.
    """

    batch: EvalBatch
    brief: int
    counts: bool = True


@dataclass
class EvalSet:
    """A named list of batches that stays the same for the whole run.

    Attributes:
        name: What the user calls it.
        batches: Its forward passes.
        passed_over: Keys of utterances that came in batches far larger than the others, and were left out.
        labels: Labels of its utterances, where it is a labelled set.
        forward: The user's function that runs its batches, or None: then the model's own call does.
        max_seconds: Where its files of audio were cut, or None.
        choice: How many files there were to choose from, and what was passed over, in words; empty without files.
        origin: The run that collected it from its first batches, or empty.
        origins: Files that its utterances come from, by their keys, where it is made from files.
        left_out: Utterances that don't count, since their recording is broken, with file and reason by their keys.
        caller: Whose call was recorded, where its batches are calls; see `recorded_caller`.
    """

    name: str
    batches: list[EvalBatch] = field(default_factory=list)
    passed_over: set[int] = field(default_factory=set)
    labels: Labels | None = None
    forward: EvalForward | None = None
    max_seconds: float | None = None
    choice: str = ""
    origin: str = ""
    origins: dict[int, str] = field(default_factory=dict)
    left_out: dict[int, str] = field(default_factory=dict)
    caller: dict[str, Any] = field(default_factory=dict)

    @property
    def utterances(self) -> int:
        """Utterances of this process that count."""
        return sum(len(self.counted(batch)) for batch in self.batches)

    def counted(self, batch: EvalBatch) -> list[int]:
        """Keys of a batch's utterances that count."""
        return [key for key in batch.keys[: batch.used].tolist() if key not in self.left_out]

    def parts(self, first: int) -> list[EvalPart]:
        """Its batches, and how many utterances of each are among the set's first ones.

        Args:
            first: Utterances of this process that belong to a brief reading.

        Returns:
            One part for each batch; those of a brief reading come first.
        """
        parts = []
        for batch in self.batches:
            parts.append(EvalPart(batch, brief=min(batch.used, first)))
            first -= parts[-1].brief
        return parts

    def megabytes(self) -> float:
        """Memory that the tensors of its batches take."""
        return sum(batch.bytes() for batch in self.batches) / 1e6

    def describe(self) -> str:
        """One sentence for the table."""
        cut = f", cut to {self.max_seconds:g} s each" if self.max_seconds is not None else ""
        without = f", without {len(self.passed_over)} whose batch is far larger than others" if self.passed_over else ""
        without += f", without {len(self.left_out)} broken recordings" if self.left_out else ""
        megabytes = f"{self.megabytes():.0f} MB"
        labels = self.labels.words if self.labels is not None else ""
        more = "".join(f"; {words}" for words in (labels, self.choice) if words)
        return f"{self.name} holds {self.utterances} utterances on this process, {megabytes}{cut}{without}{more}"

    def key_sum(self) -> int:
        """Sum of the utterances' keys modulo 2^63: adds up over processes, whatever order and batching."""
        return int(sum(key for batch in self.batches for key in self.counted(batch))) % (1 << 63)

    def save(self, path: RunPath) -> None:
        """Write it to a file, so that a restarted run reads the same utterances.

        Args:
            path: The file; a folder that isn't there is made.
        """
        batches = [{f.name: pack(getattr(batch, f.name)) for f in dataclasses.fields(batch)} for batch in self.batches]
        content = {"name": self.name, "batches": batches, "origin": self.origin, "caller": self.caller}
        write(path, lambda file: torch.save(content, file))

    @classmethod
    def load(cls, path: RunPath) -> EvalSet:
        """Read it back; only plain containers and tensors are taken from the file.

        Whatever `torch.load` has against the file, or a class of the user's own that isn't there any more, raises.

        Args:
            path: The file that `save` has written.

        Returns:
            The set, without its `forward`, which no file holds.
        """
        with path.open("rb") as file:
            content = torch.load(file, weights_only=True)
        batches = []
        for fields in content["batches"]:
            recorded = bool(fields["args"] or fields["kwargs"])  # then of the loader's batch only lengths are wanted
            batch = unpack(fields.pop("batch"), lenient=recorded)
            batches.append(EvalBatch(batch=batch, **{name: unpack(value) for name, value in fields.items()}))
        return cls(content["name"], batches, origin=content.get("origin", ""), caller=content.get("caller", {}))


def audio_eval_set(name: str, batches: Iterable[tuple[Tensor, Tensor]]) -> EvalSet:
    """An evaluation set from (waveforms (B, T), lengths (B,)) pairs.

    A process that has none gets a second of silence that doesn't count, so that it can make as many passes as others.

    Args:
        name: What the user calls the set.
        batches: The pairs, on the CPU.

    Returns:
        The set, all of whose utterances count.
    """
    eval_set = EvalSet(name)
    for waveforms, lengths in batches:
        pair = (waveforms, lengths)
        eval_set.batches.append(EvalBatch(pair, {}, pair, fingerprint(waveforms), len(lengths), audio=True))
    if not eval_set.batches:
        pair = (torch.zeros(1, 16_000), torch.tensor([16_000]))
        eval_set.batches.append(EvalBatch(pair, {}, pair, fingerprint(pair[0]), 0, audio=True))
    return eval_set


def loader_eval_set(name: str, loader: Iterable[Any], quota: int, rank: int = 0, world_size: int = 1) -> EvalSet:
    """An evaluation set from a dataloader's first batches, shared out to the processes; they are run by `forward`.

    A process for which there is none makes its passes with another's, which don't count.

    Args:
        name: What the user calls the set.
        loader: Gives the same batches on all processes.
        quota: Utterances wanted from this process.
        rank: This process.
        world_size: All processes.

    Returns:
        The set.

    Raises:
        ValueError: If the loader gives no batch.
    """
    eval_set = EvalSet(name)
    spare: Any = None
    for index, raw in enumerate(loader):
        if index % world_size != rank:
            spare = raw if spare is None else spare
            continue
        batch = Copies("cpu")(raw)
        keys = fingerprint(primary_input(batch))
        used = min(len(keys), quota - eval_set.utterances)
        eval_set.batches.append(EvalBatch((), {}, batch, keys, used))
        if eval_set.utterances >= quota:
            break
    if not eval_set.batches and spare is None:
        raise ValueError(f"evaluation set {name!r}: the dataloader gave no batch")
    if not eval_set.batches:
        batch = Copies("cpu")(spare)
        eval_set.batches.append(EvalBatch((), {}, batch, fingerprint(primary_input(batch)), 0))
    return eval_set


def same_number_of_passes(parts: Sequence[EvalPart], passes: int) -> list[EvalPart]:
    """The parts, the last repeated up to `passes`, where it doesn't count.

    Some encoders communicate within their forward pass, so every process makes equally many.

    Args:
        parts: Of this process.
        passes: How many passes the process with the most parts makes.

    Returns:
        As many parts as `passes`, or none where there is none.
    """
    return [*parts, *[dataclasses.replace(one, counts=False) for one in parts[-1:]] * (passes - len(parts))]
