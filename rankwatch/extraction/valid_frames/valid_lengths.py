"""How many frames of each layer are valid, and how that is known."""

from __future__ import annotations

from collections.abc import Callable, Sequence, Set
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from rankwatch.extraction.inputs.call_arguments import look_up
from rankwatch.extraction.valid_frames.downsampling import TRIM, padded_inside, to_frames
from rankwatch.extraction.valid_frames.length_candidates import Candidate, as_candidate, few, told
from rankwatch.extraction.valid_frames.length_matching import Inputs, advice, fit, visibly_padded
from rankwatch.extraction.valid_frames.observed_outputs import Observed

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
        added: Frames behind all of these that the model added inside of itself.
    """

    frames: Tensor
    source: str
    added: int = 0


def resolve_lengths(
    observed: Sequence[Observed],
    found: Sequence[Candidate],
    inputs: Inputs,
    *,
    batch: Any,
    spec: LengthSpec = "auto",
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
        found: What in the call and in the batch could be lengths, from `input_candidates`.
        inputs: The audio's axes and the model's downsampling, from `inputs_of`.
        batch: The loader's batch.
        spec: ``"auto"``; ``"none"`` (every frame is valid); a dotted path into the batch
            (``"net_input.lengths"``, ``"1"``); or a function of the batch. What is named or returned may be
            counts of samples or frames, fractions, or a mask.

    Returns:
        Per layer name (B,) int64 lengths on the CPU and where they come from.

    Example:
        >>> from torch import nn
        >>> from rankwatch.extraction.model.layers import find_layers
        >>> from rankwatch.extraction.valid_frames.length_candidates import input_candidates
        >>> from rankwatch.extraction.valid_frames.length_matching import inputs_of
        >>> layer = find_layers(nn.Sequential(nn.TransformerEncoderLayer(16, 2)))[0]
        >>> hidden = Observed(layer, torch.zeros(2, 50, 16))
        >>> batch = {"audio": torch.ones(2, 8000), "audio_len": torch.tensor([8000, 4000])}
        >>> inputs = inputs_of((), {}, batch, 2, None, [])
        >>> valid = resolve_lengths([hidden], input_candidates((), {}, batch), inputs, batch=batch)["0"]
        >>> valid.frames.tolist(), valid.source
        ([50, 25], "field 'audio_len' of the batch (samples, in proportion (to within a frame))")
    """
    if not observed:
        return {}
    observed = without_added(observed, inputs)
    if spec == "none":
        return {one.layer.name: _all_patches(one, _every(one, 'every frame (lengths="none")')) for one in observed}
    size = observed[0].hidden.shape[0]
    if spec != "auto":
        named = _specified(spec, batch, size)
        return {one.layer.name: _explicit(named, one, inputs) for one in observed}
    if size == 0:
        return {one.layer.name: _every(one, "no utterances") for one in observed}
    return {name: _all_patches(*pair) for name, pair in _found_lengths(observed, found, inputs).items()}


def _found_lengths(
    observed: Sequence[Observed], found: Sequence[Candidate], inputs: Inputs
) -> dict[str, tuple[Observed, Valid]]:
    own = [one for one in observed if not one.every and _is_own(one, found, inputs)]
    # A front end keeps the input's padding; blocks may have cropped theirs (nested tensors).
    whole = [one for one in own if one.layer.kind == "frontend"]
    valid: dict[str, tuple[Observed, Valid]] = {}
    same: dict[int, Valid] = {}  # most layers have as many frames as another
    # Front ends first: what is said of them holds for blocks with as many frames, and they add none inside.
    for one in sorted(observed, key=lambda one: one.layer.kind != "frontend"):
        frames = one.frames
        known = _every(one, one.every) if one.every else _given(one, own, TRIM) or _given(one, whole)
        if known is None and frames not in same:
            same[frames] = (
                _from_inputs(one, found, inputs, added=one.layer.kind != "frontend")
                or _given(one, own)
                or _every_or_refuse(one, found, inputs)
            )
        valid[one.layer.name] = one, known or same[frames]
    return valid


def without_added(observed: Sequence[Observed], inputs: Inputs) -> list[Observed]:
    """The outputs of a pass, with the frames set apart that a model has added inside of itself."""
    fronts = {one.frames for one in observed if one.layer.kind == "frontend" and one.per_frame == 1}
    return [replace(one, added=_added(one, fronts or inputs.unwatched)) for one in observed]


