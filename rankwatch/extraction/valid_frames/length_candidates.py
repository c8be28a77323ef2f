"""What in a call or a batch could say how long each utterance is."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from rankwatch.extraction.inputs.call_arguments import named_arguments, waveform_like, waveform_lists
from rankwatch.extraction.inputs.containers import is_numbers, walk

Unit = Literal["integer", "fraction", "mask"]

_FOREIGN = frozenset(
    {
        *("target", "targets", "label", "labels", "id", "ids", "idx", "index", "indices", "speaker", "spk"),
        *("text", "token", "tokens", "transcript", "phone", "phones", "unit", "units", "noise", "negative"),
    }
)
_LENGTH_NAMES = re.compile(r"len(s|gth|gths)?$|(num|n)_?(samples|frames)$|(attention|padding|pad)_?mask$")
_PADDING_NAMES = re.compile(r"pad")
_MASKED = -1000.0  # a score that is no larger than this counts as minus infinity


@dataclass(frozen=True)
class Candidate:
    """A field that has the form of lengths.

    Attributes:
        place: ``"argument"`` (of the backbone's call), ``"batch"``, or ``"list"`` (of waveforms).
        path: Dotted path within its place.
        unit: ``"integer"``, ``"fraction"`` of the longest, or ``"mask"``.
        values: (B,) on the CPU: int64 counts (of a mask: its valid positions), or float64 fractions.
        axis: Positions of a mask, T; None otherwise.
        named: Whether its name says that it holds lengths, so that it is not passed over in silence.
        problem: Why it can't be used; empty where it can.
    """

    place: str
    path: str
    unit: Unit
    values: Tensor
    axis: int | None = None
    named: bool = False
    problem: str = ""

    @property
    def name(self) -> str:
        """Where it was found, in words."""
        if self.place == "list":
            return "the lengths of the list's waveforms"
        if self.place == "argument":
            return f"argument {self.path!r}"
        return f"field {self.path!r} of the batch" if self.path else "the batch"


def input_candidates(
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
    batch: Any,
    *,
    batch_size: int | None = None,
    forward: Callable[..., Any] | inspect.Signature | None = None,
) -> list[Candidate]:
    """All fields of a call and of the batch behind it that could be lengths.

    That is: integers (B,), not negative; fractions (B,) in (0, 1] whose largest is 1; 0/1 masks (B, T) of
    either polarity whose valid part is a prefix; attention masks (B, 1, 1, T) or (B, heads, T, T), also as what is
    added to scores; and a list of B waveforms, each of its own length. What is named like lengths and isn't any of
    this comes with a `problem`. Names that speak of targets, labels, indices, identities, texts or noise are none.

    Args:
        args: Positional arguments of the backbone's call.
        kwargs: Its keyword arguments.
        batch: The loader's batch: tensors, tuples, dicts, named tuples, dataclasses, nested.
        batch_size: B; by default that of the first floating tensor of at least two axes.
        forward: The backbone's forward pass or its signature, which names positional arguments.

    Returns:
        The candidates, arguments first.

    Example:
        >>> lengths = torch.tensor([9, 5])
        >>> batch = {"audio": torch.zeros(2, 9), "audio_len": lengths, "target_len": lengths}
        >>> [(c.name, c.values.tolist()) for c in input_candidates((), {}, batch)]
        [("field 'audio_len' of the batch", [9, 5])]
    """
    arguments = named_arguments(args, kwargs, forward)
    lists = waveform_lists(arguments, batch)
    if batch_size is None and lists:
        batch_size = len(lists[0][1])
    if batch_size is None:
        audio = waveform_like(arguments, batch)
        batch_size = audio[0][1].shape[0] if audio else 0
    found: list[Candidate] = []
    taken: set[int] = set()
    for place, thing in (("argument", arguments), ("batch", batch)):
        for path, leaf in walk(thing):
            if is_foreign(path) or id(leaf) in taken:
                continue
            candidate = as_candidate(leaf, batch_size, place, path)
            if candidate is not None:
                found.append(candidate)
                taken.add(id(leaf))  # most arguments come from the batch
    return found or [_of_list(path, waves) for path, waves in lists[:1] if len(waves) == batch_size]


def _of_list(path: str, waves: Sequence[Tensor]) -> Candidate:
    return Candidate("list", path, "integer", torch.tensor([len(wave) for wave in waves]), None, named=True)


def is_foreign(path: str) -> bool:
    """Whether the name of a field says that it is about something other than the audio's length."""
    words = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", path).lower()
    return any(token in _FOREIGN for token in re.split(r"[._]", words))


def as_candidate(leaf: Any, batch_size: int, place: str, path: str, asked: bool = False) -> Candidate | None:
    """`leaf` as lengths, if it has the form of such; `asked` for, it counts as named like some."""
    value = _as_tensor(leaf)
    value = _mask_of_keys(value, batch_size) if value is not None else None
    last = path.rpartition(".")[2].lower()
    named = asked or _LENGTH_NAMES.search(last) is not None
    if value is None or value.shape[:1] != (batch_size,) or batch_size == 0:
        return None
    if value.ndim == 2 and value.shape[1] == 1 and value.dtype != torch.bool:
        value = value[:, 0]
    candidate = None
    if value.ndim == 1 and value.dtype != torch.bool:
        candidate = _vector(value.detach().cpu(), place, path, named)
    elif value.ndim == 2 and value.shape[1] > 1:
        candidate = _mask(value.detach(), place, path, last, named)
    return candidate if candidate is not None and (named or not candidate.problem) else None


def _mask_of_keys(value: Tensor, batch_size: int) -> Tensor:
    """Of an attention mask which keys it lets through: (B, 1, 1, T), (B, heads, T, T), or added to scores as -inf.

    Also (B * heads, T, T), as torch.nn.MultiheadAttention takes it. A key is valid if any position may look at it,
    which holds under a causal mask as well.

    Returns:
        A boolean (B, T), or the value itself where it is no such mask.
    """
    square = value.ndim == 2 or (value.ndim in (3, 4) and value.shape[-2] in (1, value.shape[-1]))
    if not square or value.numel() == 0 or (value.ndim == 2 and not value.is_floating_point()):
        return value
    if value.is_floating_point():
        # Of a waveform one row is enough to see that it is none.
        if bool(((value[0] != 0) & (value[0] > _MASKED)).any()) or not bool((value <= _MASKED).any()):
            return value
        allowed = value > _MASKED
        if not bool((value[allowed] == 0).all()):
            return value
    elif value.dtype == torch.bool or bool(((value == 0) | (value == 1)).all()):
        allowed = _allowed(value != 0)
    else:
        return value
    if allowed.ndim == 3 and batch_size > 0 and len(allowed) > batch_size and len(allowed) % batch_size == 0:
        allowed = allowed.reshape(batch_size, -1, *allowed.shape[1:])
    return allowed if allowed.ndim == 2 else allowed.flatten(1, -2).any(dim=1)


def _allowed(mask: Tensor) -> Tensor:
    """A boolean mask as True = may be looked at, whichever of torch's two conventions it follows.

    The first frame is always valid and looks at itself: a square mask in which it doesn't, says what is hidden, as
    torch.nn.MultiheadAttention has it, and not what is seen, as scaled_dot_product_attention has it.

    Returns:
        The mask, turned round where it says what is hidden.
    """
    hidden = mask.ndim > 2 and 1 < mask.shape[-1] == mask.shape[-2] and not bool(mask[..., 0, 0].any())
    return ~mask if hidden else mask


def _vector(value: Tensor, place: str, path: str, named: bool) -> Candidate:
    """(B,) counts or fractions; whole numbers above 1 are counts, also as floats."""
    whole = not value.is_floating_point() or (bool((value == value.round()).all()) and float(value.max()) > 1)
    if whole:
        problem = "negative" if float(value.min()) < 0 else ""
        # Floats without a name that says so are no counts: who knows what they are.
        problem = problem or ("not integers" if value.is_floating_point() and not named else "")
        return Candidate(place, path, "integer", value.long(), None, named, problem)
    fractions = value.double()
    within = bool((fractions >= 0).all()) and float(fractions.max()) <= 1 + 1e-4
    problem = "" if within else "fractions outside (0, 1]"
    if within and not named and not (bool((fractions > 0).all()) and float(fractions.max()) > 1 - 1e-4):
        problem = "the largest fraction is not 1"
    return Candidate(place, path, "fraction", fractions.clamp(max=1) if within else fractions, None, named, problem)


def _as_tensor(leaf: Any) -> Tensor | None:
    if isinstance(leaf, Tensor):
        return None if leaf.is_nested or leaf.is_complex() else leaf
    if isinstance(leaf, np.ndarray) and leaf.dtype.kind in "iufb":
        return torch.as_tensor(leaf)
    return torch.tensor(list(leaf)) if is_numbers(leaf) else None


def _mask(value: Tensor, place: str, path: str, name: str, named: bool) -> Candidate | None:
    """(B, T) of 0 and 1 whose valid part is a prefix of each row.

    A row that changes once starts with its valid part, which tells the polarity; so does a row that doesn't
    change at all if it is the only kind there is. Otherwise the name decides.

    Returns:
        The lengths that the mask says, or None where it is no padding mask.
    """
    if value.is_floating_point() and bool(((value[0] != 0) & (value[0] != 1)).any()):
        return None  # a waveform: one row is enough to see it
    if bool(((value != 0) & (value != 1)).any()):
        return None
    mask = value != 0
    # What the user named, or is named like lengths, means 1 = valid unless it speaks of padding.
    hint = _PADDING_NAMES.search(name) is None if named else None
    changes = mask[:, 1:] ^ mask[:, :-1]
    first, mixed = mask[:, 0], changes.any(dim=1)
    polarities = set(first[mixed].tolist() if bool(mixed.any()) else first.tolist())
    problem = ""
    if bool((changes.sum(dim=1) > 1).any()) or (len(polarities) > 1 and bool(mixed.any())):
        problem = "not one valid prefix in each row"
    elif not bool(mixed.any()) and not named:
        problem = "constant rows"  # silence, or labels that are all 0
    elif len(polarities) > 1 and hint is None:
        problem = "polarity unknown"
    valid = polarities.pop() if len(polarities) == 1 else hint is not False
    lengths = (mask == valid).sum(dim=1).cpu()
    if not problem and valid != hint and int(lengths.max()) < mask.shape[1]:
        problem = "no row is valid throughout: padded on the left?"
    return Candidate(place, path, "mask", lengths, mask.shape[1], named, problem)


def told(candidate: Candidate) -> str:
    """Its name, its first values, and what is wrong with it."""
    return f"{candidate.name} = {few(candidate.values)}{f' ({candidate.problem})' if candidate.problem else ''}"


def few(values: Tensor) -> str:
    """The first of them."""
    return f"[{', '.join(f'{v:g}' for v in values[:6].tolist())}{', ...' if len(values) > 6 else ''}]"
