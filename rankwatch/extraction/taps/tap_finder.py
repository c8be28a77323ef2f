"""Where layers are tapped, found out in one forward pass by what is done in it, not by names of classes."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from rankwatch.extraction.hooks.hook_handles import HookHandles
from rankwatch.extraction.hooks.safe_hooks import never_raising
from rankwatch.extraction.inputs.containers import walk
from rankwatch.extraction.model.compiled_modules import within_compiled
from rankwatch.extraction.model.layers import WatchedLayer
from rankwatch.extraction.taps.operations import BEFORE_SUM, NORM, RESIDUAL_SUM
from rankwatch.extraction.taps.tensor_origins import TensorOrigins, tap_of

_KNOWN_NORMS = [
    kind.forward for kind in (nn.LayerNorm, nn.GroupNorm, nn.modules.batchnorm._BatchNorm, nn.SyncBatchNorm)
] + [nn.modules.instancenorm._InstanceNorm.forward]
_WHOLE = ("frontend", "block")
"""Kinds of layers that end with what they give: a norm at their end is no branch's."""


class TapFinder:
    """Finds the taps of layers in the first forward pass that is made within `listening`.

    Every operation is followed from the layer's output back to the one that made it: views, casts, masks and dropout
    change nothing. What a layer is a branch of is seen by what is done with its output next. The pass itself runs as
    always, and nothing of it is kept.

    Args:
        root: The whole model.
        layers: Watched layers.
        hidden: Gives the hidden states in what a layer has returned, from the layer's name and that.
    """

    def __init__(self, root: nn.Module, layers: Sequence[WatchedLayer], hidden: Callable[[str, Any], Tensor]) -> None:
        self._root = root
        self._layers = layers
        self._hidden = hidden
        self._handles = HookHandles()
        self._troubles: list[Exception] = []
        self._taps: dict[str, str] = {}
        self._origins = TensorOrigins(self._add_before_sum)

    @property
    def taps(self) -> dict[str, str]:
        """What was found, one of `TAPS` by layer; nothing where something could not be followed."""
        return {} if self._origins.failed else dict(self._taps)

    @contextlib.contextmanager
    def listening(self) -> Iterator[None]:
        """Follow the operations of a forward pass; compiled code has to run eagerly inside."""
        try:
            with self._origins if self._place_hooks() else contextlib.nullcontext():
                yield
        finally:
            self._handles.remove()

    def _place_hooks(self) -> bool:
        """Whether operations can be followed at all: before torch 2.6 compiled code can't be run eagerly."""
        try:
            if not hasattr(torch.compiler, "set_stance") and within_compiled(self._root.modules()):
                return False
            for module in self._root.modules():
                if _is_written_out_norm(module):
                    self._handles.after_call(module, never_raising(self._after_norm, self._troubles))
            for layer in self._layers:
                self._handles.after_call(layer.module, never_raising(self._after(layer), self._troubles))
        except Exception as error:  # it is only about a word in the table
            self._troubles.append(error)
            return False
        return True

    def _after_norm(self, module: nn.Module, args: Any, kwargs: Any, output: Any) -> None:
        """A norm that is written out in single operations is one, too."""
        for _, leaf in walk(output):
            if isinstance(leaf, Tensor) and leaf.is_floating_point():
                self._origins.set(leaf, NORM)

    def _after(self, layer: WatchedLayer) -> Callable[..., None]:
        def hook(module: nn.Module, args: Any, kwargs: Any, output: Any) -> None:
            if layer.name in self._taps:
                return
            origin = self._origins.of(self._hidden(layer.name, output))
            tap = self._taps[layer.name] = tap_of(origin)
            is_end = tap == RESIDUAL_SUM or layer.kind == "frontend" or (tap == NORM and layer.kind in _WHOLE)
            if origin is not None and not is_end:
                origin.waiting.append(layer.name)

        return hook

    def _add_before_sum(self, layer: str) -> None:
        self._taps[layer] = BEFORE_SUM


def _is_written_out_norm(module: nn.Module) -> bool:
    """By its name, which every author gives it, and as one that holds no other modules (as ``PreNorm(f)`` does).

    Torch's own are operations that are known as norms, but for the newest; and a hook on one of them would keep
    `torch.nn.TransformerEncoderLayer` from its fast path.

    Returns:
        Whether a hook has to say that what it gives comes from a norm.
    """
    if "norm" not in type(module).__name__.lower() or module._modules or isinstance(module, torch.jit.ScriptModule):
        return False
    return type(module).forward not in _KNOWN_NORMS
