"""The products of two representations' hat matrices, of which both R and its interval are made."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from rankwatch.numerics.similarity.resolvents.balanced_whitening import Whitened


@dataclass(frozen=True)
class HatProducts:
    """What U_y U_y^T and U_x U_x^T say of each other, utterance by utterance.

    Attributes:
        to_y: (n, p + 1) U_y U_y^T U_x.
        to_x: (n, q + 1) U_x U_x^T U_y.
        whole: Blocks (count, m, m), for each size of utterance, of U_y U_y^T U_x U_x^T.
        means: The same with the utterances' mean directions alone in the middle, weighted by A^(1/2) of both.
        rest: The same with the deviations in the middle.
    """

    to_y: torch.Tensor
    to_x: torch.Tensor
    whole: list[torch.Tensor]
    means: list[torch.Tensor]
    rest: list[torch.Tensor]


def hat_products(x: Whitened, y: Whitened) -> HatProducts:
    """Multiply them.

    Args:
        x: Whitened rows of one.
        y: Of the other; of the same rows in the same order.

    Returns:
        The products, each of O(n p q). Of such products it takes two where `x` is `y` and three otherwise where
        utterances are single rows, one more where they are of several rows, and three more where these are of unequal
        numbers.
    """
    utterances, unit = x.utterances, x.unit_rows[:, None]
    cross = y.rows.T @ x.rows
    to_y = y.rows @ cross
    to_x = to_y if x is y else x.rows @ cross.T
    stacks = utterances.stacks(x.rows)
    whole = [c @ u.mT for c, u in zip(utterances.stacks(to_y), stacks, strict=True)]
    between, within = (x.between * y.between).sqrt(), (x.within * y.within).sqrt()
    equal = bool((between == between[0]).all()) and bool((within == within[0]).all())

    def through(middle: torch.Tensor) -> list[torch.Tensor]:
        return [c @ u.mT for c, u in zip(utterances.stacks(y.rows @ middle), stacks, strict=True)]

    if len(utterances.sizes) == utterances.n:  # single rows are their own means
        means = [between[0] * one for one in whole] if equal else through(y.rows.T @ (between[:, None] * x.rows))
        return HatProducts(to_y, to_x, whole, means, [torch.zeros_like(one) for one in whole])
    mean_x = utterances.sums(unit * x.rows)
    mean_y = mean_x if x is y else utterances.sums(unit * y.rows)
    if equal:
        by_means = through(mean_y.T @ mean_x)
        means = [between[0] * one for one in by_means]
        rest = [within[0] * (all_ - one) for all_, one in zip(whole, by_means, strict=True)]
        return HatProducts(to_y, to_x, whole, means, rest)
    means = through(mean_y.T @ (between[:, None] * mean_x))
    weighted = y.rows.T @ (utterances.spread(within)[:, None] * x.rows)
    return HatProducts(to_y, to_x, whole, means, through(weighted - mean_y.T @ (within[:, None] * mean_x)))
