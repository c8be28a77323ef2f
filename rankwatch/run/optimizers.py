"""What a trainer's optimisers say: how many steps of the model were taken, and the learning rate."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any


def learning_rate(optimizers: Iterable[Any]) -> float | None:
    """The highest learning rate of all parameter groups; None where there is none."""
    groups = [group for optimizer in optimizers for group in getattr(optimizer, "param_groups", ())]
    return max((float(group["lr"]) for group in groups if "lr" in group), default=None)


class OptimizerSteps:
    """Counts optimiser steps of the model under Lightning.

    Lightning's `global_step` counts the steps of each optimiser, so with several optimisers a training batch in which
    any of them has stepped counts as one.
    """

    def __init__(self) -> None:
        self._model_steps = self._all_steps = self._hooked_steps = 0

    def begin(self, trainer: Any) -> None:
        """A fit begins; where the trainer has taken steps before of which nothing is known, they count as well.

        With several optimisers as if each had taken equally many.
        """
        before, several = int(trainer.global_step), len(trainer.optimizers)
        if not self._all_steps:
            self._all_steps, self._model_steps = before, before // max(several, 1)
        self._hooked_steps = max(self._hooked_steps, before)

    def update(self, trainer: Any) -> int:
        """Look at the trainer's counter, after each batch.

        Returns:
            Optimiser steps of the model so far.
        """
        all_steps = max(int(trainer.global_step), self._hooked_steps)
        if len(trainer.optimizers) <= 1:
            return all_steps
        self._model_steps += all_steps > self._all_steps
        self._all_steps = all_steps
        return self._model_steps

    def count_step(self, *_: Any) -> None:
        """A post-step hook: manual optimisation may step the optimiser itself, which `global_step` doesn't see."""
        self._hooked_steps += 1

    def state_dict(self) -> list[int]:
        """Plain numbers."""
        return [self._model_steps, self._all_steps, self._hooked_steps]

    def load_state_dict(self, state: Sequence[int]) -> None:
        """Go on counting from what `state_dict` gave."""
        self._model_steps, self._all_steps, self._hooked_steps = [*state, 0, 0, 0][:3]
