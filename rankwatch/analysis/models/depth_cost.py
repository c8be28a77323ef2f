"""How much of a model is needed up to each layer: parameters, and share of the forward pass."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from statistics import median
from typing import Any

from torch import nn

from rankwatch.extraction.model.layers import WatchedLayer


@dataclass(frozen=True)
class DepthCost:
    """What a model costs up to a layer, if everything behind it is cut off.

    Attributes:
        parameters: Numbers in the modules that have run until the layer has its output.
        parameter_share: The same as a share of what the whole forward pass needs.
        time_share: Share of the forward pass's time, the median over utterances.
    """

    parameters: int
    parameter_share: float
    time_share: float


@contextmanager
def counted_parameters(root: nn.Module, layers: Sequence[WatchedLayer]) -> Iterator[dict[str, int]]:
    """While this is open, the parameters that have been used until each layer's first output are counted.

    Args:
        root: The whole model.
        layers: The layers.

    Yields:
        Numbers by layer, and ``""`` for all that were used; complete after one forward pass.
    """
    used: dict[int, int] = {}
    counts: dict[str, int] = {}

    def note(module: nn.Module) -> Callable[..., None]:
        own = list(module.parameters(recurse=False))

        def hook(*_: Any) -> None:
            used.update((id(p), p.numel()) for p in own)
            counts[""] = sum(used.values())

        return hook

    def reach(name: str) -> Callable[..., None]:
        def hook(*_: Any) -> None:
            counts.setdefault(name, sum(used.values()))

        return hook

    # A module whose parameters are used by its parent (weight normalisation, attention's projections) isn't called:
    # the parent's parameters are those of all such children.
    handles = [module.register_forward_hook(note(module)) for module in root.modules()]
    handles += [layer.module.register_forward_hook(reach(layer.name)) for layer in layers]
    inside = {id(layer.module): list(layer.module.parameters()) for layer in layers}

    def whole(module: nn.Module, *_: Any) -> None:
        used.update((id(p), p.numel()) for p in inside[id(module)])

    before = [layer.module.register_forward_pre_hook(whole) for layer in layers]
    try:
        yield counts
    finally:
        for handle in [*handles, *before]:
            handle.remove()


def depth_costs(parameters: dict[str, int], seconds: Sequence[dict[str, float]]) -> dict[str, DepthCost]:
    """Put the counts and the clocks of all utterances together.

    Args:
        parameters: From `counted_parameters`.
        seconds: Of each utterance, as `FramesOfUtterance` has them.

    Returns:
        The cost by layer.

    Example:
        >>> depth_costs({"a": 10, "": 40}, [{"a": 1.0, "": 2.0}])
        {'a': DepthCost(parameters=10, parameter_share=0.25, time_share=0.5)}
    """
    total = max(parameters.get("", 0), 1)
    found = {}
    for name, count in parameters.items():
        shares = [one[name] / one[""] for one in seconds if name and name in one and one[""] > 0.0]
        if shares:
            found[name] = DepthCost(count, min(1.0, count / total), min(1.0, median(shares)))
    return found
