r"""Rows whitened at a resolution of the *population*, with what belongs to utterances balanced against the rest.

Of m rows of an utterance their mean direction and the m - 1 deviations from it are two populations of their own
covariances. A sample of n rows holds fewer of the former, and its ridge inverse overfits them more. With weights A_g
inside of each utterance, :math:`\tilde S = \frac1n \sum_g X_g^T A_g X_g` and :math:`Q = (\tilde S + t)^{-1}`, leaving
one utterance out (Woodbury) gives :math:`Q X_g^T A_g X_g = Q_{-g} X_g^T (A_g^{-1} + T_g)^{-1} X_g` with
:math:`T_g = X_g Q_{-g} X_g^T / n`, so the sample's Q stands for the population's

.. math:: \Bigl(\frac1n \sum_g \mathbb{E} X_g^T L_g X_g + t\Bigr)^{-1}, \qquad L_g = (A_g^{-1} + T_g)^{-1}

(deterministic equivalent: Silverstein & Bai 1995, here for dependent rows). Choosing :math:`A_g^{-1} = I - T_g` makes
that :math:`(\Sigma + t)^{-1}` itself: the population's covariance at the resolution t, whatever directions belong to
utterances. A_g takes two values, for the mean direction and for deviations from it; both are found by iteration.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import torch

from rankwatch.numerics.similarity.matched_rows import Utterances
from rankwatch.numerics.similarity.resolvents.row_populations import Leverage, Pieces, leverage
from rankwatch.numerics.similarity.resolvents.utterance_blocks import Block, blocks_of, own_leverages
from rankwatch.numerics.similarity.similarity_result import DEPENDENT_ROWS, TOO_FEW_ROWS

ROUNDS = 6
"""Most factorisations for one layer."""

DRAFTS, STEP, FEWEST = 2, 4, 96
"""Factorisations at which every fourth utterance alone is looked at, where that leaves so many."""

SETTLED = 0.02
"""How far the two populations and the resolution may be off, relatively, when the iteration ends."""

LEAST = 0.15
"""Smallest 1 / A: what is left of a row after its own leverage. Below, the two populations stay unbalanced."""

PAIRED = 768
"""Rows whose utterances are paired with all others (`Whitened.paired`)."""

NOTHING = 1e-10
"""Ridge, in units of the mean eigenvalue, that stands for none."""

SPARE, REACHED = 0.2, 1.05
"""Where less than this is left of a row after its own leverage, or the resolution is coarser than asked by more than
this factor, it is out of reach."""


UNEVEN = 0.6
"""Coefficient of variation of the utterances' leverage above which they are uneven: below 0.54 on layers of a trained
encoder and on samples where the estimate was right, above 0.73 where single utterances have directions of their own."""


@dataclass(frozen=True)
class Whitened:
    """Whitened rows of one representation, and what its utterances left out say.

    Attributes:
        utterances: Which rows belong together.
        rows: (n, r) U with U U^T = A^(1/2) X Q X^T A^(1/2) / n, the constant direction as its last column.
        unit_rows: (n,) mean direction of each utterance, of length one.
        within: (g,) weight A of the deviations within each utterance.
        between: (g,) weight A of each utterance's mean direction.
        blocks: What belongs to each utterance, for each size of utterance.
        level: What L_g is on the average, 1 where both populations are balanced; the resolution is the ridge over it.
        df: Degrees of freedom of the population at this resolution.
        spare: Smaller 1 / A of the two populations: 1 for infinitely many rows, 0 at the limit.
        between_binds: Whether that is the mean directions'.
        kappa: Resolution in units of the mean eigenvalue.
    """

    utterances: Utterances
    rows: torch.Tensor
    unit_rows: torch.Tensor
    within: torch.Tensor
    between: torch.Tensor
    blocks: list[Block]
    level: float
    df: float
    spare: float
    between_binds: bool
    kappa: float

    @cached_property
    def paired(self) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Some utterances (s,), the utterance of each of their rows (r,), and these rows (r, n) of U U^T."""
        utterances = self.utterances
        chosen = torch.arange(0, len(utterances.sizes), -(-utterances.n // PAIRED), device="cpu")
        of_row = torch.arange(len(utterances.sizes), device="cpu").repeat_interleave(utterances.sizes)
        rows = torch.nonzero(torch.isin(of_row, chosen))[:, 0]
        return chosen, of_row[rows], self.rows[rows] @ self.rows.T

    @property
    def n_eff(self) -> float:
        """Independent rows that would leave as much of themselves to spare."""
        return (
            min(self.df / (1.0 - self.spare), float(self.utterances.n))
            if self.spare < 1.0
            else float(self.utterances.n)
        )


def whiten(rows: torch.Tensor, utterances: Utterances, kappa: float) -> Whitened:
    """Whiten rows at a resolution of the population.

    Args:
        rows: (n, p) float64, centred.
        utterances: Which belong together.
        kappa: Resolution in units of the mean eigenvalue; 0 for none.

    Returns:
        The rows. Its `kappa` is larger where the rows don't reach the resolution. O(n p^2), about three times.
    """
    pieces = Pieces(rows, utterances)
    asked = max(kappa, NOTHING) * pieces.mean_eigenvalue
    within = between = torch.ones(len(utterances.sizes), dtype=torch.float64, device="cpu")
    ridge = asked
    some, whole = pieces.some(min(STEP, max(1, len(utterances.sizes) // FEWEST))), pieces.some(1)
    for round_ in range(ROUNDS):
        part = some if round_ < DRAFTS else whole
        white = pieces.whitened(within, between, ridge, None if part is whole else part.rows)
        hats, inverses = own_leverages(part.utterances, white)
        found = leverage(pieces, hats, inverses, within, between, part)
        reached = ridge / found.level()
        settled = abs(reached / asked - 1.0) < SETTLED and abs(found.balance() - 1.0) < SETTLED
        if part is whole and (settled or round_ == ROUNDS - 1):
            break
        if not settled:
            size = len(utterances.sizes) / len(part.chosen)
            within, between, ridge = balanced(pieces, found, within, between, reached, asked, size)
    shares = float((1.0 / between).mean()), float((1.0 / within).mean())
    binds = shares[0] <= shares[1] or len(utterances.sizes) == utterances.n
    return Whitened(
        utterances,
        white,
        pieces.unit_rows,
        within,
        between,
        blocks_of(utterances, pieces.unit_rows, hats, inverses, within, between),
        found.level(),
        sum(found.own),
        shares[0] if binds else shares[1],
        binds,
        reached / pieces.mean_eigenvalue,
    )


def out_of_reach(white: Whitened, kappa: float) -> set[str]:
    """The flag that says why the resolution `kappa` isn't reached, or hardly; empty where it is."""
    if white.spare >= SPARE and white.kappa <= REACHED * max(kappa, NOTHING):
        return set()
    return {
        DEPENDENT_ROWS if white.between_binds and len(white.utterances.sizes) < white.utterances.n else TOO_FEW_ROWS
    }


def is_uneven(white: Whitened) -> bool:
    """Whether utterances differ so much in leverage that the correction, made for their mean, isn't for all of them.

    The leverage of mean directions on the other utterances is divided by what their number of rows lets expect, so
    that sizes say nothing. Of df directions of like variance its coefficient of variation is sqrt(2 / df); a common
    scale of each row, as of a t distribution with five degrees of freedom, makes 0.4 of it.

    Args:
        white: Whitened rows.

    Returns:
        Whether it exceeds `UNEVEN`, and what so few directions would have.
    """
    found = torch.cat([(block.mean * block.outside).sum(dim=(1, 2)) for block in white.blocks])
    expected = 1.0 - 1.0 / white.between
    found = found / (expected if float(expected.min()) > 0.0 else white.utterances.masses)
    mean = float(found.mean())
    if not mean > 0.0:
        return False
    return float(found.var()) / mean**2 > UNEVEN**2 + 6.0 / max(white.df, 1.0)


def balanced(
    pieces: Pieces,
    found: Leverage,
    within: torch.Tensor,
    between: torch.Tensor,
    reached: float,
    asked: float,
    size: float,
) -> tuple[torch.Tensor, torch.Tensor, float]:
    """Weights and ridge that would balance both populations at the asked resolution.

    Args:
        pieces: The rows.
        found: Their leverage at the present weights.
        within: (g,) present weights of deviations.
        between: (g,) present weights of mean directions.
        reached: The present resolution.
        asked: The one that is wanted.
        size: All utterances over those whose leverage this is.

    Returns:
        New weights of deviations and of mean directions, and the ridge.
    """
    sizes, evenly, masses = pieces.utterances.sizes.double(), pieces.evenly, pieces.masses
    n, g = pieces.utterances.n, len(sizes)
    first, second = found.shrinkage()
    # L = 1 / (1 / A + T): what T is of each population, and would be with L = 1 at the asked resolution.
    scale = found.level() * (reached / asked) ** (1.0 - min(size * sum(found.own) / pieces.rows.shape[1], 1.0))
    of_means = 0.0 if math.isnan(first) else scale * (1.0 / first - float((1.0 / between).mean()))
    of_rest = 0.0 if math.isnan(second) else scale * (1.0 / second - float((1.0 / within).mean()))
    of_rest = of_rest if n > g else of_means
    # T_g = (alpha + beta J) in units of the rows' weight.
    alpha = of_rest / float(evenly.mean())
    beta = (of_means - of_rest) / float(masses.mean()) if n > g else 0.0
    within = 1.0 / (1.0 - evenly * alpha).clamp(min=LEAST, max=1.0)
    between = 1.0 / (1.0 - evenly * (alpha + sizes * beta)).clamp(min=LEAST, max=1.0)
    if of_means < 1.0 - LEAST and of_rest < 1.0 - LEAST:
        return within, between, asked
    kept = float((1.0 / between).mean()), float((1.0 / within).mean())
    parts, level = (g * of_means, (n - g) * of_rest), 1.0
    for _ in range(100):
        left = 1.0 / (kept[0] + of_means / level), 1.0 / (kept[1] + of_rest / level)
        level = max((parts[0] * left[0] + parts[1] * left[1]) / sum(parts), 1e-3)
    return within, between, asked * level
