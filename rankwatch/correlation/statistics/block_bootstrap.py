"""Checkpoints drawn anew in blocks, and utterances drawn anew."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]


def block_length(n: int) -> int:
    """Checkpoints in a block: the cube root of their number, rounded up (Künsch 1989; Hall, Horowitz & Jing 1995).

    Args:
        n: Checkpoints.

    Returns:
        The length.

    Example:
        >>> [block_length(n) for n in (8, 20, 40)]
        [2, 3, 4]
    """
    return int(np.ceil(round(n ** (1.0 / 3.0), 9)))


def circular_blocks(n: int, length: int, draws: int, seed: int = 0) -> Integers:
    """Indices of n checkpoints in blocks that begin anywhere and go on at the start (Politis & Romano 1992).

    Args:
        n: Checkpoints.
        length: Of each block.
        draws: How many draws.
        seed: Of the generator.

    Returns:
        (draws, n)
    """
    generator = np.random.default_rng(seed)
    starts = generator.integers(0, n, (draws, -(-n // length)))
    return np.asarray(((starts[:, :, None] + np.arange(length)) % n).reshape(draws, -1)[:, :n])


def stationary_blocks(n: int, length: float, draws: int, seed: int = 0) -> Integers:
    """Indices in blocks of random length, geometric with the mean given (Politis & Romano 1994).

    Args:
        n: Checkpoints.
        length: Mean length of a block.
        draws: How many draws.
        seed: Of the generator.

    Returns:
        (draws, n)
    """
    generator = np.random.default_rng(seed)
    found = generator.integers(0, n, (draws, n))
    begins = generator.random((draws, n)) < 1.0 / length
    for place in range(1, n):
        going_on = (found[:, place - 1] + 1) % n
        found[:, place] = np.where(begins[:, place], found[:, place], going_on)
    return np.asarray(found)


def drawn_utterances(n: int, draws: int, seed: int = 0) -> Floats:
    """How often each utterance is drawn, as weights that sum to one.

    Args:
        n: Utterances.
        draws: How many draws.
        seed: Of the generator.

    Returns:
        (draws, n)
    """
    generator = np.random.default_rng(seed)
    return np.asarray(generator.multinomial(n, np.full(n, 1.0 / n), size=draws) / n)
