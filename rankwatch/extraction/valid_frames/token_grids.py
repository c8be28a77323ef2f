"""Patches of a spectrogram as a sequence of tokens: in which order they stand, and which of them are valid."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from rankwatch.extraction.model.front_ends import CONVOLUTIONS, POOLINGS, shortens
from rankwatch.extraction.model.module_paths import clean_modules, unwrap
from rankwatch.extraction.valid_frames.input_axes import InputAxes
from rankwatch.extraction.valid_frames.layouts import FOUR_AXES, Surroundings, fitting_layouts

_CUT = re.compile(r"\(\s*(\w+)\s+(\w+)\s*\)")  # an axis in patches and what is inside of each, in einops' words
_EXTRA = 8  # at most so many tokens stand beside the patches: of the whole clip, of a distillation, registers
_SLACK = 3  # so many of them where the number of patches is no more than likely


@dataclass(frozen=True)
class TokenGrid:
    """The patches that a convolution has cut out of a spectrogram.

    Attributes:
        time: Patches along time.
        bands: Patches along the bands.
        time_first: Whether tokens that stand next to each other lie in different bands.
    """

    time: int
    bands: int
    time_first: bool


@dataclass(frozen=True)
class Tokens:
    """A sequence of tokens in the order of time.

    Attributes:
        hidden: (B, N, C); tokens of one time stand together, those of no patch are left out.
        per_frame: Tokens of one time.
        layout: For the table, for example ``"(B, 2 + FT, C)"``.
    """

    hidden: Tensor
    per_frame: int
    layout: str


def patch_convolutions(front_ends: Mapping[str, nn.Module]) -> dict[str, nn.Module]:
    """The last convolution of each front end that works on two axes, where it isn't the front end itself.

    Args:
        front_ends: Front ends by path.

    Returns:
        Convolutions by path.
    """
    found: dict[str, nn.Module] = {}
    for path, front_end in front_ends.items():
        inside = {
            f"{path}.{name}": module
            for name, module in clean_modules(front_end).items()
            if name and isinstance(unwrap(module), nn.Conv2d) and shortens(unwrap(module))
        }
        if inside and not any(isinstance(m, POOLINGS) for m in front_end.modules()):
            last = list(inside)[-1]
            found[last] = inside[last]
    return found


def last_convolutions(front_ends: Mapping[str, nn.Module]) -> dict[str, nn.Module]:
    """The last convolution over time of each front end: its frames are those that there are before a model adds any.

    Args:
        front_ends: Front ends by path.

    Returns:
        Convolutions by path.
    """
    found: dict[str, nn.Module] = {}
    for path, front_end in front_ends.items():
        inside = [(name, m) for name, m in clean_modules(front_end).items() if isinstance(unwrap(m), nn.Conv1d)]
        if inside:
            found[".".join(filter(None, (path, inside[-1][0])))] = inside[-1][1]
    return found


def grid_of(hidden: Tensor, convolution: nn.Module, axes: InputAxes | None, batch_size: int) -> TokenGrid | None:
    """The grid of patches that a convolution gave, if it is known which of its axes is time.

    Args:
        hidden: (B, C, F, T) or (B, C, T, F).
        convolution: What gave it.
        axes: Axes of the input.
        batch_size: Utterances in this forward pass.

    Returns:
        The grid, or None.
    """
    if hidden.ndim != 4 or not isinstance(convolution, CONVOLUTIONS):
        return None
    fits = fitting_layouts(hidden, convolution, "frontend", Surroundings(batch_size, (), axes))
    if len(fits) != 1:
        return None
    _, time, bands = FOUR_AXES[fits[0]]
    return TokenGrid(hidden.shape[time], hidden.shape[bands], time < bands)


def grid_of_rearranged(
    front_end: nn.Module, axes: InputAxes | None, tokens: int, lengths: Tensor | None = None
) -> TokenGrid | None:
    """The grid of patches that were cut out by rearranging, before a linear map.

    How large they are is what the module says (einops' pattern, `patch_size`, `patch_height` and `patch_width`); where
    it says nothing they are taken as square.

    Args:
        front_end: Holds the linear map.
        axes: Axes of the input.
        tokens: How many there are.
        lengths: What the front end gave as lengths, or None; above the number of times they count single tokens.

    Returns:
        The grid, or None where patches of this size don't give so many tokens, or each time has one.
    """
    linear = next((m for m in front_end.modules() if isinstance(m, nn.Linear)), None)
    if (
        linear is None
        or axes is None
        or axes.bands is None
        or any(isinstance(m, CONVOLUTIONS) for m in front_end.modules())
    ):
        return None
    side = math.isqrt(linear.in_features)
    square = (side, side, True) if side > 1 and side * side == linear.in_features else None
    first, second, in_order = _patch_size(front_end) or square or (0, 0, True)
    if min(first, second) < 1:
        return None
    along_time, along_bands = (first, second) if axes.time_first else (second, first)
    grid = TokenGrid(axes.time // along_time, axes.bands // along_bands, axes.time_first == in_order)
    single = lengths is not None and len(lengths) > 0 and grid.time < int(lengths.max()) <= tokens
    return grid if tokens == grid.time * grid.bands and not single else None


def _patch_size(front_end: nn.Module) -> tuple[int, int, bool] | None:
    """Positions of a patch on both axes of the input, 0 and 0 if only one of them is cut, and the order of tokens."""
    for module in front_end.modules():
        pattern, inner = getattr(module, "pattern", None), getattr(module, "axes_lengths", None)
        if isinstance(pattern, str) and isinstance(inner, Mapping):
            before, _, behind = pattern.partition("->")
            cut = [(axis, inner[part]) for axis, part in _CUT.findall(before) if isinstance(inner.get(part), int)]
            if len(cut) == 2:
                order = [axis for axis in re.findall(r"\w+", behind) if axis in {name for name, _ in cut}]
                return cut[0][1], cut[1][1], order[:1] != [cut[1][0]]
            if len(cut) == 1:
                return 0, 0, True
    for module in front_end.modules():
        both = (getattr(module, "patch_height", None), getattr(module, "patch_width", None))
        for said in (getattr(module, "patch_size", None), both, getattr(module, "kernel_size", None)):
            sizes = (said, said) if isinstance(said, int) else said
            if isinstance(sizes, (tuple, list)) and len(sizes) == 2 and all(isinstance(n, int) for n in sizes):
                return sizes[0], sizes[1], True
    return None


def in_order_of_time(hidden: Tensor, grid: TokenGrid, behind: int = 0) -> Tokens | None:
    """Tokens of all patches, so that those of one time stand together.

    Args:
        hidden: (B, N, C).
        grid: The patches.
        behind: How many of the tokens of no patch stand behind the patches (`tokens_behind`).

    Returns:
        None where there are not as many tokens as patches, and where each time has one.
    """
    found = without_order(hidden, grid.time * grid.bands, behind) if grid.bands > 1 else None
    if found is None:
        return None
    tokens = found.hidden
    if not grid.time_first:
        tokens = tokens.reshape(len(tokens), grid.bands, grid.time, -1).transpose(1, 2).flatten(1, 2)
    return Tokens(tokens, grid.bands, found.layout.replace("N", "TF" if grid.time_first else "FT"))


def without_order(hidden: Tensor, patches: int, behind: int = 0) -> Tokens | None:
    """Tokens of patches of which it isn't known which of their axes is time; those of no patch are left out.

    Args:
        hidden: (B, N, C).
        patches: How many there are.
        behind: How many of the tokens of no patch stand behind the patches (`tokens_behind`).

    Returns:
        None where there are not as many tokens as patches.
    """
    extra = hidden.shape[1] - patches
    if not 0 <= extra <= _EXTRA or behind > extra:
        return None
    before = extra - behind
    layout = f"(B, {f'{before} + ' if before else ''}N{f' + {behind}' if behind else ''}, C)"
    return Tokens(hidden[:, before : before + patches], 1, layout)


def tokens_behind(embedded: Tensor, patches: int) -> int:
    """How many of the tokens that belong to no patch stand behind all patches.

    They are parameters, so that where the patches were embedded they are the same in all utterances.

    Args:
        embedded: (B, N, C), the embeddings.
        patches: How many there are.

    Returns:
        0 also where it can't be seen, since such tokens mostly stand before the patches.
    """
    extra = embedded.shape[1] - patches
    if not 0 < extra <= _EXTRA or len(embedded) < 2:
        return 0
    ends = torch.cat([embedded[:, :extra], embedded[:, -extra:]], dim=1)
    alike = (ends == ends[:1]).all(dim=2).all(dim=0).tolist()
    before = [*alike[:extra], False].index(False)
    behind = [*alike[: extra - 1 : -1], False].index(False)
    return behind if before + behind == extra else 0


def at_another_scale(grid: TokenGrid, tokens: int) -> TokenGrid | None:
    """The grid of a stage in which neighbouring patches were merged, or weren't yet.

    Args:
        grid: The grid of another stage.
        tokens: How many tokens this stage has.

    Returns:
        None where no power of two up to 16 along both axes leads to so many, up to tokens of the whole clip.
    """
    scales = []
    for merged in (2, 4, 8, 16):
        scales.append(TokenGrid(-(-grid.time // merged), -(-grid.bands // merged), grid.time_first))
        scales.append(TokenGrid(grid.time * merged, grid.bands * merged, grid.time_first))
    extras = ((extra, one) for extra in range(_SLACK + 1) for one in scales)
    return next((one for extra, one in extras if one.bands > 1 and one.time * one.bands == tokens - extra), None)
