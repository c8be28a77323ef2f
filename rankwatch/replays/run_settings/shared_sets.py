"""Evaluation sets as the processes of a run have shared them, read by one process in the same order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rankwatch.extraction.eval_sets.eval_set import EvalPart, EvalSet
from rankwatch.extraction.rows.row_labels import Labels
from rankwatch.run.run_state import call_file, eval_set_file
from rankwatch.runtime.distributed import World, quota
from rankwatch.runtime.files.run_paths import RunPath


@dataclass
class JoinedSet(EvalSet):
    """The parts of several processes, one after the other.

    The run has joined its rows in the order of the processes as well, so the same rows come in the same order, from the
    same batches; not one digit is different.

    Attributes:
        shares: Batches that each process had.
    """

    shares: tuple[int, ...] = ()

    def parts(self, first: int) -> list[EvalPart]:
        """Its batches; each process had its share of the utterances of a brief reading.

        Args:
            first: Utterances of all processes that belong to a brief reading.

        Returns:
            One part for each batch.
        """
        parts, begin = [], 0
        for rank, count in enumerate(self.shares):
            part = EvalSet(self.name, self.batches[begin : begin + count])
            parts += part.parts(quota(first, rank, len(self.shares)))
            begin += count
        return parts


def joined(parts: Sequence[EvalSet]) -> EvalSet:
    """One set of all parts.

    Args:
        parts: Of each process, in their order.

    Returns:
        The set; where there is a single part, that one.
    """
    if len(parts) == 1:
        return parts[0]
    first = parts[0]
    labels = first.labels
    if labels is not None:
        known = {key: one for part in parts if part.labels is not None for key, one in part.labels.known.items()}
        labels = Labels(known, whole=labels.whole, frames=labels.frames, words=labels.words)
    return JoinedSet(
        first.name,
        [batch for part in parts for batch in part.batches],
        set().union(*(part.passed_over for part in parts)),
        labels,
        first.forward,
        first.max_seconds,
        first.choice,
        first.origin,
        {key: value for part in parts for key, value in part.origins.items()},
        {key: value for part in parts for key, value in part.left_out.items()},
        first.caller,
        shares=tuple(len(part.batches) for part in parts),
    )


def stored_parts(folder: RunPath, name: str, processes: int, world: World) -> list[EvalSet]:
    """The first batches of a run, as far as this process reads them.

    Args:
        folder: The run's.
        name: The callback's.
        processes: How many the run had.
        world: This process among the others.

    Returns:
        This process's own part where there are as many processes as then, or all parts where there is one process.

    Raises:
        ValueError: If a part isn't there or can't be read, or the number of processes is neither.
    """
    if world.size not in (1, processes):
        raise ValueError(
            f"the run's evaluation set was shared by {processes} processes: replay on as many, or on one, not on "
            f"{world.size}"
        )
    ranks = range(processes) if world.size == 1 else [world.rank]
    return [_load(folder / eval_set_file(name, rank)) for rank in ranks]


def stored_call(folder: RunPath, name: str) -> EvalSet | None:
    """The recorded call that a run has put other sets' audio into, where it needed one; None where it had none.

    Args:
        folder: The run's.
        name: The callback's.

    Returns:
        A set of one batch, the call.
    """
    file = folder / call_file(name, 0)
    return _load(file) if file.exists() else None


def _load(file: RunPath) -> EvalSet:
    try:
        return EvalSet.load(file)
    except Exception as error:
        raise ValueError(
            f"the run's first batches are its evaluation set, and {file}, where they were stored, can't be read "
            f"({type(error).__name__}: {error}): name other audio (--audio), or where the run's files are"
        ) from error
