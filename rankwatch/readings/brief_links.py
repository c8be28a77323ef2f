"""How brief readings join full ones in one curve: each curve's rank is scaled by what its last full reading said."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

from rankwatch.numerics import RankEstimate
from rankwatch.readings.reading import Key, Reading


@dataclass(frozen=True)
class BriefLink:
    """What a full reading said of one curve, beside what its first utterances alone said.

    Attributes:
        ratio: Effective rank of the full reading over that of the rows that a brief reading would have had.
        half_width: Half of the full reading's 90 % interval of ln(effective rank); NaN where it had none.
    """

    ratio: float
    half_width: float


class BriefLinks:
    r"""Multiplies the rank of a brief reading by the ratio that the last full one has shown.

    .. math:: r = r_{\text{brief}}(t) \cdot \frac{r_{\text{full}}(t_0)}{r_{\text{brief}}(t_0)}

    with the last full reading :math:`t_0`: a ratio estimator over two phases of sampling (Cochran, "Sampling
    Techniques", 1977, section 12.9). Both of its ranks are of the same utterances' frames as before, so what the first
    utterances lack of the others is in both, and cancels as long as it changes slowly. Half widths of ln r add in
    quadrature.
    """

    def __init__(self) -> None:
        self._links: dict[Key, BriefLink] = {}

    def learn(self, full: Reading, brief: RankEstimate) -> None:
        """Take in a full reading.

        Args:
            full: The reading.
            brief: The estimate from those of its rows that a brief reading would have had. Where either is no number
                the curve's former ratio stays.
        """
        if full.ok and full.effective_rank > 0.0 and math.isfinite(brief.value) and brief.value > 0.0:
            self._links[full.key] = BriefLink(full.effective_rank / brief.value, _half_width(full))

    def apply(self, brief: Reading) -> Reading:
        """A brief reading on the scale of full ones.

        Args:
            brief: As it was measured.

        Returns:
            The reading with its rank and interval multiplied by `Reading.link`; as it was where no full one is known.
        """
        link = self._links.get(brief.key)
        if link is None or not brief.ok:
            return replace(brief, brief=True)
        own = _half_width(brief)
        value = brief.effective_rank * link.ratio
        width = math.exp(math.hypot(own, link.half_width))
        known = math.isfinite(width)
        return replace(
            brief,
            effective_rank=value,
            effective_rank_low=value / width if known else None,
            effective_rank_high=value * width if known else None,
            brief=True,
            link=link.ratio,
        )

    def state_dict(self) -> list[Any]:
        """Plain lists, numbers and strings."""
        return [[list(key), link.ratio, link.half_width] for key, link in self._links.items()]

    def load_state_dict(self, state: list[Any]) -> None:
        """Go on from what `state_dict` gave."""
        self._links = {(key[0], key[1], key[2]): BriefLink(ratio, half) for key, ratio, half in state}


def _half_width(reading: Reading) -> float:
    low, high = reading.effective_rank_low, reading.effective_rank_high
    if low is None or high is None or not 0.0 < low <= high:
        return math.nan
    return 0.5 * math.log(high / low)
