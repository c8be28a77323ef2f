"""Forward hooks that live for one forward pass."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any

from torch import Tensor, nn

from rankwatch.extraction.hooks.hook_handles import HookHandles
from rankwatch.extraction.hooks.safe_hooks import never_compiled, recomputing
from rankwatch.extraction.inputs.containers import map_tensors, walk
from rankwatch.extraction.model.layers import WatchedLayer


class LayerHooks:
    """Hooks on the watched layers, registered on entry and removed on exit.

    An ordinary training step sees none of them. While they are there, the output of the first firing of
    each layer is stored by reference until `take`; later firings of the same pass (weight sharing, a second view) are
    passed over. Where the model goes on to write into a layer's output (``x += ...``), that is seen at `take`, and from
    then on the output is copied when it fires.

    Args:
        layers: What to watch.
        active: Asked at each firing of a layer; False lets it pass (for taps that stay on during training).
        written: Names of layers whose outputs are written into, as far as they are known; is added to.
    """

    def __init__(
        self,
        layers: Sequence[WatchedLayer],
        active: Callable[[WatchedLayer], bool] = lambda _: True,
        written: set[str] | None = None,
    ) -> None:
        self.layers = list(layers)
        self._active = active
        self.written: set[str] = set() if written is None else written
        self._outputs: dict[str, tuple[Any, list[tuple[Tensor, int]]]] = {}
        self._handles = HookHandles()

    def __enter__(self) -> LayerHooks:
        for layer in self.layers:
            self._handles.after_call(layer.module, never_compiled(self._hook(layer)))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._handles.remove()
        self._outputs.clear()

    def place_again(self, *, splits: bool = True) -> None:
        """Follow layers that were compiled in place since; for hooks that stay on during training.

        Args:
            splits: Whether hooks may split graphs that aren't known; else they don't fire in these.
        """
        self._handles.place_again(splits=splits)

    def _hook(self, layer: WatchedLayer) -> Callable[[nn.Module, Any, Any, Any], None]:
        name = layer.name

        def hook(module: nn.Module, args: Any, kwargs: Any, output: Any) -> None:
            if recomputing() or not self._active(layer):
                return
            if name not in self._outputs:
                if name in self.written:
                    output = map_tensors(output, lambda tensor: tensor.detach().clone())
                self._outputs[name] = (output, _versions(output))

        return hook

    def take(self) -> dict[str, Any]:
        """The outputs since the last call, by layer name, in the order in which they fired.

        Those that were written into after their layer had fired are missing: they are no longer what it gave.

        Returns:
            Outputs as the layers returned them, tuples included.
        """
        fired, self._outputs = self._outputs, {}
        changed = {name for name, (_, versions) in fired.items() if any(t._version != v for t, v in versions)}
        self.written |= changed
        return {name: output for name, (output, _) in fired.items() if name not in changed}


def _versions(output: Any) -> list[tuple[Tensor, int]]:
    tensors = [leaf for _, leaf in walk(output) if isinstance(leaf, Tensor) and not leaf.is_inference()]
    return [(tensor, tensor._version) for tensor in tensors]
