"""What readings should say: utterances run one by one, without padding, and a plain singular value decomposition."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from recipe import Run
from torch import Tensor, nn

from rankwatch import RankWatch, RowSampling

EVERY_FRAME = 1000


def watch_every_frame(frame_mask: str = "unmasked", **arguments: Any) -> RankWatch:
    """A callback that reads all frames (under the mask as it is said) of all utterances: there is one right value."""
    rows = RowSampling(frames_per_utterance=EVERY_FRAME, projection=None, frame_mask=frame_mask)
    return RankWatch(rows=rows, **arguments)


def outputs(
    model: nn.Module, layer: str, calls: Sequence[Callable[[], Any]], frames: Callable[[Any], Tensor]
) -> list[Tensor]:
    """Frames (T, C) of one layer in each call, in eval mode.

    Args:
        model: The trained model.
        layer: Path of the layer.
        calls: Each runs the model on one utterance.
        frames: From what the layer returned for this one utterance to its (T, C) frames.
    """
    seen: list[Any] = []
    handle = model.get_submodule(layer).register_forward_hook(lambda module, args, output: seen.append(output))
    modes = {module: module.training for module in model.modules()}
    rows = []
    try:
        model.eval()
        for call in calls:
            seen.clear()
            with torch.no_grad():
                call()
            rows.append(frames(seen[0]).clone())
    finally:
        handle.remove()
        for module, mode in modes.items():
            module.training = mode
    return rows


def check(run: Run, layer: str, rows: Sequence[Tensor]) -> None:
    """The last readings of a layer are those of these utterances' frames (T, C), and of their means."""
    last = max(reading.step for reading in run.watch.readings)
    readings = {r.level: r for r in run.watch.readings if (r.step, r.layer) == (last, layer)}
    wanted = {"frame": torch.cat(list(rows)), "utterance": torch.stack([one.mean(0) for one in rows])}
    for level, matrix in wanted.items():
        assert readings[level].n == len(matrix), (layer, level)
        assert readings[level].rankme == pytest.approx(_rankme(matrix), rel=1e-4), (layer, level)


def _rankme(rows: Tensor) -> float:
    values = torch.linalg.svdvals(rows.double())
    shares = values[values > 0] / values.sum()
    return float(torch.exp(-(shares * shares.log()).sum()))
