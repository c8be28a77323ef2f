"""What optimisers tell: how many steps were taken, and the learning rate."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any


def learning_rate(optimizers: Iterable[Any]) -> float | None:
    """The highest of all parameter groups; None where there is none."""
    groups = [group for optimizer in optimizers for group in getattr(optimizer, "param_groups", ())]
    return max((float(group["lr"]) for group in groups if "lr" in group), default=None)


class OptimizerSteps:
    """Steps of the model. `global_step` counts each optimiser's own, so with several, batches with a step count."""

    def __init__(self) -> None:
        self._steps = self._taken = self._counted = 0

    def taken(self, trainer: Any) -> int:
        """How many there were until now; to be asked after each batch."""
        taken = max(int(trainer.global_step), self._counted)
        if len(trainer.optimizers) <= 1:
            return taken
        self._steps += taken > self._taken
        self._taken = taken
        return self._steps

    def count(self, *_: Any) -> None:
        """Manual optimisation may step the optimiser itself, of which `global_step` doesn't hear."""
        self._counted += 1

    def state_dict(self) -> list[int]:
        """Plain numbers."""
        return [self._steps, self._taken, self._counted]

    def load_state_dict(self, state: Sequence[int]) -> None:
        """Go on counting."""
        self._steps, self._taken, self._counted = [*state, 0, 0, 0][:3]
