"""How many frames of each layer are valid, and how that is known."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from rankwatch.extraction.inputs.call_arguments import look_up
from rankwatch.extraction.model.layers import WatchedLayer
from rankwatch.extraction.valid_frames.downsampling import TRIM, to_frames
from rankwatch.extraction.valid_frames.length_candidates import Candidate, as_candidate, input_candidates
from rankwatch.extraction.valid_frames.length_matching import Inputs, advice, fit, inputs_of, visibly_padded

__all__ = [
    *("AmbiguousLengths", "Candidate", "LengthSpec", "Observed", "Valid"),
    *("input_candidates", "resolve_lengths"),
]

LengthSpec = str | Callable[[Any], Any]
"""``"auto"``, ``"none"``, a dotted path into the batch, or a function of the batch."""


class AmbiguousLengths(ValueError):  # noqa: N818 - said to the user by this name
    """Valid lengths can't be known; the message names the candidates and what to pass."""


@dataclass(frozen=True)
class Valid:
    """Valid frames of one layer.

    Attributes:
        frames: (B,) int64 on the CPU, between 0 and T.
        source: Where they come from, in words.
    """

    frames: Tensor
    source: str


@dataclass(frozen=True)
class Observed:
    """One layer's output of one forward pass.

    Attributes:
        layer: Where it comes from.
        hidden: (B, T, C), from `outputs.to_btc`.
        lengths: What the module itself gave as lengths, or None.
    """

    layer: WatchedLayer
    hidden: Tensor
    lengths: Tensor | None = None


def resolve_lengths(
    observed: Sequence[Observed],
    *,
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
    batch: Any,
    spec: LengthSpec = "auto",
    root: nn.Module | None = None,
    forward: Callable[..., Any] | inspect.Signature | None = None,
) -> dict[str, Valid]:
    """Valid frames of every observed layer.

    Sources, in this order: lengths that the module itself returned, or another layer of as many frames;
    masks, lengths and fractions among the arguments of the backbone's call; the same in the batch; the shapes
    (every frame). Lengths on the input's axis go through the model's own downsampling (`to_frames`). They are
    checked against T: none above, the longest within two frames of it.

    `AmbiguousLengths` is raised where candidates fit and disagree, where one that is named like lengths does not, and
    where none is there though most waveforms end in zeros of different lengths; ValueError where `spec` names nothing,
    or something that can't be the lengths of this batch.

    Args:
        observed: Layers of one forward pass, all with the same B.
        args: Positional arguments of the backbone's call.
        kwargs: Its keyword arguments.
        batch: The loader's batch.
        spec: ``"auto"``; ``"none"`` (every frame is valid); a dotted path into the batch
            (``"net_input.lengths"``, ``"1"``); or a function of the batch. What is named or returned may be
            counts of samples or frames, fractions, or a mask.
        root: The model, for its convolutions.
        forward: The backbone's forward pass, which names positional arguments.

    Returns:
        Per layer name (B,) int64 lengths on the CPU and where they come from.

    Example:
        >>> from rankwatch.extraction.model.layers import find_layers
        >>> layer = find_layers(nn.Sequential(nn.TransformerEncoderLayer(16, 2)))[0]
        >>> hidden = Observed(layer, torch.zeros(2, 50, 16))
        >>> batch = {"audio": torch.ones(2, 8000), "audio_len": torch.tensor([8000, 4000])}
        >>> valid = resolve_lengths([hidden], args=(), kwargs={}, batch=batch)["0"]
        >>> valid.frames.tolist(), valid.source
        ([50, 25], "field 'audio_len' of the batch (samples, in proportion (to within a frame))")
    """
    if not observed:
        return {}
    if spec == "none":
        return {one.layer.name: _every(one.hidden, 'every frame (lengths="none")') for one in observed}
    size = observed[0].hidden.shape[0]
    front_ends = [one.layer.module for one in observed if one.layer.kind == "frontend"]
    inputs = inputs_of(args, kwargs, batch, size, root, front_ends)
    if spec != "auto":
        named = _specified(spec, batch, size)
        return {one.layer.name: _explicit(named, one, inputs) for one in observed}
    if size == 0:
        return {one.layer.name: _every(one.hidden, "no utterances") for one in observed}
    found = input_candidates(args, kwargs, batch, batch_size=size, forward=forward)
    own = [one for one in observed if _is_own(one, found, inputs)]
    # A front end keeps the input's padding; blocks may have cropped theirs (nested tensors).
    whole = [one for one in own if one.layer.kind == "frontend"]
    valid: dict[str, Valid] = {}
    same: dict[int, Valid] = {}  # most layers have as many frames as another
    for one in observed:
        frames = one.hidden.shape[1]
        given = _given(one, own, TRIM) or _given(one, whole)
        if given is None and frames not in same:
            known = _from_inputs(one, found, inputs) or _given(one, own)
            same[frames] = known or _every_or_refuse(one, found, inputs)
        valid[one.layer.name] = given or same[frames]
    return valid


def _every(hidden: Tensor, source: str) -> Valid:
    return Valid(torch.full((hidden.shape[0],), hidden.shape[1], dtype=torch.int64), source)


