"""A key for each utterance of a batch, from the bits of its own samples."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from rankwatch.extraction.inputs.call_arguments import waveform_lists
from rankwatch.extraction.inputs.containers import walk

_MASK63 = (1 << 63) - 1


_AT_ONCE = 1 << 21  # numbers, 8 bytes each


_BITS = {8: torch.int64, 4: torch.int32, 2: torch.int16, 1: torch.int8}


def _signed(value: int) -> int:
    """A 64-bit pattern as the signed integer that torch wants."""
    return value - (1 << 64) if value >= (1 << 63) else value


_GOLDEN = _signed(0x9E3779B97F4A7C15)


_MIX1 = _signed(0xBF58476D1CE4E5B9)


_MIX2 = _signed(0x94D049BB133111EB)


def _shift(x: Tensor, by: int) -> Tensor:
    """Logical right shift of int64 (torch's own is arithmetic)."""
    return (x >> by) & ((1 << (64 - by)) - 1)


def mix64(x: Tensor) -> Tensor:
    """The finaliser of SplitMix64 (Steele, Lea & Flood, OOPSLA 2014), element by element on int64."""
    x = (x ^ _shift(x, 30)) * _MIX1
    x = (x ^ _shift(x, 27)) * _MIX2
    return x ^ _shift(x, 31)


def fingerprint(x: Tensor) -> Tensor:
    """A key for each utterance of a batch, from the bits of its own samples.

    key_b = mix64( sum_tc bits(x_btc) * w_t * v_c  mod 2^64 ), with fixed odd weights per position of each axis. Zeros
    contribute nothing, so zero padding of any length, along any axis, leaves the key alone.

    Args:
        x: (B, T) or (B, T, ...) of any floating or integer dtype, on any device.

    Returns:
        (B,) int64 on the same device, non-negative. Cost: one pass over x, no synchronisation; a bounded number of
        samples at a time, so that a batch of half an hour takes no gigabytes.

    Example:
        >>> a = torch.tensor([[0.5, -1.0]])
        >>> b = torch.tensor([[0.5, -1.0, 0.0, 0.0]])
        >>> bool(fingerprint(a) == fingerprint(b))
        True
    """
    x = x.detach()
    total = torch.zeros(len(x), dtype=torch.int64, device=x.device)
    step = max(1, _AT_ONCE // max(1, x[:, :1].numel()))
    for start in range(0, x.shape[1], step):
        total += _weighted_sum(x[:, start : start + step].contiguous(), start)
    return mix64(total) & _MASK63


def _weighted_sum(x: Tensor, start: int) -> Tensor:
    """`fingerprint`'s sum over the positions of `x`, the first of which is `start`."""
    bits = x
    if bits.is_floating_point():
        bits = (bits + 0.0).view(_BITS[bits.element_size()])  # + 0.0 turns -0.0 into 0.0
    bits = bits.to(torch.int64)
    for axis in range(bits.dim() - 1, 0, -1):
        first = 1 + (start if axis == 1 else 0)
        position = torch.arange(first, first + bits.shape[axis], device=x.device)
        bits = (bits * (mix64(position * _GOLDEN + axis) | 1)).sum(dim=-1)
    return bits


def primary_input(*things: Any) -> Tensor:
    """The tensor that holds the audio: the largest of at least two dimensions, floating ones first.

    Masks of attention, which for long utterances are larger than the audio itself, are passed over: square, and of no
    more than two values.

    Returns:
        The tensor itself, not a copy; of a list of waveforms one padded tensor.

    Raises:
        ValueError: If there is none.
    """
    for thing in things:
        found = [leaf for _, leaf in walk(thing) if isinstance(leaf, Tensor)]
        wide = [tensor for tensor in found if tensor.dim() >= 2 and tensor.numel()]
        # A batch may be a list of waveforms; zeros behind the shorter ones leave their keys alone.
        wide += [pad_sequence(waves, batch_first=True) for _, waves in waveform_lists(thing)]
        audio = [tensor for tensor in wide if tensor.is_floating_point()] or [t for t in wide if t.dtype == torch.int16]
        audio = [tensor for tensor in audio if not _is_attention_mask(tensor)] or audio
        if audio:
            return max(audio, key=Tensor.numel)
    raise ValueError("no tensor of two or more dimensions holds audio or features: where are they?")


def _is_attention_mask(tensor: Tensor) -> bool:
    if tensor.is_nested or tensor.shape[-1] != tensor.shape[-2]:
        return False
    return bool(((tensor == tensor.max()) | (tensor == tensor.min())).all())


def utterance_keys(call: Any, batch: Any) -> Tensor:
    """One key for each utterance, from what the backbone was called with.

    Some backbones are called with time first, (T, B, C); the loader's batch tells how many utterances there are.

    Returns:
        (B,) int64 keys on the CPU.
    """
    audio = primary_input(call, batch)
    try:
        size = primary_input(batch).shape[0]
    except ValueError:
        return fingerprint(audio)
    if audio.shape[0] != size and audio.dim() == 3 and audio.shape[1] == size:
        audio = audio.transpose(0, 1)
    return fingerprint(audio)
