"""The front end of a stack of blocks: strided convolutions, or what cuts a spectrogram into patches."""

from __future__ import annotations

import re
from collections.abc import Mapping

from torch import nn

from rankwatch.extraction.model.module_paths import can_fire, name_tokens, parent, unwrap, within

AUXILIARY = frozenset(
    {
        *("adapter", "codebook", "decoder", "head", "heads", "predictor", "pos", "position", "positional"),
        *("projection", "projections", "projector", "quantiser", "quantizer"),
    }
)
"""Words in the paths of what is no encoder: stacks called so are left out, and so are their convolutions."""

_PROJECTIONS = frozenset({"projection", "projections"})  # a patch embedder's convolution is often called so
_PATCHES = re.compile(r"(?i)patch_?(embed|proj)|(^|[._])to_?patch")
_CUTS = ("Rearrange", "Unfold")
CONVOLUTIONS = (nn.Conv1d, nn.Conv2d)
POOLINGS = (nn.MaxPool1d, nn.MaxPool2d, nn.AvgPool1d, nn.AvgPool2d)


def shortens(module: nn.Module) -> bool:
    """Whether a module is a convolution or a pooling that shortens one of its axes."""
    if not isinstance(module, (*CONVOLUTIONS, *POOLINGS)):
        return False
    stride = module.stride
    return (max(stride) if isinstance(stride, tuple) else stride) > 1


def _holds_matrix(module: nn.Module) -> bool:
    return any(isinstance(inner, (*CONVOLUTIONS, nn.Linear)) for inner in module.modules())


def _cuts_patches(path: str, module: nn.Module) -> bool:
    """A linear map of patches, which were cut out by rearranging: it has no convolution that would tell."""
    children = [type(child).__name__ for child in module.children()]
    linear = any(isinstance(child, nn.Linear) for child in module.modules())
    if not linear or not can_fire(module):
        return False
    named = _PATCHES.search(path.rpartition(".")[2]) or _PATCHES.search(type(module).__name__)
    return bool(named) or any(name in _CUTS for name in children)


def find_front_end(
    modules: Mapping[str, nn.Module], stack: str, runs: Mapping[str, tuple[str, ...]], foreign: set[str]
) -> str | None:
    """The largest module with strided convolutions, poolings or patches that doesn't contain the stack, nearest to it.

    Of several next to each other the one counts whose output is as wide as the blocks, or as a linear map between
    them expects; then the one that was built last before the stack.

    Args:
        modules: Modules by clean path, in model order.
        stack: Path of what holds the blocks.
        runs: Paths of all blocks, by the path of what holds them.
        foreign: Roots of other branches, in which none is looked for.

    Returns:
        Its path, or None.
    """
    blocks = [path for paths in runs.values() for path in paths]
    outside = [
        path
        for path, module in modules.items()
        if (shortens(module) or _cuts_patches(path, module))
        and not any(within(path, other) for other in (*blocks, *runs, *foreign) if other)
        and not name_tokens(path) & (AUXILIARY - _PROJECTIONS)
    ]
    order = {path: place for place, path in enumerate(modules)}
    widths = _input_widths(modules, runs[stack])
    first = order[runs[stack][0]]
    above, later = stack, None
    while above:
        above = parent(above)
        near = [path for path in outside if within(path, above)]
        children = _beside(modules, above, near, blocks)
        before = [child for child in children if order[child] < first]
        if before:
            fits = [child for child in before if _output_width(modules[child]) in widths] or before
            return _callable_part(modules, max(fits, key=order.__getitem__), near, widths)
        if children and later is None:  # what comes behind is the next stage's, unless there is nothing else
            later = _callable_part(modules, min(children, key=order.__getitem__), near, widths)
    return later


def _beside(modules: Mapping[str, nn.Module], above: str, near: list[str], blocks: list[str]) -> set[str]:
    """Children of a module that hold one of these convolutions, and no block, also no other stack's."""
    skip = len(above) + 1 if above else 0
    children = {(above + "." if above else "") + path[skip:].split(".")[0] for path in near}
    holds_blocks = {child for child in children if any(within(path, child) for path in blocks)}
    return {child for child in children - holds_blocks if _holds_matrix(modules[child])}


def _output_width(front_end: nn.Module) -> int | None:
    """Channels of its last convolution or linear map."""
    last = [m for m in unwrap(front_end).modules() if isinstance(m, (*CONVOLUTIONS, nn.Linear))]
    if not last:
        return None
    return last[-1].out_features if isinstance(last[-1], nn.Linear) else last[-1].out_channels


def _input_widths(modules: Mapping[str, nn.Module], blocks: tuple[str, ...]) -> set[int]:
    """Widths that the blocks can take: their own, and those of linear maps outside of them that lead to it."""
    own = {m.normalized_shape[-1] for m in modules[blocks[0]].modules() if isinstance(m, nn.LayerNorm)}
    own |= {m.input_size for m in modules[blocks[0]].modules() if isinstance(m, nn.RNNBase)}
    if not own:
        own = {m.in_channels for m in [m for m in modules[blocks[0]].modules() if isinstance(m, CONVOLUTIONS)][:1]}
    leading = {
        m.in_features
        for path, m in modules.items()
        if isinstance(m, nn.Linear) and m.out_features in own and not any(within(path, block) for block in blocks)
    }
    return own | leading


def _callable_part(modules: Mapping[str, nn.Module], path: str, convolutions: list[str], widths: set[int]) -> str:
    """`path`, or inside a ModuleList, which never fires, its last part that holds a convolution.

    Of the parts those count that are as wide as the blocks expect, if there are any: each of several stages has one.

    Args:
        modules: Modules by clean path.
        path: What may be a container.
        convolutions: Paths of convolutions.
        widths: Widths that the blocks can take.

    Returns:
        A path.
    """
    while not can_fire(modules[path]):
        depth = len(path.split(".")) + 1
        parts = [".".join(conv.split(".")[:depth]) for conv in convolutions if within(conv, path)]
        path = ([part for part in parts if _output_width(modules[part]) in widths] or parts)[-1]
    return path
