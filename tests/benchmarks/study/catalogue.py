"""Which models the study trains, and at which steps their checkpoints are taken."""

from __future__ import annotations

from dataclasses import dataclass

METHODS = ("hubert", "data2vec", "bestrq", "wav2vec2", "vicreg", "hubert2")
"""In the order in which they are trained; the second iteration of HuBERT needs the first one."""

SEEDS = (0, 1, 2)
STEPS = 2000
CHECKPOINTS = (0, 25, 50, 100, 150, 200, 250, 300, 400, 500, 600, 700, 850, 1000, 1150, 1300, 1450, 1600, 1800, STEPS)
"""Optimiser steps of the twenty checkpoints: dense at first, where representations change most."""

BATCH, CROP_SECONDS, WIDTH = 8, 1.0, 96
RATE, WARM_UP = 1e-3, 0.1
UNITS_OF_SECOND = 100
"""Clusters of the second iteration's targets; the first has 64 of MFCCs."""
TARGET_BLOCK = 3
"""The block of the first iteration whose outputs are clustered, counted from 0: the fourth of five."""


@dataclass(frozen=True)
class Run:
    """One model.

    Attributes:
        method: One of `METHODS`.
        seed: Of everything: weights, batches, masks.
    """

    method: str
    seed: int

    @property
    def name(self) -> str:
        """What its files are called."""
        return f"{self.method}-{self.seed}"


def catalogue() -> list[Run]:
    """All runs, one seed of every method before the next seed: whatever has been made so far is balanced."""
    return [Run(method, seed) for seed in SEEDS for method in METHODS]
