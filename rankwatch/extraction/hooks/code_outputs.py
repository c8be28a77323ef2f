"""Which codes a quantizer has assigned in a call, by what it was given and what it returned.

What a quantizer gives differs; in this order:

- the logits of a Gumbel quantizer (fairseq's, Hugging Face's, SpeechBrain's, NeMo's: all call a `weight_proj`). The
  likeliest code of each frame and group counts, as in fairseq's ``code_perplexity``: without the noise, which makes
  a quantizer that doesn't listen to its input look as if it used all its codes;
- integers, one code for each frame, or for each frame and group (BEST-RQ's in the last of three axes, a codec's before
  the frames);
- one-hot rows (SpidR's), or shares that sum to one: the largest counts; of logits too, where the codebook is called so;
- a perplexity: under a name that says so, or second in a pair as in transformers; summed over groups.

Of a module that isn't known to be a quantizer by its class's name, more is asked (`assigned`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from rankwatch.extraction.inputs.code_groups import INTEGERS, MOST_GROUPS, GroupLayout, codes_by_frame, joined_groups
from rankwatch.extraction.inputs.containers import walk
from rankwatch.extraction.model.codebooks import Table
from rankwatch.extraction.model.quantizers import GROUP_NAMES, number_of

_PERPLEXITY = re.compile(r"(?i)perplex|ppl")
_PREDICTION = re.compile(r"(?i)pred|student|output")
_PADDING = re.compile(r"(?i)pad")


@dataclass(frozen=True)
class CodeAssignments:
    """What one call of a quantizer has used; on the model's device.

    Attributes:
        codes: (m, groups) int32, -1 where a frame doesn't count; None where only a perplexity is there.
        perplexity: Scalar, mean over groups; None where there are codes.
        valid: Scalar, whether these are codes at all; None where there is no doubt.
        size: The number of codes that the output shows; 0 where it shows none.
        predictions: (groups, V), the predicted probabilities of each code, summed over frames; None without a head.
        prediction_perplexity: Scalar, where the model itself reports it; else None.
    """

    codes: Tensor | None = None
    perplexity: Tensor | None = None
    valid: Tensor | None = None
    size: int = 0
    predictions: Tensor | None = None
    prediction_perplexity: Tensor | None = None


def integer_codes(
    output: Any, given: Sequence[Tensor] = (), size: int = 0, layout: GroupLayout | None = None
) -> Tensor | None:
    """The codes in the output of what is known to be a quantizer.

    Args:
        output: What it returned.
        given: The tensors that it was called with, whose frames show which axis is that of the groups.
        size: How many codes it has; 0 where that isn't known.
        layout: What its earlier calls have shown.

    Returns:
        (m, groups) from the largest tensor of integers, (B, T) or with an axis for groups anywhere; None without one.
    """
    inputs = _inputs(given)
    found = [leaf for leaf in _tensors(joined_groups(output, given)) if leaf.dtype in INTEGERS and leaf.ndim]
    found = [leaf for leaf in found if not any(_is_one_hot(leaf, x, size) for x in inputs)]
    if not found:
        return None
    codes = max(found, key=Tensor.numel).detach()
    layout = layout or GroupLayout()
    by_frame = next((some for x in inputs if (some := codes_by_frame(codes, x, layout)) is not None), None)
    return codes.reshape(-1, codes.shape[-1] if codes.ndim == 3 else 1) if by_frame is None else by_frame


def assigned(
    output: Any, given: Sequence[Tensor], table: Table, layout: GroupLayout | None = None
) -> CodeAssignments | None:
    """The codes in the output of a module that may be a quantizer.

    Args:
        output: What it returned.
        given: The tensors that it was called with.
        table: Its codebook, if it is one.
        layout: What its earlier calls have shown.

    Returns:
        Integers below V, one for each frame and group of the input, or the largest of each row of V shares that sum to
        one; None where there is nothing of the kind. Whether the numbers are what they should be is in `valid`.
    """
    inputs, layout = _inputs(given), layout or GroupLayout()
    own = {tensor.data_ptr() for tensor in given}
    leaves = [
        leaf.detach()
        for leaf in _tensors(joined_groups(output, given))
        if leaf.numel() and leaf.ndim and leaf.data_ptr() not in own
    ]
    if not inputs or not table.sizes:
        return None
    sizes = _without_width(table, inputs[0])
    likeliest = sizes[0]
    for leaf in sorted((leaf for leaf in leaves if leaf.dtype in INTEGERS), key=Tensor.numel, reverse=True):
        if _is_row_of_shares(leaf, inputs[0], likeliest):
            continue
        codes = next((found for x in inputs if (found := codes_by_frame(leaf, x, layout)) is not None), None)
        if codes is not None:
            valid = (leaf >= -1).all() & (leaf < likeliest).all() & (leaf >= 0).any()
            return CodeAssignments(codes=codes.int(), valid=valid, size=likeliest)
    for size in sizes:
        for leaf in leaves:
            if leaf.ndim >= 2 and leaf.shape[-1] in range(size, size * MOST_GROUPS + 1, size):
                return _largest(leaf, inputs[0], size, table, layout)
    return None


def _inputs(given: Sequence[Tensor]) -> list[Tensor]:
    return [tensor for tensor in given if tensor.is_floating_point() and tensor.ndim >= 2]


def _without_width(table: Table, x: Tensor) -> tuple[int, ...]:
    """How many codes there may be: a table may be stored as (width, V), and its width is that of the input's frames."""
    if table.said or len(table.sizes) != 2:
        return table.sizes
    rows, columns = table.sizes
    widths = {x.shape[-1], x.shape[1]}
    return (columns, rows) if rows in widths and columns not in widths else table.sizes


