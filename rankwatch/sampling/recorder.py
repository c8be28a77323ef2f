"""Hold back the backbone's own calls from the first training batches."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from lightning_utilities.core.apply_func import apply_to_collection
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from rankwatch.sampling.draw import fingerprint
from rankwatch.sampling.undisturbed import never_compiled


@dataclass(frozen=True)
class HeldCall:
    """One call of the backbone, with the batch it came from, on the CPU.

    Attributes:
        args: Positional arguments.
        kwargs: Keyword arguments.
        batch: The training batch (tensors shared with the arguments where they are the same).
        keys: (B,) int64, one per utterance.
    """

    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    batch: Any
    keys: Tensor


def primary_input(*things: Any) -> Tensor:
    """The tensor that holds the audio: the largest of at least two dimensions, floating ones first.

    Raises:
        ValueError: If there is none.
    """
    for thing in things:
        found: list[Tensor] = []
        apply_to_collection(thing, Tensor, found.append)
        wide = [tensor for tensor in found if tensor.dim() >= 2 and tensor.numel()]
        audio = [tensor for tensor in wide if tensor.is_floating_point()] or [t for t in wide if t.dtype == torch.int16]
        if audio:
            return max(audio, key=Tensor.numel)
    raise ValueError("no tensor of two or more dimensions holds audio or features: where are they?")


def utterance_keys(call: Any, batch: Any) -> Tensor:
    """One key for each utterance, from what the backbone was called with.

    Some backbones are called with time first, (T, B, C); the loader's batch tells how many utterances there are.
    """
    audio = primary_input(call, batch)
    try:
        size = primary_input(batch).shape[0]
    except ValueError:
        return fingerprint(audio)
    if audio.shape[0] != size and audio.dim() == 3 and audio.shape[1] == size:
        audio = audio.transpose(0, 1)
    return fingerprint(audio)


class Copies:
    """Copies of nested tensors; a tensor that turns up twice is copied once.

    Tensors are always copied, also from CPU to CPU: models and loaders write into their batches. The
    originals are held until this object goes, so that none of their identities is given to another tensor.

    Args:
        device: Where to; None copies nothing.
    """

    def __init__(self, device: torch.device | str | None) -> None:
        self._device = device
        self._memo: dict[int, tuple[Tensor, Tensor]] = {}

    def __call__(self, thing: Any) -> Any:
        """`thing` with its tensors copied; everything else is kept as it is."""
        return thing if self._device is None else apply_to_collection(thing, Tensor, self._copy)

    def _copy(self, tensor: Tensor) -> Tensor:
        if id(tensor) not in self._memo:
            self._memo[id(tensor)] = (tensor, tensor.detach().to(self._device, copy=True))
        return self._memo[id(tensor)][1]


class CallRecorder:
    """Records the call of the deepest module that contains all watched layers and really fires.

    Some parents are bypassed (their children are called one by one) and never fire, so all candidates get
    a pre-hook, and the deepest that fired in the first batch stays.

    Args:
        candidates: From `discovery.backbone_candidates`: (name, module), deepest first.
        device: Where recorded tensors are copied to; None records by reference, for calls that are soon forgotten.
    """

    def __init__(self, candidates: Sequence[tuple[str, nn.Module]], device: str | None = "cpu") -> None:
        self._candidates = _callable_from_outside(candidates)
        self._device = device
        self._calls: dict[int, tuple[tuple[Any, ...], dict[str, Any]]] = {}
        self._copies = Copies(device)
        self._armed = False
        self._handles: dict[int, RemovableHandle] = {}
        self.backbone: tuple[str, nn.Module] | None = None

    def install(self) -> None:
        """Register the pre-hooks."""
        for index, (_, module) in enumerate(self._candidates):
            hook = never_compiled(self._hook(index))
            self._handles[index] = module.register_forward_pre_hook(hook, with_kwargs=True)

    def remove(self) -> None:
        """Take every hook away; the training steps that follow see none."""
        for handle in self._handles.values():
            handle.remove()
        self._handles.clear()
        self._forget()

    def arm(self) -> None:
        """Record the next call of each candidate."""
        self._forget()
        self._armed = True

    def _forget(self) -> None:
        self._calls.clear()
        self._copies = Copies(self._device)
        self._armed = False

    def _hook(self, index: int) -> Callable[[nn.Module, Any, Any], None]:
        name, _ = self._candidates[index]

        def hook(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            if self._armed and index not in self._calls and not (name == "" and _redirected(module)):
                # Copied now: the model may go on to mask or normalise its input in place.
                self._calls[index] = self._copies((args, kwargs))

        return hook

    def take(self, batch: Any) -> HeldCall | None:
        """The call recorded since `arm`, or None if no candidate fired."""
        if not self._calls:
            self._forget()
            return None
        index = min(self._calls)
        self.backbone = self._candidates[index]
        args, kwargs = self._calls[index]
        held = HeldCall(args, kwargs, self._copies(batch), utterance_keys((args, kwargs), batch))
        for other in [i for i in self._handles if i != index]:
            self._handles.pop(other).remove()
        self._forget()
        return held


def _callable_from_outside(candidates: Sequence[tuple[str, nn.Module]]) -> list[tuple[str, nn.Module]]:
    """Leave out what lies within a compiled module: a hook there would break its graph, or the run (fullgraph)."""
    compiled = [m for _, m in candidates if hasattr(m, "_orig_mod") or getattr(m, "_compiled_call_impl", None)]
    inside = {id(child) for module in compiled for child in module.modules() if child is not module}
    inside |= {id(module) for module in compiled if not hasattr(module, "_orig_mod")}
    return [(name, module) for name, module in candidates if id(module) not in inside]


def _redirected(root: nn.Module) -> bool:
    """Whether this call of a LightningModule is really its training_step on the way through DDP.

    Lightning sends `training_step` through the wrapper's forward by replacing `root.forward` for a moment.
    """
    forward = root.__dict__.get("forward")
    return forward is not None and not inspect.ismethod(forward)