def _is_own(one: Observed, found: Sequence[Candidate], inputs: Inputs) -> bool:
    """Whether the integers that a module returned together with its hidden states are lengths."""
    if one.lengths is None or one.lengths.shape != one.hidden.shape[:1]:
        return False
    lengths, frames = one.lengths.cpu().long(), one.hidden.shape[1]
    if int(lengths.min()) < 0 or int(lengths.max()) > frames:
        return False
    if int(lengths.max()) >= frames - TRIM or one.layer.kind == "frontend":
        return True
    # A batch padded further than its longest utterance: somebody else has to say so as well.
    fits = [fit(candidate, frames, inputs, asked=True) for candidate in found]
    return any(it is not None and torch.equal(it.frames, lengths) for it in fits)


def _given(one: Observed, own: Sequence[Observed], above: int | None = None) -> Valid | None:
    """Lengths from this module's output or from another's with as many frames, up to `above` more.

    With None from the other that is nearest in its number of frames, in proportion.

    Returns:
        The lengths and where they come from, or None where no module returned any.
    """
    frames = one.hidden.shape[1]
    for giver in sorted(own, key=lambda other: (other is not one, abs(other.hidden.shape[1] - frames))):
        assert giver.lengths is not None
        lengths, axis = giver.lengths.cpu().long(), giver.hidden.shape[1]
        source = f"lengths given by {giver.layer.name}"
        if axis == frames:
            return Valid(lengths, source)
        if above is not None and frames < axis <= frames + above:
            return Valid(lengths.clamp(max=frames), f"{source}, {axis - frames} cut off")
        mapped = to_frames(lengths, axis, frames, []) if above is None else None
        if mapped is not None:
            return Valid(mapped[0], f"{source}, {mapped[1]}")
    return None


def _from_inputs(one: Observed, found: Sequence[Candidate], inputs: Inputs) -> Valid | None:
    """From the arguments, else from the batch, if what fits there agrees to within a frame."""
    frames = one.hidden.shape[1]
    fits = [it for it in (fit(candidate, frames, inputs) for candidate in found) if it is not None]
    for place in ("argument", "batch"):
        here = [it for it in fits if it.candidate.place == place]
        chosen = [it for it in here if it.exact] or [it for it in here if it.candidate.named]
        # What goes through the model's own downsampling is exact, what is in proportion may be off by one.
        chosen.sort(key=lambda it: "in proportion" in it.words)
        if any(int((it.frames - chosen[0].frames).abs().max()) > 1 for it in chosen[1:]):
            raise AmbiguousLengths(
                f"layer {one.layer.name!r}, {frames} frames: several fields fit and disagree: "
                + "; ".join(f"{it.source} -> {_few(it.frames)}" for it in chosen)
                + f". {advice(chosen[0].candidate, inputs)}"
            )
        if chosen:
            return Valid(chosen[0].frames, chosen[0].source)
    return None


def _every_or_refuse(one: Observed, found: Sequence[Candidate], inputs: Inputs) -> Valid:
    """Every frame, unless something says that this would be wrong."""
    frames = one.hidden.shape[1]
    misfits = [candidate for candidate in found if candidate.named]
    if misfits:
        raise AmbiguousLengths(
            f"layer {one.layer.name!r}, {frames} frames: looks like lengths but doesn't fit: "
            + "; ".join(_told(candidate) for candidate in misfits)
            + f" (time axes of the input: {sorted(inputs.axes)}). {advice(misfits[0], inputs)}"
        )
    if visibly_padded(inputs.audio, frames):
        raise AmbiguousLengths(
            f"layer {one.layer.name!r}: no lengths were found, but at least half of the waveforms end in "
            f"zeros of different lengths. {advice(None, inputs)}"
        )
    return _every(one.hidden, "every frame (no lengths found)")


def _specified(spec: str | Callable[[Any], Any], batch: Any, size: int) -> Candidate:
    """What the user named, as lengths."""
    name = repr(spec) if isinstance(spec, str) else getattr(spec, "__name__", "a function")
    value = look_up(batch, spec) if isinstance(spec, str) else spec(batch)
    place, path = ("batch", spec) if isinstance(spec, str) else ("function", name)
    candidate = as_candidate(value, size, place, path, asked=True)
    if candidate is None or candidate.problem:
        got = f"shape {tuple(value.shape)}" if isinstance(value, Tensor) else f"a {type(value).__name__}"
        raise ValueError(
            f"rows=RowSampling(lengths={name}) can't be the lengths of this batch of {size}: it gave {got}"
            + (f", {candidate.problem}" if candidate is not None else "")
            + "; expected (B,) counts or fractions, or a (B, T) mask"
        )
    return candidate


def _explicit(named: Candidate, one: Observed, inputs: Inputs) -> Valid:
    found = fit(named, one.hidden.shape[1], inputs, asked=True)
    if found is None:
        raise ValueError(
            f"layer {one.layer.name!r}, {one.hidden.shape[1]} frames: {_told(named)} fits neither these "
            f"frames nor the time axes of the input ({sorted(inputs.axes)})"
        )
    return Valid(found.frames, found.source)


def _told(candidate: Candidate) -> str:
    problem = f" ({candidate.problem})" if candidate.problem else ""
    return f"{candidate.name} = {_few(candidate.values)}{problem}"


def _few(values: Tensor) -> str:
    return f"[{', '.join(f'{v:g}' for v in values[:6].tolist())}{', ...' if len(values) > 6 else ''}]"
