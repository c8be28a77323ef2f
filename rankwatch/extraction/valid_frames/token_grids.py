"""Patches of a spectrogram as a sequence of tokens: in which order they stand, and which of them are valid."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from rankwatch.extraction.inputs.containers import walk
from rankwatch.extraction.model.front_ends import CONVOLUTIONS, POOLINGS, shortens
from rankwatch.extraction.model.module_paths import clean_modules, unwrap
from rankwatch.extraction.valid_frames.input_axes import InputAxes
from rankwatch.extraction.valid_frames.layouts import FOUR_AXES, Surroundings, fitting_layouts

_MASK_RATIO = re.compile(r"(?i)mask\w*ratio")  # another ratio may be one of downsampling, where lengths do count
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


def grid_of_rearranged(front_end: nn.Module, axes: InputAxes | None, tokens: int) -> TokenGrid | None:
    """The grid of square patches that were cut out by rearranging, before a linear map.

    Args:
        front_end: Holds the linear map.
        axes: Axes of the input.
        tokens: How many there are.

    Returns:
        The grid in the input's order, or None where patches of this size don't give so many tokens.
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
    if side < 2 or side * side != linear.in_features:
        return None
    grid = TokenGrid(axes.time // side, axes.bands // side, axes.time_first)
    return grid if tokens == grid.time * grid.bands else None


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


def are_chosen(tokens: int, frames: int, given: Sequence[Any], batch_size: int) -> bool:
    """Whether so many tokens are a choice of these frames or patches, as a mask or indices in the call say.

    Args:
        tokens: N of a layer.
        frames: Frames or patches of what feeds it.
        given: Arguments of the call by name, and the batch.
        batch_size: Utterances in this forward pass.

    Returns:
        True where a mask leaves out all but N frames in each row (and not the last ones, as padding does), where
        indices (B, N) are there, or where a share says so that is called a ratio of masked frames.
    """
    if not 0 < tokens < frames:
        return False
    for path, leaf in (item for thing in given for item in walk(thing)):
        share = leaf if isinstance(leaf, float) and _MASK_RATIO.search(path) else 0.0
        if 0 < share < 1 and abs(tokens - frames * (1 - share)) <= 1 + _SLACK:
            return True
        if isinstance(leaf, Tensor) and leaf.ndim == 2 and len(leaf) == batch_size and _chooses(leaf, tokens, frames):
            return True
    return False


def _chooses(leaf: Tensor, tokens: int, frames: int) -> bool:
    leaf = leaf.detach().cpu()
    whole = not (leaf.is_floating_point() or leaf.is_complex())
    if leaf.dtype == torch.bool and tokens < leaf.shape[1] <= frames + _SLACK:
        for mask in (leaf, ~leaf):
            if bool((mask.sum(dim=1) == tokens).all()):
                return not bool(mask[:, :tokens].all())
    elif whole and leaf.shape[1] == tokens and tokens > 1:
        ordered = leaf.sort(dim=1).values
        distinct = bool((ordered[:, 1:] > ordered[:, :-1]).all())
        return distinct and int(leaf.min()) >= 0 and tokens <= int(leaf.max()) < frames
    return False
