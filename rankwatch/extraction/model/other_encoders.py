"""Encoders without transformer-like blocks: recurrent networks, and convolutional networks on spectrograms."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from itertools import groupby

from torch import nn

from rankwatch.extraction.model.front_ends import CONVOLUTIONS
from rankwatch.extraction.model.module_paths import can_fire, parent, unwrap, within

_GENERIC = (nn.Sequential, nn.ModuleList, nn.ModuleDict)


def recurrent_runs(modules: Mapping[str, nn.Module]) -> dict[str, tuple[str, ...]]:
    """Recurrent layers (GRU, LSTM), those of one container together.

    Args:
        modules: Modules by clean path, in model order.

    Returns:
        Paths of the layers by the path of what holds them; a single one holds itself.
    """
    return _by_parent(
        [path for path, module in modules.items() if path and isinstance(unwrap(module), nn.RNNBase)], modules
    )


def convolutional_runs(
    modules: Mapping[str, nn.Module], is_teacher: Callable[[str], bool]
) -> dict[str, tuple[str, ...]]:
    """Blocks of a convolutional network; without any that repeat, the stages between its convolutions.

    A block is a module of a class of which there are several, with at least two convolutions. Those that a container
    holds (ResNet's) go before those that are attributes (PANNs'), which may be parts of blocks; of containers within
    each other the innermost count, if each of the outer blocks has some. A stage is what lies between two convolutions
    of one Sequential: its last module counts. Without stages, layers of one convolution each (MobileNet's).

    Args:
        modules: Modules by clean path, in model order.
        is_teacher: Whether a path is named like a teacher's.

    Returns:
        Paths of the blocks by the path of what holds them.
    """
    candidates = [path for path, module in modules.items() if path and _may_be_a_block(unwrap(module))]
    listed = set(_in_containers(modules))
    held = _several([path for path in candidates if path in listed], modules, is_teacher)
    innermost = [path for path in candidates if not _inside(path, candidates)]
    blocks = _deepest_cover(held, modules) or _several(innermost, modules, is_teacher)
    return _by_parent(blocks, modules) if blocks else _stages(modules) or _single_convolutions(modules)


def _several(paths: list[str], modules: Mapping[str, nn.Module], is_teacher: Callable[[str], bool]) -> list[str]:
    """Those of classes of which there are several; a whole network and its copy as a teacher are not several."""
    trained = [path for path in paths if any(p.requires_grad for p in modules[path].parameters())] or paths
    classes = Counter(type(unwrap(modules[path])) for path in trained if not is_teacher(path))
    return [path for path in paths if classes[type(unwrap(modules[path]))] >= 2]


def _deepest_cover(paths: list[str], modules: Mapping[str, nn.Module]) -> list[str]:
    """Of blocks within each other the inner ones, but the outer ones where not all of these have inner ones."""
    chosen = [path for path in paths if not any(other != path and within(path, other) for other in paths)]
    while True:
        classes = {type(unwrap(modules[path])) for path in chosen if not _inside(path, paths)}
        deeper = [path for path in chosen if type(unwrap(modules[path])) not in classes]
        if not deeper:
            return chosen
        inner = [p for path in deeper for p in _inside(path, paths)]
        inner = [path for path in inner if not any(other != path and within(path, other) for other in inner)]
        chosen = [path for path in paths if path in inner or (path in chosen and path not in deeper)]


def _inside(path: str, others: list[str]) -> list[str]:
    return [other for other in others if other != path and within(other, path)]


def _in_containers(modules: Mapping[str, nn.Module]) -> list[str]:
    """Paths of what repeats in a ModuleList, Sequential or ModuleDict: the class that comes most often in a row."""
    found = []
    for path, module in modules.items():
        container = unwrap(module)
        if isinstance(container, _GENERIC):
            children = [(name, type(unwrap(child))) for name, child in container.named_children()]
            runs = [list(run) for _, run in groupby(children, key=lambda item: item[1])]
            longest = max(runs, key=len, default=[])
            found += [f"{path}.{name}" if path else name for name, _ in longest]
    return found


def _single_convolutions(modules: Mapping[str, nn.Module]) -> dict[str, tuple[str, ...]]:
    """Layers of one convolution each, of which a container holds several."""
    layers = [path for path in _in_containers(modules) if can_fire(modules[path]) and _holds_convolution(modules[path])]
    runs = _by_parent(layers, modules)
    return {path: names for path, names in runs.items() if len(names) >= 2}


def _may_be_a_block(module: nn.Module) -> bool:
    if isinstance(module, _GENERIC) or not can_fire(module):
        return False
    return sum(isinstance(inner, CONVOLUTIONS) for inner in module.modules()) >= 2


def _stages(modules: Mapping[str, nn.Module]) -> dict[str, tuple[str, ...]]:
    """In each Sequential with several convolutions, the last module before each further one, and the last of all."""
    runs: dict[str, tuple[str, ...]] = {}
    for path, module in modules.items():
        container = unwrap(module)
        if not isinstance(container, nn.Sequential):
            continue
        children = [(f"{path}.{name}" if path else name, child) for name, child in container.named_children()]
        starts = [i for i, (_, child) in enumerate(children) if _holds_convolution(child)]
        if len(starts) >= 2:
            ends = [*(start - 1 for start in starts[1:]), len(children) - 1]
            runs[path] = tuple(children[end][0] for end in ends)
    return {
        path: names for path, names in runs.items() if not any(within(path, other) for other in runs if other != path)
    }


def _holds_convolution(module: nn.Module) -> bool:
    return any(isinstance(inner, CONVOLUTIONS) for inner in module.modules())


def _by_parent(paths: list[str], modules: Mapping[str, nn.Module]) -> dict[str, tuple[str, ...]]:
    """Those in one container together; one that the user's own module holds stands for itself."""
    runs: dict[str, tuple[str, ...]] = {}
    for path in paths:
        above = parent(path)
        holder = above if above and isinstance(unwrap(modules[above]), _GENERIC) else path
        runs[holder] = (*runs.get(holder, ()), path)
    return runs
