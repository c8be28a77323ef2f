"""A representation whitened once and kept in half precision, to be compared with later ones of the same rows."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from rankwatch.numerics.similarity import similarity_result as flags
from rankwatch.numerics.similarity.matched_rows import VARIES, Utterances, centred
from rankwatch.numerics.similarity.resolvents.balanced_whitening import Whitened, out_of_reach, whiten
from rankwatch.numerics.similarity.resolvents.delete_utterances import contributions
from rankwatch.numerics.similarity.resolvents.hat_products import hat_products
from rankwatch.numerics.similarity.resolvents.shared_directions import shared
from rankwatch.numerics.similarity.resolvents.utterance_blocks import blocks_of, own_leverages
from rankwatch.numerics.similarity.similarity_result import interval, jackknife_error, precision


@dataclass(frozen=True)
class PairedSimilarity:
    """How alike two stored representations of the same rows are.

    Attributes:
        value: As `rankwatch.similarity` estimates it: 1 for equal ones. NaN where there is none.
        low: Lower end of the 90 % interval; None where it isn't known.
        high: Upper end, likewise.
        status: What stands against the value, as the flags of `similarity_result`.
    """

    value: float
    low: float | None
    high: float | None
    status: frozenset[str]


@dataclass(frozen=True)
class StoredRepresentation:
    """What a similarity needs of one representation: its whitened rows, and one number or two for each utterance.

    All that is said about it follows from what is stored, so it says the same before and after it was in a file.

    Attributes:
        sizes: (g,) int64 rows of each utterance, ascending.
        rows: (n, k + 1) float16 whitened rows, the constant direction as their last column.
        within: (g,) float64 weight of the deviations within each utterance.
        between: (g,) float64 weight of each utterance's mean direction.
        level: Of `Whitened`.
        df: Of `Whitened`.
        spare: Of `Whitened`.
        between_binds: Of `Whitened`.
        kappa: Of `Whitened`.
        status: What stands against the resolution.
        own: R of the representation with itself; NaN where it can't be solved for.
        own_changes: (g,) float64, how that changes without each utterance.
    """

    sizes: torch.Tensor
    rows: torch.Tensor
    within: torch.Tensor
    between: torch.Tensor
    level: float
    df: float
    spare: float
    between_binds: bool
    kappa: float
    status: frozenset[str]
    own: float
    own_changes: torch.Tensor

    @staticmethod
    def of(
        rows: torch.Tensor, sizes: torch.Tensor, kappa: float = 0.1, rounding: float = 0.0
    ) -> StoredRepresentation | None:
        """Whiten rows and keep what is needed of them.

        Args:
            rows: (n, k) finite rows, those of one utterance next to each other, utterances in ascending order of size.
            sizes: (g,) int64 rows of each utterance.
            kappa: Resolution in units of the mean eigenvalue, positive.
            rounding: Mean variance of a row's rounding, summed over its columns.

        Returns:
            The representation; None where rows are one vector, or where there are fewer than five utterances or
            eight rows. O(n k^2).
        """
        ones = torch.ones(len(rows), dtype=torch.float64, device="cpu")
        utterances = Utterances(sizes, ones, ones)
        middle = centred(rows, utterances)
        variance = float(middle.square().sum())
        if len(sizes) < 5 or len(rows) < 8 or not variance > VARIES * float(rows.double().square().sum()):
            return None
        white = whiten(middle, utterances, kappa)
        status = out_of_reach(white, kappa)
        status |= {flags.ROUNDED} if 4.0 * rounding * len(rows) > kappa * variance else set()
        status |= {flags.TOO_FEW_GROUPS} if len(sizes) < flags.FEW_GROUPS else set()
        numbers = (white.level, white.df, white.spare, white.between_binds, white.kappa)
        half = white.rows.half()
        blank = StoredRepresentation(sizes, half, white.within, white.between, *numbers, frozenset(), math.nan, ones)
        stored = blank.whitened()
        products = hat_products(stored, stored)
        own, changes = shared(stored, stored, products), ones[: len(sizes)]
        if own > 0.0:
            changes = contributions(stored, stored, own, pairs=False, products=products).single
        return StoredRepresentation(sizes, half, white.within, white.between, *numbers, frozenset(status), own, changes)

    def whitened(self) -> Whitened:
        """As `whiten` gave it, but for the rounding of its rows."""
        rows = self.rows.double()
        ones = torch.ones(len(rows), dtype=torch.float64, device="cpu")
        utterances = Utterances(self.sizes, ones, ones)
        unit_rows = utterances.root / utterances.spread(utterances.masses.sqrt())
        hats, inverses = own_leverages(utterances, rows)
        blocks = blocks_of(utterances, unit_rows, hats, inverses, self.within, self.between)
        about = (self.level, self.df, self.spare, self.between_binds, self.kappa)
        return Whitened(utterances, rows, unit_rows, self.within, self.between, blocks, *about)

    def similarity_to(self, other: StoredRepresentation, whitened: Whitened | None = None) -> PairedSimilarity:
        """Similarity to another representation of the same rows, in the same order.

        The interval is the plain jackknife over utterances: interactions of pairs, which `rankwatch.similarity` takes
        off at ten times the cost, are counted twice. That makes it too wide, by up to root 2 where next to nothing is
        shared, and hardly where most is.

        Args:
            other: The other one.
            whitened: What `other.whitened()` gives, where several are compared with it.

        Returns:
            The similarity. O(n k^2).
        """
        x, y = self.whitened(), other.whitened() if whitened is None else whitened
        products = hat_products(x, y)
        r, status = shared(x, y, products), set(self.status | other.status)
        if not (math.isfinite(r) and self.own > 0.0 and other.own > 0.0):
            return PairedSimilarity(math.nan, None, None, frozenset(status | {flags.TOO_FEW_ROWS}))
        norm = self.own if self.own == other.own else math.sqrt(self.own * other.own)
        change = contributions(x, y, r, pairs=False, products=products) * (1.0 / norm)
        single = change.single
        for one in (self, other):
            single = single - (r / (2.0 * norm * one.own)) * one.own_changes
        low, high = interval(r / norm, jackknife_error(single.numpy()), len(single))
        return PairedSimilarity(r / norm, low, high, frozenset(status | precision(low, high)))
