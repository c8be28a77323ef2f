"""The difference of two similarities that were measured on the same utterances, which is known better than either."""

from __future__ import annotations

import math

from rankwatch.numerics.similarity.similarity_result import FEW_GROUPS, QUANTILE, Similarity, jackknife_error


def similarity_difference(one: Similarity, other: Similarity) -> tuple[float, float | None, float | None]:
    r"""How much larger one similarity is than another of the same utterances, with its 90 % interval.

    .. math:: \delta = s_1 - s_2, \qquad \widehat{\mathrm{var}}(\delta) = \tfrac{g - 1}{g} \sum_i
              (d_i - \bar d)^2, \quad d_i = (s_{1,-i} - s_1) - (s_{2,-i} - s_2)

    the jackknife over the g utterances (Efron & Stein 1981). What both have in common, such as utterances that are
    easy in every layer, cancels, so that the interval is far narrower than the two intervals apart: of two layers'
    values to the same labels, say. It errs to the wide side, as the jackknife does where utterances interact.

    Args:
        one: From `cca_squared`, `similarity`, `explained` or `probe_r2`, with `groups`.
        other: From the same function, with the same groups.

    Returns:
        The difference, and the ends of its interval; None for the ends where there are fewer than 16 utterances, or
        where either was measured without groups.

    Raises:
        ValueError: If the two were measured on different utterances.

    Example:
        >>> import torch
        >>> from rankwatch.metrics import cca_squared
        >>> z = torch.randn(600, 12, generator=torch.Generator().manual_seed(0))
        >>> groups = torch.arange(600) // 4
        >>> wide, narrow = (cca_squared(z[:, :k], z[:, 6:], groups=groups) for k in (10, 8))
        >>> value, low, high = similarity_difference(wide, narrow)
        >>> low > 0.0
        True
    """
    if one.without.keys() != other.without.keys():
        raise ValueError(
            f"a paired difference needs the same utterances in both; one has {len(one.without)}, the other "
            f"{len(other.without)}, and their names differ"
        )
    value = one.value - other.value
    count = len(one.without)
    if count < FEW_GROUPS or not math.isfinite(value):
        return value, None, None
    error = jackknife_error([one.without[name] - other.without[name] for name in one.without])
    return value, value - QUANTILE * error, value + QUANTILE * error
