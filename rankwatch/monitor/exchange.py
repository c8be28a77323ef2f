"""What processes exchange: each its share of the window's rows, to the first one, which tells all what came of it.

One gather and one broadcast for a reading. The rows of a window are as many whatever the number of processes, so what
the first one is sent doesn't grow with it, and only the first one decomposes. Beside that there is one number of each
process at an optimiser step as long as the default probe set is being collected, and a few before the first reading.

A process that failed sends its reason instead of rows; it is left out and named, and the others go on.
"""

from __future__ import annotations

import contextlib
import json
import zlib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any
from typing import Protocol as TypingProtocol

import torch
from torch import Tensor

from rankwatch.monitor.codebooks import Usage
from rankwatch.monitor.reading import Protocol
from rankwatch.monitor.sources import World
from rankwatch.monitor.window import Key, Rows

_TIMEOUT = 600.0
"""Seconds until a missing process is an error: as long as NCCL itself waits, by default, in training."""


class Group(TypingProtocol):
    """What the monitor asks of several processes; all of them make the same calls in the same order."""

    def numbers(self, value: int, about: str) -> list[int]:
        """One number of each process, in rank order."""
        ...

    def to_first(self, payload: Tensor, about: str) -> list[Tensor]:
        """All processes' (bytes,) uint8 payloads, in rank order, on the first one; nothing on the others."""
        ...

    def from_first(self, payload: Tensor) -> Tensor:
        """The first one's payload, on all."""
        ...

    def close(self) -> None:
        """Give it back."""
        ...


@dataclass(frozen=True)
class Exchanged:
    """What the first process knows after an exchange.

    Attributes:
        shares: Each process's rows, by source, level and layer.
        protocols: The conditions, by source and level; of the first process that has rows.
        refused: Sources that some process can't read at all, with its reason; all go quiet about them.
        failed: Sentences about processes that failed this time and were left out.
        usages: Each process's use of codes, by quantizer.
    """

    shares: dict[Key, list[Rows]]
    protocols: dict[tuple[str, str], Protocol]
    refused: dict[str, str]
    failed: list[str]
    usages: Mapping[str, Sequence[Usage]] = field(default_factory=dict)


def pack(content: Any, tensors: Sequence[Tensor] = ()) -> Tensor:
    """Plain values and tensors as (bytes,) uint8: eight bytes for the header's size, the header as JSON, the numbers.

    JSON takes floats there and back to the last bit, NaN and infinities too. The header is some thirty bytes a tensor,
    where `torch.save` takes some hundreds: with a thousand processes these would be most of what is sent.
    """
    flat = [tensor.detach().cpu().contiguous() for tensor in tensors]
    described = [[str(tensor.dtype).removeprefix("torch."), list(tensor.shape)] for tensor in flat]
    header = json.dumps({"content": content, "tensors": described}, separators=(",", ":")).encode()
    size = len(header).to_bytes(8, "little")
    start = torch.frombuffer(bytearray(size + header), dtype=torch.uint8)
    return torch.cat([start, *(tensor.view(-1).view(torch.uint8) for tensor in flat if tensor.numel())])


def unpack(payload: Tensor) -> tuple[Any, list[Tensor]]:
    """What `pack` was given."""
    end = 8 + int.from_bytes(payload[:8].numpy().tobytes(), "little")
    header = json.loads(payload[8:end].numpy().tobytes())
    tensors = []
    for name, shape in header["tensors"]:
        empty = torch.empty(shape, dtype=getattr(torch, name))
        if empty.numel():
            empty.view(-1).view(torch.uint8).copy_(payload[end : end + empty.nbytes])
        end += empty.nbytes
        tensors.append(empty)
    return header["content"], tensors


def pack_share(
    shares: Mapping[Key, Rows],
    refused: Mapping[str, str],
    error: str,
    protocols: Iterable[Protocol] = (),
    usages: Mapping[str, Usage] | None = None,
) -> Tensor:
    """One process's contribution.

    Args:
        shares: Its rows.
        protocols: The conditions under which they were drawn.
        refused: Sources that it can't read at all, with the reason.
        error: What went wrong with others this time, or empty.
        usages: Its use of codes, by quantizer.
    """
    joined = [torch.cat([getattr(rows, name) for rows in shares.values()]) for name in ("groups", "rounding") if shares]
    joined += [torch.cat([rows.labels.flatten() for rows in shares.values()])] if shares else []
    tensors = [*joined, *(_narrowest(rows.rows) for rows in shares.values())]  # few tensors: each costs time on its way
    about: dict[str, Any] = {
        "protocols": [one.to_dict() for one in protocols],
        "keys": [list(key) for key in shares],
        "labelled": [rows.labels.shape[1] for rows in shares.values()],
        "usages": [[name, vars(usage)] for name, usage in (usages or {}).items()],
    }
    return pack({"error": error, "refused": dict(refused), **about}, tensors)


def _narrowest(rows: Tensor) -> Tensor:
    """In bfloat16 where that is what the model gave: half the bytes, and nothing is lost."""
    half = rows.bfloat16()
    return half if bool((half.float() == rows).all()) else rows


def merge(payloads: Sequence[Tensor]) -> Exchanged:
    """The shares of all processes."""
    shares: dict[Key, list[Rows]] = defaultdict(list)
    protocols: dict[tuple[str, str], Protocol] = {}
    refused: dict[str, str] = {}
    failed = []
    usages: dict[str, list[Usage]] = defaultdict(list)
    for rank, payload in enumerate(payloads):
        content, tensors = unpack(payload)
        for fields in content["protocols"]:
            protocols.setdefault((fields["source"], fields["level"]), Protocol(**fields))
        for source, reason in content["refused"].items():
            refused.setdefault(source, reason)
        for name, usage in content["usages"]:
            usages[name].append(Usage(**usage))
        if content["error"]:
            failed.append(f"process {rank}: {content['error']}")
        if not content["keys"]:
            continue
        groups, rounding, labels, *rows = tensors
        sizes, columns = [len(some) for some in rows], content["labelled"]
        known = torch.split(labels, [size * some for size, some in zip(sizes, columns, strict=True)])
        parts = zip(rows, torch.split(groups, sizes), torch.split(rounding, sizes), known, columns, strict=True)
        for (source, level, layer), (some, keys, variances, flat, width) in zip(content["keys"], parts, strict=True):
            shares[source, level, layer].append(Rows(some.float(), keys, variances, flat.view(len(some), width)))
    kept = {key: share for key, share in shares.items() if key[0] not in refused}
    return Exchanged(kept, protocols, refused, failed, usages)


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
                "rankwatch needs a process group of its own (gloo) beside training's, and it could not be made: "
                f"{error}. Gloo connects processes by host name; GLOO_SOCKET_IFNAME names the network interface to use"
            ) from error
        self._size = dist.get_world_size()
        self._first = dist.get_rank() == 0
        self._broken = ""

    def numbers(self, value: int, about: str) -> list[int]:
        """One number of each process.

        Raises:
            OutOfStepError: If others ask about something else, or have before.
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

    def to_first(self, payload: Tensor, about: str) -> list[Tensor]:
        """Sizes first, then the payloads, straight to the first: torch's own gather would pad all to the largest."""
        sizes = self.numbers(payload.numel(), about)
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

    def from_first(self, payload: Tensor) -> Tensor:
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
