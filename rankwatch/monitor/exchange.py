"""What processes exchange: each its share of the window's rows, with utterance keys; nothing else.

A payload is a flat byte tensor: `torch.save` of plain tensors, numbers and strings. A process that failed
sends its reason instead of rows; it is left out and named, and the others go on.
"""

from __future__ import annotations

import io
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
from torch import Tensor

from rankwatch.monitor.window import Samples
from rankwatch.numerics import Sample

Gather = Callable[[Tensor], list[Tensor]]
"""All processes' byte tensors, in rank order, from one's own; sizes may differ."""


@dataclass(frozen=True)
class Exchanged:
    """What all processes know after an exchange: the same on each.

    Attributes:
        samples: Merged samples, rows in canonical order: a reading is a pure function of the set of rows.
        refused: Sources that some process can't read at all, with its reason; all go quiet about them.
        failed: Sentences about processes that failed this time and were left out.
        sent: Bytes this process sent.
    """

    samples: Samples
    refused: dict[str, str]
    failed: list[str]
    sent: int


def pack(samples: Samples, refused: Mapping[str, str], error: str) -> Tensor:
    """One process's contribution as a (bytes,) uint8 tensor."""
    buffer = io.BytesIO()
    content = {
        "error": error,
        "refused": dict(refused),
        "samples": [[*key, sample.to_tensors()] for key, sample in samples.items()],
    }
    torch.save(content, buffer)
    return torch.frombuffer(bytearray(buffer.getvalue()), dtype=torch.uint8)


def unpack(payload: Tensor) -> tuple[Samples, dict[str, str], str]:
    """Samples, refusals and error of one payload."""
    content = torch.load(io.BytesIO(payload.numpy().tobytes()), weights_only=True)
    samples = {
        (source, level, layer): Sample.from_tensors(tensors) for source, level, layer, tensors in content["samples"]
    }
    return samples, content["refused"], content["error"]


def exchange(samples: Samples, refused: Mapping[str, str], error: str, gather: Gather | None) -> Exchanged:
    """Merge the shares of all processes.

    Args:
        samples: This process's share.
        refused: Sources that this process can't read at all, with the reason.
        error: What went wrong with others this time, or empty.
        gather: The collective, or None where there is one process.
    """
    if gather is None:
        shares, sent = [(samples, dict(refused), error)], 0
    else:
        payload = pack(samples, refused, error)
        sent = payload.numel()
        shares = [unpack(part) for part in gather(payload)]
    everywhere = {source: reason for _, reasons, _ in reversed(shares) for source, reason in reasons.items()}
    parts: dict[tuple[str, str, str], list[Sample]] = defaultdict(list)
    for share, _, _ in shares:
        for key, sample in share.items():
            if key[0] not in everywhere:
                parts[key].append(sample)
    failed = [f"process {rank}: {reason}" for rank, (_, _, reason) in enumerate(shares) if reason]
    return Exchanged({key: Sample.merge(same) for key, same in parts.items()}, everywhere, failed, sent)


class GroupGather:
    """`Gather` over a process group of rankwatch's own (gloo, so on the CPU and apart from training's).

    Made on all processes at the same time, in `setup`.

    Args:
        timeout_seconds: After this a missing process is an error on the others, not a hang.
    """

    def __init__(self, timeout_seconds: float = 300.0) -> None:
        import torch.distributed as dist  # here, since not every torch is built with it

        self._dist = dist
        self._group: Any = dist.new_group(backend="gloo", timeout=timedelta(seconds=timeout_seconds))
        self._world_size = dist.get_world_size()

    def __call__(self, payload: Tensor) -> list[Tensor]:
        """Sizes first, then the payloads padded to the largest."""
        sizes = self.numbers(payload.numel())
        padded = torch.zeros(max(sizes), dtype=torch.uint8)
        padded[: payload.numel()] = payload
        parts = [torch.empty_like(padded) for _ in range(self._world_size)]
        self._dist.all_gather(parts, padded, group=self._group)
        return [part[:size] for part, size in zip(parts, sizes, strict=True)]

    def numbers(self, value: int) -> list[int]:
        """One number of each process."""
        mine = torch.tensor([value], dtype=torch.int64)
        parts = [torch.empty_like(mine) for _ in range(self._world_size)]
        self._dist.all_gather(parts, mine, group=self._group)
        return [int(part) for part in parts]

    def close(self) -> None:
        """Give the group back."""
        self._dist.destroy_process_group(self._group)
