"""What a replay prints: one line a checkpoint, and which weights of it don't fit."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from rankwatch.checkpoints.load_weights import LoadedWeights
from rankwatch.checkpoints.weight_names import few_names
from rankwatch.readings.reading import Reading


def reading_line(step: int, readings: Sequence[Reading], primary: str, health: float) -> str:
    """One reading in one line: step, health, and the layer with the lowest rank for its width.

    Args:
        step: The checkpoint's.
        readings: All of the step.
        primary: Name of the first evaluation set.
        health: Of the step.

    Returns:
        The line, without a line break.
    """
    ours = [one for one in readings if one.step == step and one.source == primary and one.ok]
    frames = [one for one in ours if one.level == "frame"] or ours
    start = f"step {step:>8}   health {'  - ' if math.isnan(health) else f'{health:.2f}'}"
    if not frames:
        return f"{start}   no layer has a rank"
    lowest = min(frames, key=lambda one: one.effective_rank / one.d)
    rank = f"{lowest.effective_rank:.1f} of {lowest.d}"
    return f"{start}   lowest {lowest.layer}: {rank}{' (brief)' if lowest.brief else ''}"


def named_weights(path: object, loaded: LoadedWeights, left_out: Iterable[str]) -> str:
    """What of a checkpoint's weights doesn't fit the model, and which layers aren't read for that.

    Args:
        path: The checkpoint.
        loaded: What was loaded.
        left_out: Layers that depend on weights that aren't there.

    Returns:
        A sentence; empty where all is there, whatever else the checkpoint holds.
    """
    said = []
    if loaded.missing:
        said.append(f"lacks {len(loaded.missing)} weights of the model ({few_names(loaded.missing)})")
    if loaded.misshapen:
        said.append(f"has {len(loaded.misshapen)} of another shape ({few_names(loaded.misshapen)})")
    if not said:
        return ""
    if loaded.unexpected:
        said.append(f"has others instead ({few_names(loaded.unexpected)})")
    layers = few_names(left_out)
    result = f"not read, since they depend on these: {layers}" if layers else "no watched layer depends on these"
    return f"{path} {', '.join(said)}; {result}"
