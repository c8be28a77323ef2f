"""The learning rate of both recipes."""

from __future__ import annotations

from typing import Any

import torch


def warm_up_and_decay(optimizer: torch.optim.Optimizer, warm_up: float, total_steps: int) -> dict[str, Any]:
    """What `configure_optimizers` returns: a linear rise over a share of the run, then a linear fall to a tenth.

    Args:
        optimizer: Its learning rate is the peak.
        warm_up: Share of `total_steps`, in [0, 1).
        total_steps: Optimiser steps of the whole run.

    Returns:
        Optimizer and scheduler, as Lightning takes them.

    Raises:
        ValueError: If `warm_up` lies outside [0, 1).
    """
    if not 0 <= warm_up < 1:
        raise ValueError(f"warm_up is a share of the run in [0, 1), got {warm_up}")
    rise = max(1, round(warm_up * total_steps))

    def factor(step: int) -> float:
        if step < rise:
            return (step + 1) / rise
        return 1 - 0.9 * min(1.0, (step - rise) / max(1, total_steps - rise))

    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, factor)
    return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}
