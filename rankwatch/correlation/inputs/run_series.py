"""What is correlated: the measures and the labelled checks of one run as series over steps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

LOSS = "loss"
PROBE = "probe_accuracy"

_TELLING = 3
"""Steps at which numbers of two runs aren't equal by chance."""

_BETTER_WHEN_LOW = frozenset(
    {"mean_energy_fraction", "top1_explained_variance", "dead_dimension_fraction", "non_finite_fraction", LOSS}
)
_BETTER_WHEN_HIGH = frozenset(
    {
        "effective_rank",
        "rankme",
        "participation_ratio",
        "stable_rank",
        "dimensions_above_threshold",
        "std_normalised",
        "codebook_perplexity",
    }
)


@dataclass(frozen=True)
class Series:
    """One number over a run's checkpoints.

    Attributes:
        name: Of the measure (``"effective_rank"``, ``"loss"``) or of the check (``"probe_accuracy"``, ``"wer"``).
        source: The evaluation set; empty where there is none.
        level: ``"frame"`` or ``"utterance"``; empty where it doesn't apply.
        layer: The layer's label (``"L04"``); empty for what a whole model has.
        steps: (n,) ascending.
        values: (n,)
        direction: 1 where more is better, -1 where less is, 0 where that isn't said beforehand.
        errors: (n,) standard errors of the values, from the number of labelled rows; empty where they aren't known.
        floor: What knowing nothing would give (the most frequent label); NaN where that isn't known.
        rows: (n, u) the values of each utterance, of which `values` are the means; None where they aren't there.
    """

    name: str
    source: str
    level: str
    layer: str
    steps: Integers
    values: Floats
    direction: int = 1
    errors: Floats = field(default_factory=lambda: np.empty(0))
    floor: float = np.nan
    rows: Floats | None = None

    @property
    def key(self) -> tuple[str, str, str, str]:
        """What it is, in any run: (name, source, level, layer)."""
        return self.name, self.source, self.level, self.layer

    def at(self, steps: npt.ArrayLike, tolerance: float = 0.0) -> Floats:
        """Values at some steps, or at the nearest step that isn't further away than a tolerance.

        Args:
            steps: (m,)
            tolerance: In steps.

        Returns:
            (m,); NaN where there is none.
        """
        places = nearest(self.steps, steps, tolerance)
        return np.where(places >= 0, self.values[places], np.nan) if self.steps.size else np.full(len(places), np.nan)


def nearest(steps: npt.ArrayLike, wanted: npt.ArrayLike, tolerance: float = 0.0) -> Integers:
    """Where the steps nearest to some others are.

    Args:
        steps: (n,) ascending.
        wanted: (m,)
        tolerance: How far a step may be away.

    Returns:
        (m,) places; -1 where none is near enough.

    Example:
        >>> nearest([0, 100, 200], [0, 98, 150], tolerance=5).tolist()
        [0, 1, -1]
    """
    there, asked = np.asarray(steps, np.int64), np.asarray(wanted, np.int64)
    if not there.size:
        return np.full(asked.shape, -1, np.int64)
    after = np.clip(np.searchsorted(there, asked), 0, len(there) - 1)
    before = np.maximum(after - 1, 0)
    places = np.where(np.abs(there[before] - asked) <= np.abs(there[after] - asked), before, after)
    return np.where(np.abs(there[places] - asked) <= tolerance, places, -1)


@dataclass(frozen=True)
class RunSeries:
    """All series of one run.

    Attributes:
        name: What the run is called.
        measures: Label-free series, the loss among them.
        checks: Labelled series.
        layers: Labels of the layers, from the front end to the last.
        primary: Name of the set whose numbers come first.
        protocols: Id of the conditions by (source, level, layer).
        paths: The layers' labels by their paths in the model.
        notes: What was left out or should be known, in sentences.
    """

    name: str
    measures: Sequence[Series]
    checks: Sequence[Series]
    layers: Sequence[str]
    primary: str = ""
    protocols: Mapping[tuple[str, str, str], str] = field(default_factory=dict)
    paths: Mapping[str, str] = field(default_factory=dict)
    notes: Sequence[str] = ()


def direction_of(measure: str) -> int:
    """Which value of a label-free measure counts as the better one, by what it was made for.

    Args:
        measure: Its name.

    Returns:
        1 for more, -1 for less, 0 where nothing is said (nothing is chosen by such a measure).

    Example:
        >>> [direction_of(name) for name in ("effective_rank", "loss", "drift_previous")]
        [1, -1, 0]
    """
    return -1 if measure in _BETTER_WHEN_LOW else int(measure in _BETTER_WHEN_HIGH)


def same_numbers(one: RunSeries, other: RunSeries) -> bool:
    """Whether two runs are one: a copy, or a run and its replay, which have the same numbers to the last digit.

    Args:
        one: A run.
        other: Another one.

    Returns:
        True where all effective ranks that both have are equal, at three steps or more at which they aren't all alike.
    """
    theirs = {series.key: series for series in other.measures if series.name == "effective_rank"}
    shared = [(series, theirs[series.key]) for series in one.measures if series.key in theirs]
    told = False
    for mine, its in shared:
        _, i, j = np.intersect1d(mine.steps, its.steps, return_indices=True)
        if not np.array_equal(mine.values[i], its.values[j]):
            return False
        told = told or (len(i) >= _TELLING and bool(np.ptp(mine.values[i]) > 0.0))
    return told


def thinned(steps: Sequence[int], most: int) -> list[int]:
    """At most so many of the steps, evenly, the last among them.

    Args:
        steps: Ascending.
        most: How many.

    Returns:
        Steps.

    Example:
        >>> thinned(range(10), 4)
        [0, 3, 6, 9]
    """
    if len(steps) <= most:
        return list(steps)
    places = np.linspace(0, len(steps) - 1, most).round().astype(int)
    return [steps[int(place)] for place in places]
