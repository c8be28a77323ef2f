"""Which candidate a rule takes, and what the check of it is."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


def chosen_place(measure: npt.ArrayLike, direction: int) -> int:
    """Where a measure is best; the earliest of several that are alike.

    Args:
        measure: (n,) without NaN.
        direction: 1 where more is better, -1 where less is.

    Returns:
        The place.

    Example:
        >>> chosen_place([3.0, 9.0, 9.0], 1), chosen_place([3.0, 9.0, 9.0], -1)
        (1, 0)
    """
    return int(np.argmax(direction * np.asarray(measure, np.float64)))


def gained(quality: npt.ArrayLike, errors: npt.ArrayLike = ()) -> float:
    """What a check has gained from the first candidate to the best one.

    Args:
        quality: (n,) values of which more is better.
        errors: (n,) their standard errors, if they are known.

    Returns:
        The gain; NaN where it is no more than twice its own standard error, or nothing.
    """
    values, error = np.asarray(quality, np.float64), np.asarray(errors, np.float64)
    best = int(np.argmax(values))
    gain = float(values[best] - values[0])
    uncertain = 2.0 * float(np.hypot(error[best], error[0])) if error.size == values.size else 0.0
    return gain if gain > max(uncertain, 0.0) else float("nan")


def lost_over_utterances(rows: Floats, weights: Floats, place: int | None, other: int | None) -> Floats:
    """What a choice loses against another one when the check is made on other utterances.

    Args:
        rows: (n, u) the check of each candidate and utterance, of which more is better.
        weights: (draws, u) how often each utterance is drawn: see `drawn_utterances`.
        place: The candidate that was chosen; None for one at random.
        other: The other choice, likewise; -1 for the one that is best on all utterances.

    Returns:
        (draws,) losses.
    """
    values = weights @ rows.T
    best = int(rows.mean(axis=1).argmax())
    here = values.mean(axis=1) if place is None else values[:, place]
    there = values.mean(axis=1) if other is None else values[:, best if other == -1 else other]
    return np.asarray(there - here)
