"""This process among the others: rank, world size, and a process group of rankwatch's own."""

from __future__ import annotations

import contextlib
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from typing import Protocol as TypingProtocol

import torch
from torch import Tensor

_TIMEOUT = 600.0
"""Seconds until a missing process is an error: as long as NCCL itself waits, by default, in training."""


class Group(TypingProtocol):
    """What the monitor asks of several processes; all of them make the same calls in the same order."""

    def all_gather_int(self, value: int, about: str) -> list[int]:
        """One number of each process, in rank order."""
        ...

    def gather_to_rank0(self, payload: Tensor, about: str) -> list[Tensor]:
        """All processes' (bytes,) uint8 payloads, in rank order, on the first one; nothing on the others."""
        ...

    def broadcast_from_rank0(self, payload: Tensor) -> Tensor:
        """The first one's payload, on all."""
        ...

    def close(self) -> None:
        """Give it back."""
        ...


class OutOfStepError(RuntimeError):
    """Processes asked each other different things: they don't make the same steps."""


class ProcessGroup:
    """A `Group` over a process group of rankwatch's own (gloo, so on the CPU and apart from training's).

    Made on all processes at the same time, in `setup`. What they ask each other bears a mark, so that processes that
    are no longer at the same point find out, all of them at once, instead of waiting for each other.

    Args:
        timeout_seconds: After this a missing process is an error on the others, not a hang.
    """

    def __init__(self, timeout_seconds: float = _TIMEOUT) -> None:
        import torch.distributed as dist  # here, since not every torch is built with it

        self._dist = dist
        try:
            self._group: Any = dist.new_group(backend="gloo", timeout=timedelta(seconds=timeout_seconds))
        except Exception as error:
            raise RuntimeError(
                "rankwatch needs a process group (gloo) in addition to the training's, and it could not be made: "
                f"{error}. Gloo connects processes by host name; GLOO_SOCKET_IFNAME names the network interface to use"
            ) from error
        self._size = dist.get_world_size()
        self._first = dist.get_rank() == 0
        self._broken = ""

    def all_gather_int(self, value: int, about: str) -> list[int]:
        """One number of each process; `OutOfStepError` if others ask about something else, or have before.

        Returns:
            The numbers, in the order of the processes' ranks.
        """
        mine = torch.tensor([zlib.crc32(about.encode()), value], dtype=torch.int64)
        parts = [torch.empty_like(mine) for _ in range(self._size)]
        with self._unbroken():
            self._dist.all_gather(parts, mine, group=self._group)
            self._compare(parts, mine, about)
        return [int(part[1]) for part in parts]

    @contextlib.contextmanager
    def _unbroken(self) -> Iterator[None]:
        """After a failure there is no further one: who is late must not be taken for an answer to another question."""
        if self._broken:
            raise OutOfStepError(self._broken)
        try:
            yield
        except Exception as error:
            self._broken = str(error)
            raise

    @staticmethod
    def _compare(parts: Sequence[Tensor], mine: Tensor, about: str) -> None:
        others = [rank for rank, part in enumerate(parts) if int(part[0]) != int(mine[0])]
        if others:
            raise OutOfStepError(
                f"processes are out of step: this one asks about {about!r}, {others[:4]} about something else; do all "
                "make the same steps?"
            )

    def gather_to_rank0(self, payload: Tensor, about: str) -> list[Tensor]:
        """Sizes first, then the payloads, straight to the first: torch's own gather would pad all to the largest."""
        sizes = self.all_gather_int(payload.numel(), about)
        with self._unbroken():
            if not self._first:
                self._dist.send(payload, dst=0, group=self._group)
                return []
            parts = [payload, *(torch.empty(size, dtype=torch.uint8) for size in sizes[1:])]
            arriving = [self._dist.irecv(part, src=rank, group=self._group) for rank, part in enumerate(parts) if rank]
            for one in arriving:
                if one is not None:  # torch's word for a process that isn't in the group: all are
                    one.wait()
        return parts

    def broadcast_from_rank0(self, payload: Tensor) -> Tensor:
        """Its size, then the payload."""
        size = torch.tensor([payload.numel()], dtype=torch.int64)
        with self._unbroken():
            self._dist.broadcast(size, src=0, group=self._group)
            received = payload if self._first else torch.zeros(int(size), dtype=torch.uint8)
            self._dist.broadcast(received, src=0, group=self._group)
        return received

    def close(self) -> None:
        """Give the group back, unless the user has destroyed all of them already."""
        with contextlib.suppress(Exception):
            self._dist.destroy_process_group(self._group)


def processes() -> tuple[World, Group | None]:
    """This process among the others, as `torch.distributed` knows them."""
    group = torch.distributed
    if not (group.is_available() and group.is_initialized() and group.get_world_size() > 1):
        return World(), None
    return World(group.get_rank(), group.get_world_size()), ProcessGroup()


@dataclass(frozen=True)
class World:
    """This process among the others."""

    rank: int = 0
    size: int = 1


def quota(utterances: int, rank: int, world_size: int) -> int:
    """Utterances that a process contributes: together they are as many as asked for, also where processes are more."""
    return utterances // world_size + (rank < utterances % world_size)
