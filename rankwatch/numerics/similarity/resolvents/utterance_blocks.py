"""The small matrices that belong to each utterance alone: its own leverage, and what leaving it out needs."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from rankwatch.numerics.similarity.matched_rows import Utterances


@dataclass(frozen=True)
class Block:
    """Matrices of all utterances of one size m, stacked (count, m, m).

    Attributes:
        mean: Projector on the mean direction.
        hat: H_g, the utterance's block of U U^T.
        inverse: (I - H_g)^-1.
        inner: A^(1/2) (I - H_g) A^(1/2), which is L_g.
        outside: T_g, the leverage of its rows on the others.
        left: A^(-1/2) (I - H_g)^-1: turns rows of U into rows whitened by the other utterances.
    """

    mean: torch.Tensor
    hat: torch.Tensor
    inverse: torch.Tensor
    inner: torch.Tensor
    outside: torch.Tensor
    left: torch.Tensor


def own_leverages(utterances: Utterances, white: torch.Tensor) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    """(count, m, m) blocks H_g of U U^T for each size of utterance, and (I - H_g)^-1."""
    hats = [u @ u.mT for u in utterances.stacks(white)]
    return hats, [torch.linalg.inv(torch.eye(h.shape[1], dtype=h.dtype, device="cpu") - h) for h in hats]


def blocks_of(
    utterances: Utterances,
    unit_rows: torch.Tensor,
    hats: list[torch.Tensor],
    inverses: list[torch.Tensor],
    within: torch.Tensor,
    between: torch.Tensor,
) -> list[Block]:
    """What belongs to each utterance.

    Args:
        utterances: Which rows belong together.
        unit_rows: (n,) mean direction of each utterance, of length one.
        hats: (count, m, m) blocks of U U^T, for each size of utterance.
        inverses: (count, m, m) each, of the identity minus these.
        within: (g,) weights of the deviations.
        between: (g,) weights of the mean directions.

    Returns:
        Blocks for each size of utterance.
    """
    found, start = [], 0
    for hat, inverse, unit in zip(hats, inverses, utterances.stacks(unit_rows), strict=True):
        part = slice(start, start + len(hat))
        start += len(hat)
        a, b = within[part, None, None].sqrt(), between[part, None, None].sqrt()
        mean = unit[:, :, None] * unit[:, None, :]
        one = torch.eye(hat.shape[1], dtype=hat.dtype, device="cpu")
        root, back = a * one + (b - a) * mean, one / a + (1.0 / b - 1.0 / a) * mean
        inner, outside = root @ (one - hat) @ root, back @ (inverse - one) @ back
        found.append(Block(mean, hat, inverse, inner, outside, back @ inverse))
    return found
