"""Which frames lay under the mask of a self-supervised training call, or were left out, where the call shows it."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad

from rankwatch.extraction.inputs.call_arguments import named_arguments
from rankwatch.extraction.inputs.containers import walk
from rankwatch.extraction.valid_frames.downsampling import TRIM

_NAMES = frozenset(
    {
        *("mask", "masks", "mask_index", "mask_indices", "mask_indexes", "masked_indices", "masked_positions"),
        *("bool_masked_pos",),
        *("time_mask", "time_masks", "mask_time", "mask_time_indices", "time_mask_indices", "ssl_mask", "mlm_mask"),
    }
)
_INDEX_NAMES = frozenset({"mask", "mask_index", "mask_indices", "mask_indexes", "masked_indices", "masked_positions"})
_MASK_RATIO = re.compile(r"(?i)mask\w*ratio")  # another ratio may be one of downsampling, where lengths do count
_SLACK = 3  # so many tokens may stand beside the frames or patches
_BY_NAME_ALONE = frozenset({"mask_time_indices", "bool_masked_pos"})


@dataclass(frozen=True)
class TimeMask:
    """A mask over frames that a call was given.

    Attributes:
        path: Of the argument, or of the field of the batch.
        masked: (B, T) boolean on the CPU, True where the input was replaced by the mask's embedding; made of indices
            it ends with the last of them.
        indices: Whether it was made of indices, and so may be shorter than a layer.
    """

    path: str
    masked: Tensor
    indices: bool = False


def time_masks(
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
    batch: Any,
    *,
    batch_size: int,
    forward: Callable[..., Any] | inspect.Signature | None = None,
) -> list[TimeMask]:
    """Masks over frames that a call was given: boolean or 0/1, (B, T), 1 = replaced by the mask's embedding.

    Also lists of the frames that are masked: (B, n) whole numbers, each once in its row, as SpidR's collator makes
    them, or (n,) for all utterances alike. Known by their names, in which nothing may be added: a ``keep_mask`` or a
    ``vad_mask`` is something else. ``mask_time_indices`` and ``bool_masked_pos`` mean nothing else anywhere; any other
    one has to be of a form that lengths can't have: in some row it changes more than once, or it is such a list.

    Args:
        args: Positional arguments of the backbone's call.
        kwargs: Its keyword arguments.
        batch: The loader's batch.
        batch_size: B.
        forward: The backbone's forward pass, which names positional arguments.

    Returns:
        The masks, those of the call first.

    Example:
        >>> mask = torch.tensor([[0, 1, 1, 0], [1, 0, 0, 1]])
        >>> (found,) = time_masks((), {"mask": mask}, None, batch_size=2)
        >>> found.path, found.masked.tolist()
        ('mask', [[False, True, True, False], [True, False, False, True]])
    """
    found: dict[int, TimeMask] = {}
    for thing in (named_arguments(args, kwargs, forward), batch):
        for path, leaf in walk(thing):
            name = path.rpartition(".")[2].lower()
            if name in _INDEX_NAMES and isinstance(leaf, Tensor):
                indexed = _of_indices(leaf, batch_size)
                if indexed is not None:
                    found.setdefault(id(leaf), TimeMask(path, indexed, indices=True))
                    continue
            if name in _NAMES and isinstance(leaf, Tensor) and leaf.shape[:1] == (batch_size,) and leaf.ndim == 2:
                masked = _boolean(leaf)
                if masked is not None and (name in _BY_NAME_ALONE or _changes_twice(masked)):
                    found.setdefault(id(leaf), TimeMask(path, masked))
    return list(found.values())


def mask_of(masks: Sequence[TimeMask], frames: int) -> TimeMask | None:
    """The mask over a layer's frames: as long as it, or at most `TRIM` longer (then cut off behind).

    None where there are several that differ: which of them was used isn't known.

    Returns:
        The mask, `frames` long.
    """
    fits = [
        TimeMask(m.path, pad(m.masked, (0, max(0, frames - m.masked.shape[1])))[:, :frames])
        for m in masks
        if (0 if m.indices else frames) <= m.masked.shape[1] <= frames + TRIM
    ]
    same = all(torch.equal(fit.masked, fits[0].masked) for fit in fits)
    return fits[0] if fits and same else None


def _of_indices(leaf: Tensor, batch_size: int) -> Tensor | None:
    """A mask of the frames whose places are listed, each once and at least two of them; None for anything else."""
    plain = leaf.dtype in (torch.int32, torch.int64) and leaf.ndim in (1, 2) and leaf.shape[-1] > 1
    if not plain or (leaf.ndim == 2 and len(leaf) != batch_size):
        return None
    places = leaf.detach().cpu().long().expand(batch_size, -1)
    ordered = places.sort(dim=1).values
    if int(places.min()) < 0 or not bool((ordered[:, 1:] > ordered[:, :-1]).all()):
        return None
    masked = torch.zeros(batch_size, int(places.max()) + 1, dtype=torch.bool)
    return masked.scatter_(1, places, True)


def _boolean(leaf: Tensor) -> Tensor | None:
    if leaf.dtype != torch.bool and bool(((leaf != 0) & (leaf != 1)).any()):
        return None
    return leaf.detach().bool().cpu()


def _changes_twice(mask: Tensor) -> bool:
    return bool(((mask[:, 1:] ^ mask[:, :-1]).sum(dim=1) > 1).any())


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
