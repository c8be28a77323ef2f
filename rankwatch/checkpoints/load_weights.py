"""Weights of a checkpoint put into a model, with everything named that doesn't fit."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from rankwatch.checkpoints.weight_names import canonical, few_names, match_names

MOST_MISSING = 0.5
"""Share of the model's weights from which on a checkpoint is one of another model, whatever the caller allows."""


class UnfittingWeightsError(ValueError):
    """A checkpoint whose weights aren't this model's."""


@dataclass(frozen=True)
class LoadedWeights:
    """What came of it.

    Attributes:
        prefix: What the checkpoint's names begin with, and the model's don't.
        missing: Weights of the model that the checkpoint doesn't have, by the model's names; they are as before.
        unexpected: Weights under the prefix that the model doesn't have, by the checkpoint's names.
        misshapen: Weights of another shape, with both shapes; they are as before.
    """

    prefix: str
    missing: tuple[str, ...]
    unexpected: tuple[str, ...]
    misshapen: tuple[str, ...]

    @property
    def untouched(self) -> tuple[str, ...]:
        """Weights that are as they were before."""
        return (*self.missing, *(text.partition(" ")[0] for text in self.misshapen))


def load_weights(
    model: nn.Module,
    weights: Mapping[str, Tensor],
    *,
    prefix: str | None = None,
    partly: bool = False,
    source: object = "the checkpoint",
) -> LoadedWeights:
    """Put weights into a model, in place.

    Args:
        model: Of which all weights are wanted. Parameters keep their dtype and device.
        weights: By name; names may have a prefix, and parts that DDP, torch.compile and FSDP add.
        prefix: What the checkpoint's names begin with; found where it isn't said.
        partly: Whether some of the model's weights may be missing or of another shape: at most half of all numbers in
            it; else none may.
        source: Of the weights, for messages.

    Returns:
        What was loaded, and what doesn't fit.

    Raises:
        UnfittingWeightsError: If weights are missing or of another shape that may not be, or if two prefixes fit
            equally well; the model is as before then.
    """
    own = model.state_dict()
    own = {name: value for name, value in own.items() if isinstance(value, Tensor)}
    kind = type(model).__name__
    match = match_names(own, weights, prefix)
    if not match.names:
        under = f" under {prefix!r}" if prefix else ""
        raise UnfittingWeightsError(f"{source} holds no weights of {kind}{under} (it has {few_names(weights)})")
    if match.equally:
        several = ", ".join(repr(one.rstrip(".")) for one in (match.prefix, *match.equally))
        raise UnfittingWeightsError(f"{source} holds {kind} more than once: say which with weights, one of {several}")
    fitting = {name: held for name, held in match.names.items() if weights[held].shape == own[name].shape}
    others = set(weights) - set(match.names.values())
    loaded = LoadedWeights(
        match.prefix,
        tuple(name for name in own if name not in match.names and not _is_tied(name, own, fitting)),
        tuple(sorted(held for held in others if canonical(held).startswith(match.prefix))),
        tuple(
            f"{name} {tuple(weights[held].shape)} instead of {tuple(own[name].shape)}"
            for name, held in match.names.items()
            if name not in fitting
        ),
    )
    _refuse_unfitting(loaded, own, kind, source, partly=partly)
    with torch.no_grad():
        model.load_state_dict({name: weights[held] for name, held in fitting.items()}, strict=False)
    return loaded


def _is_tied(name: str, own: Mapping[str, Tensor], loaded: Iterable[str]) -> bool:
    """Whether it shares its memory with one that is loaded: then it is stored once."""
    pointer = own[name].data_ptr()
    return pointer != 0 and any(
        own[other].data_ptr() == pointer and own[other].shape == own[name].shape for other in loaded
    )


def _refuse_unfitting(
    loaded: LoadedWeights, own: Mapping[str, Tensor], kind: str, source: object, *, partly: bool
) -> None:
    untouched = sum(own[name].numel() for name in loaded.untouched)
    if partly and untouched <= MOST_MISSING * sum(value.numel() for value in own.values()):
        return
    said = []
    if loaded.missing:
        said.append(f"lacks {len(loaded.missing)} weights of {kind}: {few_names(loaded.missing)}")
    if loaded.misshapen:
        said.append(f"does not fit {kind}: {few_names(loaded.misshapen)}")
    if said:
        raise UnfittingWeightsError(f"{source} {'; it '.join(said)}{_other_model(loaded)}")


def _other_model(loaded: LoadedWeights) -> str:
    return f"; it has others instead: {few_names(loaded.unexpected)}" if loaded.unexpected else ""
