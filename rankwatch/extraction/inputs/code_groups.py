"""Codes of several groups in what a quantizer returns: on whatever axis, or in a tensor for each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

INTEGERS = (torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64)
"""Types of tensors that may hold codes."""

MOST_GROUPS = 32
"""Groups that a frame's codes may have; a longer axis is another one."""


def joined_groups(output: Any, given: Sequence[Tensor]) -> Any:
    """Groups as one tensor where each has one of its own.

    Args:
        output: What a module returned.
        given: What it was called with, which stays as it is where it is returned.

    Returns:
        The output with one tensor in place of each list of tensors of one shape, and in place of each tuple of such
        integers; of other numbers a tuple may have vectors and their residuals.
    """
    if isinstance(output, Mapping):
        return {name: joined_groups(value, given) for name, value in output.items()}
    if type(output) not in (list, tuple):
        return output
    tensors = [one for one in output if isinstance(one, Tensor)]
    alike = len({(one.shape, one.dtype) for one in tensors}) == 1 and 1 < len(tensors) == len(output)
    if alike and tensors[0].ndim > 1 and not any(one is other for one in tensors for other in given):
        if tensors[0].dtype in INTEGERS:
            return torch.stack(tensors, dim=-1)
        if isinstance(output, list):
            return torch.stack(tensors, dim=-2)
    return [joined_groups(one, given) for one in output]


class UnknownLayoutError(ValueError):
    """There are as many groups as utterances, and no batch of another size has shown which axis is which."""


@dataclass
class GroupLayout:
    """How one quantizer lays out its codes, as far as its calls have shown it.

    Attributes:
        groups_first: Whether it gives (groups, B, T) rather than (B, groups, T); None as long as neither was seen.
    """

    groups_first: bool | None = None


def codes_by_frame(codes: Tensor, x: Tensor, layout: GroupLayout) -> Tensor | None:
    """The codes of each frame of an input.

    Args:
        codes: Integers.
        x: The input, (B, T, C), (B, C, T), (B, H, W, C), (B, C, H, W) or (N, C).
        layout: What earlier calls of the same quantizer have shown; a call that shows it is remembered there.

    Returns:
        (m, groups), where the axis of the groups was the last one, or else the one before the frames, or the first of
        all; None where these integers are none of its frames'. UnknownLayoutError is raised where groups and
        utterances can't be told apart.
    """
    if codes.ndim == 1:
        return codes.reshape(-1, 1) if len(codes) in (x.shape[:-1].numel(), x.numel() // x.shape[1]) else None
    if x.ndim == 2:
        if codes.ndim != 2:
            return None
        codes = codes.T if len(codes) != len(x) and codes.shape[1] == len(x) else codes
        return codes if codes.shape[1] <= MOST_GROUPS else None
    if codes.shape in (x.shape[:-1], x.shape[:1] + x.shape[2:]) or (codes.ndim == 2 and len(codes) == len(x)):
        return codes.reshape(-1, 1)
    if codes.ndim != 3:
        return None
    by_axes = _with_groups_last(codes, len(x), x.shape[1:], layout)
    if by_axes is None or by_axes.shape[2] > MOST_GROUPS:
        return None
    return by_axes.reshape(-1, by_axes.shape[2])


def _with_groups_last(codes: Tensor, batch: int, frames: Sequence[int], layout: GroupLayout) -> Tensor | None:
    if codes.shape[2] in frames and codes.shape[1] not in frames and batch in codes.shape[:2]:
        if len(codes) == codes.shape[1] > 1:
            if layout.groups_first is None:
                raise UnknownLayoutError(f"its codes are of {batch} groups in batches of {batch} utterances")
        else:
            layout.groups_first = len(codes) != batch
        return codes.movedim(0, 2) if layout.groups_first else codes.transpose(1, 2)
    if len(codes) == batch:
        return codes
    return codes.movedim(0, 2) if codes.shape[1] == batch and codes.shape[2] in frames else None