def _is_row_of_shares(leaf: Tensor, x: Tensor, size: int) -> bool:
    return leaf.ndim == x.ndim and leaf.shape[-1] == size and leaf.shape[:-1] == x.shape[:-1]


def _is_one_hot(leaf: Tensor, x: Tensor, size: int) -> bool:
    """Whether integers are rows of as many numbers as there are codes, or of more than a frame has groups."""
    return (leaf.shape[-1] == size or leaf.shape[-1] > MOST_GROUPS) and _is_row_of_shares(leaf, x, leaf.shape[-1])


def _largest(leaf: Tensor, x: Tensor, size: int, table: Table, layout: GroupLayout) -> CodeAssignments:
    """The largest of each `size` numbers in a row; rows of zeros don't count (padding)."""
    shares = leaf.float().reshape(-1, size)
    sums = shares.sum(dim=-1)
    counts = (sums - 1.0).abs() < 0.01
    valid = (shares > -1e-3).all() & (counts | (sums.abs() < 1e-3)).all() & counts.any()
    if table.named and size not in (table.width, x.shape[-1]):  # logits, or distances with their sign turned
        counts = torch.where(valid, counts, torch.ones_like(counts))
        valid = valid | ((shares < 0).any() & shares.isfinite().all())
    codes = torch.where(counts, shares.argmax(dim=-1), -1).int()
    by_frame = codes_by_frame(codes.reshape(leaf.shape[:-1]), x, layout) if leaf.shape[-1] == size else None
    if by_frame is not None:
        return CodeAssignments(codes=by_frame, valid=valid, size=size)
    groups = leaf.shape[-1] // size if leaf.shape[-1] > size else leaf.shape[-2] if leaf.ndim > x.ndim else 1
    return CodeAssignments(codes=codes.reshape(-1, groups), valid=valid, size=size)


def counting(codes: Tensor, given: Mapping[str, Any]) -> Tensor:
    """A copy with -1 where a boolean mask over frames that the quantizer was given says that they don't count.

    Args:
        codes: (m, groups).
        given: Arguments of the call by name: a mask counts where it is true, and one of padding where it isn't.

    Returns:
        (m, groups) int32.
    """
    codes = codes.to(torch.int32, copy=True)
    masks = [(path, leaf) for path, leaf in walk(given) if isinstance(leaf, Tensor) and leaf.dtype == torch.bool]
    for path, mask in masks:
        if mask.numel() == len(codes):
            counts = mask.detach().reshape(-1, 1)
            return torch.where(~counts if _PADDING.search(path) else counts, codes, -1)
    return codes


def own_perplexity(module: nn.Module, output: Any) -> CodeAssignments | None:
    """What a module itself reports.

    Args:
        module: The module.
        output: What it returned.

    Returns:
        A perplexity by its name, else the second of a pair; the mean over groups of what is their sum. That of the
        predictions stands apart. None where there is neither.
    """
    scalars = [(path, leaf) for path, leaf in walk(output) if _is_scalar(leaf)]
    groups = number_of(module, GROUP_NAMES)
    named = [(path.rpartition(".")[2], leaf) for path, leaf in scalars]
    named = [(name, leaf) for name, leaf in named if _PERPLEXITY.search(name)]
    found = [leaf for name, leaf in named if not _PREDICTION.search(name)]
    predicted = [leaf for name, leaf in named if _PREDICTION.search(name)]
    if groups is not None and isinstance(output, tuple) and len(output) == 2:
        found += [leaf for path, leaf in scalars if path == "1"]
    if not found:
        return None
    mean, *own = (one[0].detach().float() / (groups or 1) for one in (found, predicted) if one)
    return CodeAssignments(perplexity=mean, prediction_perplexity=own[0] if own else None)


def _tensors(thing: Any) -> Iterator[Tensor]:
    return (leaf for _, leaf in walk(thing) if isinstance(leaf, Tensor))


def _is_scalar(leaf: Any) -> bool:
    return isinstance(leaf, Tensor) and leaf.is_floating_point() and leaf.numel() == 1
