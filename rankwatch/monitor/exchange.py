"""What processes exchange: each its share of the window's rows, with utterance keys; nothing else.

A payload is a flat byte tensor: `torch.save` of plain tensors, numbers and strings. A process that failed
sends its reason instead of rows; it is left out and named, and the others go on.
"""

from __future__ import annotations

import io
from collections import defaultdict
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import torch
from torch import Tensor

from rankwatch.monitor.window import Samples
from rankwatch.numerics import Sample

Gather = Callable[[Tensor], list[Tensor]]
"""All processes' byte tensors, in rank order, from one's own; sizes may differ."""


def pack(samples: Samples, error: str = "") -> Tensor:
    """One process's contribution as a (bytes,) uint8 tensor."""
    buffer = io.BytesIO()
    content = {
        "error": error,
        "samples": [[*key, sample.to_tensors()] for key, sample in samples.items()],
    }
    torch.save(content, buffer)
    return torch.frombuffer(bytearray(buffer.getvalue()), dtype=torch.uint8)


def unpack(payload: Tensor) -> tuple[Samples, str]:
    """The samples and the error of one payload."""
    content = torch.load(io.BytesIO(payload.numpy().tobytes()), weights_only=True)
    samples = {
        (source, level, layer): Sample.from_tensors(tensors) for source, level, layer, tensors in content["samples"]
    }
    return samples, content["error"]


def exchange(samples: Samples, error: str, gather: Gather | None) -> tuple[Samples, list[str], int]:
    """Merge the shares of all processes.

    Args:
        samples: This process's share.
        error: Why it has none, or empty.
        gather: The collective, or None where there is one process.

    Returns:
        The merged samples (rows in canonical order, so that a reading is a pure function of the set of rows),
        sentences about processes that failed, and the bytes this process sent.
    """
    if gather is None:
        shares, sent = [(samples, error)], 0
    else:
        payload = pack(samples, error)
        sent = payload.numel()
        shares = [unpack(part) for part in gather(payload)]
    parts: dict[tuple[str, str, str], list[Sample]] = defaultdict(list)
    for share, _ in shares:
        for key, sample in share.items():
            parts[key].append(sample)
    failed = [f"process {rank}: {reason}" for rank, (_, reason) in enumerate(shares) if reason]
    return {key: Sample.merge(same) for key, same in parts.items()}, failed, sent


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
