"""A captured call with other audio in it."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from rankwatch.extraction.inputs.call_arguments import named_arguments
from rankwatch.extraction.inputs.containers import map_tensors, walk
from rankwatch.extraction.valid_frames.length_candidates import Candidate, as_candidate, is_foreign


def substitute(
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
    waveforms: Tensor,
    lengths: Tensor | None,
    signature: Callable[..., Any] | inspect.Signature | None = None,
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """A captured call with other audio: its waveforms and their lengths or mask exchanged, everything else as it was.

    Args:
        args: Positional arguments of the captured call.
        kwargs: Its keyword arguments.
        waveforms: (B', T') new audio.
        lengths: (B',) samples of each, or None if all are whole.
        signature: The backbone's forward pass or its signature, for names.

    Returns:
        New (args, kwargs). Counts, fractions and masks keep their dtype, a mask its polarity.

    Raises:
        ValueError: No single waveform tensor (B, T) or (B, 1, T) is in the call, or further tensors of its
            batch size, which can't be made for other audio; they are named.

    Example:
        >>> call = (torch.zeros(2, 800), torch.tensor([800, 500]))
        >>> (audio, lengths), _ = substitute(call, {}, torch.ones(3, 90), torch.tensor([90, 80, 70]))
        >>> audio.shape, lengths.tolist()
        (torch.Size([3, 90]), [90, 80, 70])
    """
    leaves = [(path, leaf) for path, leaf in walk(named_arguments(args, kwargs, signature)) if _is_tensor(leaf)]
    audio = [(path, leaf) for path, leaf in leaves if _is_mono(leaf)]
    if len(audio) > 1:
        audio = [(path, leaf) for path, leaf in audio if not bool(((leaf == 0) | (leaf == 1)).all())]
    if len({id(leaf) for _, leaf in audio}) != 1:
        found = ", ".join(f"{path} {tuple(leaf.shape)}" for path, leaf in audio) or "none"
        raise ValueError(f"expected one waveform tensor (B, T) in the backbone's call, found: {found}. {_ADVICE}")
    old = audio[0][1]
    full = torch.full((len(waveforms),), waveforms.shape[1], dtype=torch.int64, device=waveforms.device)
    given = full if lengths is None else lengths.to(waveforms.device)
    new: dict[int, Any] = {id(old): waveforms.reshape(len(waveforms), *old.shape[1:-1], -1).to(old.dtype)}
    others = []
    for path, leaf in leaves:
        if leaf is old or leaf.shape[:1] != old.shape[:1]:
            continue
        candidate = None if is_foreign(path) else as_candidate(leaf, len(old), "argument", path)
        value = None if candidate is None else _same_form(candidate, leaf, old, given, waveforms.shape[1])
        if value is None:
            others.append(f"{path} {tuple(leaf.shape)}")
        else:
            new[id(leaf)] = value
    if others:
        named = ", ".join(others)
        raise ValueError(f"the backbone's call has tensors that no other audio fits: {named}. {_ADVICE}")

    def exchanged(leaf: Tensor) -> Tensor:
        replacement: Tensor = new.get(id(leaf), leaf)
        return replacement

    made = tuple(map_tensors(list(args), exchanged)), map_tensors(dict(kwargs), exchanged)
    if any(id(leaf) in new for _, leaf in walk(made)):
        raise ValueError(f"the audio in the backbone's call lies where it can't be exchanged. {_ADVICE}")
    return made


_ADVICE = 'Pass a function of (module, batch) that runs it as the set\'s forward: AudioFolder("folder", forward=f).'


def _is_tensor(leaf: Any) -> bool:
    return isinstance(leaf, Tensor) and leaf.ndim > 0


def _is_mono(leaf: Tensor) -> bool:
    mono = leaf.ndim == 2 or (leaf.ndim == 3 and leaf.shape[1] == 1)
    return leaf.is_floating_point() and mono and leaf.shape[-1] > 1


def _same_form(candidate: Candidate, leaf: Tensor, old: Tensor, lengths: Tensor, axis: int) -> Tensor | None:
    """The new lengths as counts, fractions or a mask, like the old ones; None if those weren't of samples."""
    samples = old.shape[-1]
    if candidate.unit == "fraction":
        return (lengths.double() / max(int(lengths.max()), 1)).to(leaf).reshape(-1, *leaf.shape[1:])
    if candidate.unit == "integer":
        return lengths.to(leaf).reshape(-1, *leaf.shape[1:]) if int(candidate.values.max()) == samples else None
    if candidate.axis != samples:
        return None
    valid = torch.arange(axis, device=lengths.device) < lengths[:, None]
    row = int(candidate.values.argmax())
    return (valid == bool(leaf[row, 0])).to(leaf)
