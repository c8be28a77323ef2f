"""A null distribution: the utterances of one representation shuffled against those of the other."""

from __future__ import annotations

from collections.abc import Callable

import torch

from rankwatch.numerics.similarity.matched_rows import Utterances


def permutation_p_value(
    value: float, measure: Callable[[torch.Tensor], float], utterances: Utterances, permutations: int, seed: int
) -> float:
    """Share of shufflings that give at least the value found, the value itself counted in.

    Whole utterances trade places with others of the same number of rows, so whatever rows of one utterance have in
    common stays: the null says that the two representations know nothing of each other, not that rows are
    independent. Utterances that are alone with their number of rows stay where they are, which can only make the
    p-value larger.

    Args:
        value: What was found.
        measure: The same, with the rows of the second representation in another order.
        utterances: Which rows belong together.
        permutations: How many.
        seed: Seed of the shuffling.

    Returns:
        (1 + how many are as large) / (1 + permutations).
    """
    generator = torch.Generator(device="cpu").manual_seed(seed)
    as_large = sum(measure(shuffled_order(utterances, generator)) >= value for _ in range(permutations))
    return (1 + as_large) / (1 + permutations)


def shuffled_order(utterances: Utterances, generator: torch.Generator) -> torch.Tensor:
    """(n,) positions of rows after utterances of equal size have traded places."""
    places = utterances.stacks(torch.arange(utterances.n, device="cpu"))
    shuffled = [at[torch.randperm(len(at), generator=generator, device="cpu")] for at in places]
    return torch.cat([at.flatten() for at in shuffled])
