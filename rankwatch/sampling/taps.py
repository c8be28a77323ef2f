"""Forward hooks that live for one forward pass."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any

import torch
from torch import nn
from torch.utils.hooks import RemovableHandle

from rankwatch.sampling.discovery import WatchedLayer
from rankwatch.sampling.undisturbed import never_compiled


class Taps:
    """Hooks on the watched layers, registered on entry and removed on exit.

    An ordinary training step sees none of them. While they are there, the output of the first firing of
    each layer is kept by reference until `take`; later firings of the same pass (weight sharing, a second view) are
    passed over.

    Args:
        layers: What to watch.
        active: Asked at each firing; False lets it pass (for taps that stay on during training).
    """

    def __init__(self, layers: Sequence[WatchedLayer], active: Callable[[], bool] = lambda: True) -> None:
        self.layers = list(layers)
        self._active = active
        self._outputs: dict[str, Any] = {}
        self._handles: list[RemovableHandle] = []

    def __enter__(self) -> Taps:
        for layer in self.layers:
            hook = never_compiled(self._hook(layer.name))
            self._handles.append(layer.module.register_forward_hook(hook, with_kwargs=True))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for handle in self._handles:
            handle.remove()
        self._handles.clear()
        self._outputs.clear()

    def _hook(self, name: str) -> Callable[[nn.Module, Any, Any, Any], None]:
        def hook(module: nn.Module, args: Any, kwargs: Any, output: Any) -> None:
            if _recomputing() or not self._active():
                return
            self._outputs.setdefault(name, output)

        return hook

    def take(self) -> dict[str, Any]:
        """The outputs since the last call, by layer name, in the order in which they fired."""
        outputs, self._outputs = self._outputs, {}
        return outputs


def _recomputing() -> bool:
    """Whether this is activation checkpointing's second pass, inside backward."""
    task_id = getattr(torch._C, "_current_graph_task_id", None)
    return task_id is not None and task_id() != -1
