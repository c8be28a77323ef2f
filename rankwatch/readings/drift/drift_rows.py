"""The rows that two readings are compared by: in an order that is the same at each of them, and few columns."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from rankwatch.extraction.rows.row_buffer import Rows
from rankwatch.numerics.rows.projection import project
from rankwatch.numerics.similarity.resolvents.stored_representation import StoredRepresentation

MOST_COLUMNS = 48
"""Random columns that stand for a layer: bounded memory, a quarter more of a reading's time at most, and an estimate
that needs fewer utterances."""

UTTERANCES_A_COLUMN, FEWEST_COLUMNS = 4, 8
"""As many utterances as degrees of freedom are the least that a similarity needs; four times as many leave no doubt."""

KAPPA = 0.1
"""Resolution of the similarity, in units of the mean eigenvalue."""


@dataclass(frozen=True)
class DriftRows:
    """Rows of one reading, ready to be compared.

    Attributes:
        rows: (n, k) float32, those of one utterance next to each other in the order in which they were drawn,
            utterances by their number of rows and their keys.
        keys: (g,) int64 utterances.
        sizes: (g,) int64 rows of each, ascending.
        rounding: Mean variance of a row's rounding, summed over its columns.
    """

    rows: torch.Tensor
    keys: torch.Tensor
    sizes: torch.Tensor
    rounding: float

    @staticmethod
    def of(rows: Rows, seed: int) -> DriftRows | None:
        """Order and project the rows of a reading.

        Args:
            rows: As they were drawn: those of one utterance in the order of time, whatever process they come from.
            seed: Seed of the projection, the same at all readings.

        Returns:
            The rows; None where there are none, or one is not finite: the others alone aren't the same rows.
        """
        n, d = rows.rows.shape
        if not n or not d:
            return None
        keys, index, counts = np.unique(rows.groups.numpy(), return_inverse=True, return_counts=True)
        index = index.reshape(-1)
        order = torch.from_numpy(np.lexsort([index, counts[index]]))  # stable: within an utterance as they came
        by_size = np.lexsort([np.arange(len(keys)), counts])
        columns = min(MOST_COLUMNS, max(FEWEST_COLUMNS, len(keys) // UTTERANCES_A_COLUMN))
        # Each column of a projection is of all columns of the layer, so that it shows every NaN and Inf among them.
        chosen = (rows.rows if columns >= d else project(rows.rows, columns, seed))[order]
        if not bool(torch.isfinite(chosen).all()):
            return None
        return DriftRows(
            chosen,
            torch.from_numpy(keys[by_size].astype(np.int64)),
            torch.from_numpy(counts[by_size].astype(np.int64)),
            float(rows.rounding.mean()),
        )

    def stored(self) -> StoredRepresentation | None:
        """Whitened and in half precision; None where the rows are one vector, or far too few."""
        return StoredRepresentation.of(self.rows, self.sizes, KAPPA, self.rounding)
