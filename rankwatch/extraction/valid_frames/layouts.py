"""Which axis of a layer's output is which, where its shape and the module's parameters tell."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from rankwatch.extraction.model.conventions import front_end_layouts, has_batch_first
from rankwatch.extraction.valid_frames.input_axes import InputAxes

THREE_AXES = {"(B, T, C)": (0, 1, 2), "(B, C, T)": (0, 2, 1), "(T, B, C)": (1, 0, 2)}
"""Where the batch, time and channels are."""
FOUR_AXES = {"(B, C, F, T)": (1, 3, 2), "(B, C, T, F)": (1, 2, 3), "(B, F, T, C)": (3, 2, 1), "(B, T, F, C)": (3, 1, 2)}
"""Where channels, time and bands are; the batch is first."""
TOKENS = "N"
"""The axis of tokens that are in no order of time, such as a random choice of patches: each of them counts."""
LAYOUTS = (*THREE_AXES, f"(B, {TOKENS}, C)", *FOUR_AXES)

_CLEARLY = 1.3  # one assignment of two axes is more even than the other by this factor, or else their order counts


@dataclass(frozen=True)
class Surroundings:
    """What is known beside a layer's output.

    Attributes:
        batch_size: Utterances in this forward pass.
        frames: Frames that the layer may have, from other layers or from the input; the first is the likeliest.
        axes: Axes of the input, or None where they aren't known.
        time_first: Whether time comes before the bands in another layer's four axes, or None where there is none.
    """

    batch_size: int
    frames: Collection[int] = ()
    axes: InputAxes | None = None
    time_first: bool | None = None


def fitting_layouts(hidden: Tensor, module: nn.Module, kind: str, around: Surroundings) -> list[str]:
    """The layouts that a layer's output may have.

    Args:
        hidden: The output, of three or four axes.
        module: The layer, without wrappers.
        kind: ``"frontend"``, ``"block"`` or ``"other"``.
        around: What else is known.

    Returns:
        One, if it is clear; several if they can't be told apart; none if nothing fits.
    """
    if isinstance(module, nn.RNNBase):  # it says itself
        layout = "(B, T, C)" if module.batch_first else "(T, B, C)"
        return [layout] if hidden.ndim == 3 and hidden.shape[THREE_AXES[layout][0]] == around.batch_size else []
    likely, possible = layer_widths(module, kind)
    if hidden.ndim == 4:
        usual = [name for name in FOUR_AXES if name.startswith("(B, C") or not _is_convolutional(module)]
        tries = [(likely, usual), (possible, usual), (possible, list(FOUR_AXES))]
        return next((fits for widths, names in tries if (fits := _four_axes(hidden, widths, around, names))), [])
    return _three_axes(hidden, likely, around) or _three_axes(hidden, possible, around)


def fitting_part_first(output: Any, module: nn.Module, kind: str, batch_size: int) -> Any:
    """A tuple with the hidden states first, where something else stands before them (patches, None).

    Args:
        output: Whatever a module returned.
        module: The layer, without wrappers.
        kind: ``"frontend"``, ``"block"`` or ``"other"``.
        batch_size: Utterances in this forward pass.

    Returns:
        The output itself, unless it is a tuple whose first part has no layout and one of whose others has; or whose
        first part has one only because there happen to be as many positions as the layer is wide, and another one
        has this width at these positions.
    """
    if type(output) not in (tuple, list) or len(output) < 2 or isinstance(output[0], (tuple, list, dict)):
        return output
    around = Surroundings(batch_size)
    fits = [
        isinstance(part, Tensor)
        and part.is_floating_point()
        and part.ndim >= 3
        and bool(fitting_layouts(part, module, kind, around))
        for part in output
    ]
    if fits[0]:
        wide, first = layer_widths(module, kind)[0], output[0].shape
        fits = [
            fit and part.shape[:-1] == first[:-1] and part.shape[-1] in wide
            for fit, part in zip(fits, output, strict=True)
        ]
    if fits[0] or sum(fits) != 1:
        return output
    place = fits.index(True)
    return (output[place], *output[:place], *output[place + 1 :])


def layer_widths(module: nn.Module, kind: str) -> tuple[set[int], set[int]]:
    """Widths that the output has likely, and possibly, by the module's parameters.

    A block is as wide as its norms and its attention, a front end as its last convolution.

    Args:
        module: The layer, without wrappers.
        kind: ``"frontend"``, ``"block"`` or ``"other"``.

    Returns:
        The likely ones and the possible ones.
    """
    norms: set[int] = set()
    matrices: set[int] = set()
    convolutions: list[int] = []
    for child in module.modules():
        if isinstance(child, nn.LayerNorm):
            norms.add(child.normalized_shape[-1])
        elif isinstance(child, nn.MultiheadAttention):
            norms.add(child.embed_dim)
        elif type(child).__name__.endswith("RMSNorm"):
            norms.update(p.shape[-1] for p in child.parameters(recurse=False))
        elif isinstance(child, nn.RNNBase):
            matrices.add((child.proj_size or child.hidden_size) * (2 if child.bidirectional else 1))
        elif isinstance(child, nn.Linear):
            matrices.add(child.out_features)
        elif isinstance(child, (nn.Conv1d, nn.Conv2d)):
            convolutions.append(child.out_channels)
    possible = norms | matrices | set(convolutions)
    if kind == "frontend" and convolutions:
        return {convolutions[-1], *matrices}, possible
    return norms or possible, possible


def _three_axes(hidden: Tensor, widths: set[int], around: Surroundings) -> list[str]:
    if hidden.ndim != 3:
        return []
    fits = [name for name, (b, _, _) in THREE_AXES.items() if hidden.shape[b] == around.batch_size]
    if widths:
        fits = [name for name in fits if hidden.shape[THREE_AXES[name][2]] in widths]
    if len(fits) > 1:
        fits = [name for name in fits if hidden.shape[THREE_AXES[name][1]] in around.frames] or fits
    return fits


def _is_convolutional(module: nn.Module) -> bool:
    """Whether a module works with convolutions of two axes alone, whose channels are the second axis."""
    inside = list(module.modules())
    others = any(isinstance(inner, (nn.Linear, nn.MultiheadAttention, nn.RNNBase)) for inner in inside)
    norms = any(type(inner).__name__.endswith(("LayerNorm", "RMSNorm")) for inner in inside)
    return any(isinstance(inner, nn.Conv2d) for inner in inside) and not others and not norms


def _four_axes(hidden: Tensor, widths: set[int], around: Surroundings, names: Sequence[str]) -> list[str]:
    """Only the time axis matters: bands and channels are flattened together."""
    if hidden.shape[0] != around.batch_size:
        return []
    fits = [name for name in names if hidden.shape[FOUR_AXES[name][0]] in widths or not widths]
    if around.frames:
        fits = [name for name in fits if hidden.shape[FOUR_AXES[name][1]] in around.frames] or fits
    if around.time_first is not None:  # a network seldom turns its images
        fits = [name for name in fits if time_is_first(name) == around.time_first] or fits
    if len({FOUR_AXES[name][1] for name in fits}) > 1 and around.axes is not None:
        fits = _as_in_the_input(hidden, fits, around.axes)
    # Channels first or last makes no difference where time is the same axis.
    return fits[:1] if len({FOUR_AXES[name][1] for name in fits}) == 1 else fits


def _as_in_the_input(hidden: Tensor, fits: list[str], axes: InputAxes) -> list[str]:
    """Those in which time and bands are shortened alike or, where that doesn't tell, stand in the input's order."""
    if axes.bands is None:
        return fits
    unevenness = {}
    for name in fits:
        time, bands = (hidden.shape[axis] for axis in FOUR_AXES[name][1:])
        if 0 < time <= axes.time and 0 < bands <= axes.bands:
            unevenness[name] = abs(math.log(axes.time / time) - math.log(axes.bands / bands))
    if not unevenness:
        return fits
    least = min(unevenness.values())
    alike = [name for name, value in unevenness.items() if value - least < math.log(_CLEARLY)]
    if len({FOUR_AXES[name][1] for name in alike}) == 1:
        return alike
    return [name for name in alike if time_is_first(name) == axes.time_first] or alike


def time_is_first(layout: str) -> bool:
    """Whether time comes before the bands in a layout of four axes.

    Args:
        layout: One of `FOUR_AXES`.

    Returns:
        True for ``"(B, C, T, F)"`` and ``"(B, T, F, C)"``.
    """
    return layout.index("T") < layout.index("F")


def by_habit(layouts: list[str], module: nn.Module, kind: str) -> list[str]:
    """Narrow down by what is known of the family, of attention inside, and of the module's last step.

    Args:
        layouts: All that fit.
        module: The layer, without wrappers.
        kind: ``"frontend"``, ``"block"`` or ``"other"``.

    Returns:
        Those of them that are usual.
    """
    if kind == "frontend":
        layouts = [name for name in layouts if name.startswith("(B")] or layouts
        if any(isinstance(m, nn.Conv2d) for m in module.modules()):  # of an image's axes two became one
            layouts = [name for name in layouts if name.endswith("C)")] or layouts
        if isinstance(module, nn.Conv1d):
            layouts = [name for name in layouts if name == "(B, C, T)"] or layouts
        usual = front_end_layouts(module)
        layouts = [name for name in layouts if all(name == layout for layout in usual)] or layouts
    first = {m.batch_first for m in module.modules() if isinstance(m, (nn.MultiheadAttention, nn.RNNBase))}
    first = {True} if has_batch_first(module) else first
    if len(first) == 1:
        layouts = [name for name in layouts if name.startswith("(B" if True in first else "(T")] or layouts
    leaves = [m for m in module.modules() if not list(m.children()) and list(m.parameters())]
    if kind == "block" and leaves and type(leaves[-1]) in (nn.LayerNorm, nn.Linear):
        layouts = [name for name in layouts if name.endswith("C)")] or layouts
    return layouts
