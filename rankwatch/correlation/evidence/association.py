"""One correlation of one measure with one check, as plain data."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import Any, Final

from rankwatch.correlation.inputs.run_series import Series

OVER_TIME: Final = "over_time"
"""Over the checkpoints of each run, as they are: both may only change with training."""

BEYOND_STEP: Final = "beyond_step"
"""Of changes between checkpoints, beyond what the step explains."""

ACROSS_LAYERS: Final = "across_layers"
"""Over the layers of a run, at its last checkpoint."""

ACROSS_RUNS: Final = "across_runs"
"""Over runs (over the means of groups, where runs are grouped), at their last checkpoints or at one step."""

WITHIN_GROUPS: Final = "within_groups"
"""Over the runs of each group, for example seeds of one method: their differences from the group's mean."""

CONSTANT: Final = "constant"
TOO_FEW_CHECKPOINTS: Final = "too_few_checkpoints"
TOO_FEW_LAYERS: Final = "too_few_layers"
TOO_FEW_RUNS: Final = "too_few_runs"
TOO_FEW_PAIRS: Final = "too_few_pairs"

FEWEST_PAIRS = 4.5
"""Independent pairs below which an interval says nothing."""


@dataclass(frozen=True, slots=True)
class Association:
    """How one measure goes with one check.

    Attributes:
        check: The check's name.
        check_source: Its evaluation set; empty where it comes from a table.
        check_level: ``"frame"``, ``"utterance"`` or empty.
        measure: The measure's name.
        source: The evaluation set that it was measured on; empty for the loss.
        level: Its level.
        layer: The layer's label; empty where several are compared, or where neither belongs to one.
        scope: What it is a correlation over, for example ``"over_time"`` or ``"beyond_step"``.
        coefficient: ``"pearson"``, ``"spearman"`` or ``"kendall"``.
        value: The coefficient, with quality: of a check of which less is better, its sign is turned round. NaN where
            `status` says that there is none.
        low: Lower end of the 90 % interval; NaN where none is known.
        high: Upper end, likewise.
        n: Checkpoints, layers or runs that are compared (the fewest of several runs).
        pairs: Independent pairs that they are worth (the mean of several runs).
        units: Runs, or groups of runs, that were averaged.
        run: The run's name; empty for all of them together.
        step: Of the comparison at equal steps; -1 for the last checkpoints and for what is over time.
        direction: 1 where more of the measure is meant to be better, -1 where less is, 0 where that isn't said.
        beyond_these_runs: Whether the interval speaks of further runs like these, and not of these alone.
        status: Why there is no value or no interval, as flags.
    """

    check: str
    check_source: str
    check_level: str
    measure: str
    source: str
    level: str
    layer: str
    scope: str
    coefficient: str
    value: float
    low: float
    high: float
    n: int
    pairs: float
    units: int
    run: str = ""
    step: int = -1
    direction: int = 0
    beyond_these_runs: bool = False
    status: frozenset[str] = frozenset()

    @property
    def about(self) -> tuple[str, ...]:
        """What is correlated, over what and how, in any run."""
        return (
            *(self.check, self.check_source, self.check_level),
            *(self.measure, self.source, self.level, self.layer, self.scope, self.coefficient),
        )

    def to_plain(self) -> dict[str, Any]:
        """As plain data, None for what doesn't exist."""
        found = {one.name: getattr(self, one.name) for one in fields(self)}
        found["status"] = sorted(self.status)
        return {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in found.items()}


def names_of(check: Series, measure: Series) -> dict[str, Any]:
    """The fields that say which check and which measure.

    Args:
        check: The one.
        measure: The other.

    Returns:
        Arguments of an `Association`.
    """
    return {
        "check": check.name,
        "check_source": check.source,
        "check_level": check.level,
        "measure": measure.name,
        "source": measure.source,
        "level": measure.level,
        "direction": measure.direction,
    }
