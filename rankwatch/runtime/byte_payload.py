"""Plain values and tensors as one flat uint8 tensor, for collectives and back."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor


def pack(content: Any, tensors: Sequence[Tensor] = ()) -> Tensor:
    """Plain values and tensors as (bytes,) uint8: eight bytes for the header's size, the header as JSON, the numbers.

    JSON takes floats there and back to the last bit, NaN and infinities too. The header is some thirty bytes a tensor,
    where `torch.save` takes some hundreds: with a thousand processes these would be most of what is sent.

    Returns:
        (bytes,) uint8 on the CPU, which `unpack` reads.
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