def _added(one: Observed, known: Set[int]) -> int:
    """Frames that a layer has more than the front end: fairseq fills them up to an even number inside its encoder."""
    if one.layer.kind == "frontend" or one.per_frame > 1 or one.every or one.frames in known:
        return 0
    return min((one.frames - frames for frames in known if one.frames in padded_inside(frames)), default=0)


def _all_patches(one: Observed, valid: Valid) -> Valid:
    """Positions instead of times, where a time has several."""
    if one.added:
        return Valid(valid.frames, f"{valid.source}, {one.added} added inside", one.added)
    if one.per_frame == 1 or one.every:
        return valid
    return Valid(valid.frames * one.per_frame, f"{valid.source}, {one.per_frame} patches each")


def _every(one: Observed, source: str) -> Valid:
    frames = one.hidden.shape[1] if one.every else one.frames
    return Valid(torch.full((one.hidden.shape[0],), frames, dtype=torch.int64), source)


def _is_own(one: Observed, found: Sequence[Candidate], inputs: Inputs) -> bool:
    """Whether the integers that a module returned together with its hidden states are lengths."""
    if one.lengths is None or one.lengths.shape != one.hidden.shape[:1]:
        return False
    lengths, frames = one.lengths.cpu().long(), one.frames
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
    frames = one.frames
    for giver in sorted(own, key=lambda other: (other is not one, abs(other.frames - frames))):
        assert giver.lengths is not None
        lengths, axis = giver.lengths.cpu().long(), giver.frames
        source = f"lengths given by {giver.layer.name}"
        if axis == frames:
            return Valid(lengths, source)
        if above is not None and frames < axis <= frames + above:
            return Valid(lengths.clamp(max=frames), f"{source}, {axis - frames} cut off")
        mapped = to_frames(lengths, axis, frames, []) if above is None else None
        if mapped is not None:
            return Valid(mapped[0], f"{source}, {mapped[1]}")
    return None


def _from_inputs(one: Observed, found: Sequence[Candidate], inputs: Inputs, added: bool) -> Valid | None:
    """From the arguments, else from the batch, if what fits there agrees to within a frame."""
    frames = one.frames
    fits = [it for it in (fit(candidate, frames, inputs, added=added) for candidate in found) if it is not None]
    for place in ("argument", "batch", "list"):
        here = [it for it in fits if it.candidate.place == place]
        chosen = [it for it in here if it.exact] or [it for it in here if it.candidate.named]
        # What goes through the model's own downsampling is exact, what is in proportion may be off by one.
        chosen.sort(key=lambda it: "in proportion" in it.words)
        if any(int((it.frames - chosen[0].frames).abs().max()) > 1 for it in chosen[1:]):
            raise AmbiguousLengths(
                f"layer {one.layer.name!r}, {frames} frames: several fields fit and disagree: "
                + "; ".join(f"{it.source} -> {few(it.frames)}" for it in chosen)
                + f". {advice(chosen[0].candidate, inputs)}"
            )
        if chosen:
            return Valid(chosen[0].frames, chosen[0].source)
    return None


def _every_or_refuse(one: Observed, found: Sequence[Candidate], inputs: Inputs) -> Valid:
    """Every frame, unless something says that this would be wrong."""
    frames = one.frames
    misfits = [candidate for candidate in found if candidate.named]
    if misfits:
        raise AmbiguousLengths(
            f"layer {one.layer.name!r}, {frames} frames: looks like lengths but doesn't fit: "
            + "; ".join(told(candidate) for candidate in misfits)
            + f" (time axes of the input: {sorted(inputs.axes)}). {advice(misfits[0], inputs)}"
        )
    if visibly_padded(inputs.audio, frames):
        raise AmbiguousLengths(
            f"layer {one.layer.name!r}: no lengths were found, but at least half of the waveforms end in "
            f"zeros of different lengths. {advice(None, inputs)}"
        )
    return _every(one, "every frame (no lengths found)")


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
    if one.every:
        return _every(one, one.every)
    found = fit(named, one.frames, inputs, asked=True)
    if found is None:
        raise ValueError(
            f"layer {one.layer.name!r}, {one.frames} frames: {told(named)} fits neither these "
            f"frames nor the time axes of the input ({sorted(inputs.axes)})"
        )
    return _all_patches(one, Valid(found.frames, found.source))
