"""What choosing a checkpoint, a layer or a run by a rule would have lost, as plain data."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import Any, Final

CHECKPOINT: Final = "checkpoint"
LAYER: Final = "layer"
RUN: Final = "run"

BEST: Final = "best"
LAST: Final = "last"
CHANCE: Final = "chance"
"""Rules that look at no measure: the best by the check itself, the last one (of layers the deepest), one at random."""


@dataclass(frozen=True, slots=True)
class Choice:
    """What a rule has lost against another one.

    Attributes:
        what: ``"checkpoint"``, ``"layer"`` or ``"run"``: what is chosen.
        rule: The measure of whose best value the choice was made, or ``"last"`` or ``"chance"``.
        source: The evaluation set that the measure was read on; empty where there is none.
        level: Its level.
        against: ``"best"``, ``"last"``, ``"chance"`` or ``"loss"``: what it is compared with.
        check: The check's name.
        check_source: Its evaluation set; empty where it comes from a table.
        check_level: Its level.
        layer: The layer's label; empty where layers are chosen, or where the check is the whole model's.
        chosen: What was chosen: a step, a layer or a run; empty for chance and for several runs together.
        lost: How much worse the check is than with the other rule, in its own unit; below 0 where it is better.
        low: Lower end of the 90 % interval; NaN where none is known.
        high: Upper end, likewise.
        share: The same as a share of what the check has gained since the first checkpoint; NaN where that is nothing.
        reached: The check's value with this rule.
        units: Runs, or groups of runs, that were averaged.
        runs: Runs that were averaged.
        no_worse: Share of the runs in which the rule was at least as good as the other one.
        run: The run's name; empty for all of them together.
        beyond_these_runs: Whether the interval speaks of further runs like these. If not, it is over utterances.
    """

    what: str
    rule: str
    source: str
    level: str
    against: str
    check: str
    check_source: str
    check_level: str
    layer: str
    chosen: str
    lost: float
    low: float
    high: float
    share: float
    reached: float
    units: int
    runs: int
    no_worse: float
    run: str = ""
    beyond_these_runs: bool = False

    @property
    def about(self) -> tuple[str, ...]:
        """Which rule against which other one, in any run."""
        return (
            *(self.what, self.rule, self.source, self.level, self.against),
            *(self.check, self.check_source, self.check_level, self.layer),
        )

    @property
    def surely(self) -> int:
        """1 where the rule surely loses against the other one, -1 where it surely gains, 0 where that isn't known."""
        return int(self.low > 0.0) - int(self.high < 0.0)

    def to_plain(self) -> dict[str, Any]:
        """As plain data, None for what doesn't exist."""
        found = {one.name: getattr(self, one.name) for one in fields(self)}
        return {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in found.items()}
