"""Which operation made a tensor: followed through all operations of a forward pass, by storage; no tensor is kept."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from rankwatch.extraction.taps.operations import (
    JOINED,
    NORM,
    OTHER,
    RESIDUAL_SUM,
    SAME,
    SCALED,
    SUM,
    UNKNOWN,
    role_of,
)

_CONSTANT = "constant"
"""Made without any hidden state: a mask, a parameter in another type."""


@dataclass(eq=False)
class Origin:
    """What made a tensor, shared by all tensors that hold the same numbers.

    Attributes:
        tap: One of `TAPS`.
        waiting: Layers that returned it, as long as nothing else was calculated from it.
    """

    tap: str
    waiting: list[str] = field(default_factory=list)


class TensorOrigins(TorchDispatchMode):
    """Knows of each tensor, while it is active, which operation made it.

    Operations run as they would without it. Of tensors only the address of their storage is remembered, which the next
    tensor that gets the same address overwrites.

    Args:
        before_sum: Called with the name of a layer whose output turns out to be added to something next.
    """

    supports_higher_order_operators = True

    def __init__(self, before_sum: Callable[[str], None]) -> None:
        super().__init__()  # type: ignore[no-untyped-call, unused-ignore]
        self._before_sum = before_sum
        self._origins: dict[int, Origin] = {}
        self.failed = False
        """Whether some operation could not be followed, so that nothing is certain any more."""

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        if not self.failed:
            try:
                self._follow(func, args, kwargs or {}, result)
            except Exception:  # nothing of ours may end a forward pass
                self.failed = True
        return result

    def of(self, tensor: Tensor) -> Origin | None:
        """What made a tensor; None where it came from outside."""
        return self._origins.get(_address(tensor))

    def set(self, tensor: Tensor, tap: str) -> Origin:
        """Say what a tensor is, whatever operations have made it.

        Args:
            tensor: The tensor.
            tap: One of `TAPS`.

        Returns:
            Its origin.
        """
        origin = self._origins[_address(tensor)] = Origin(tap)
        return origin

    def _follow(self, func: Any, args: Sequence[Any], kwargs: Mapping[str, Any], result: Any) -> None:
        made = [tensor for tensor in _tensors((result,)) if tensor.is_floating_point()]
        if not made:
            return
        inputs = [tensor for tensor in _tensors((*args, *kwargs.values())) if tensor.is_floating_point()]
        name = func.__name__.partition(".")[0]
        role = role_of(name) if getattr(func, "namespace", "aten") in ("aten", "prims", "higher_order") else UNKNOWN
        if name == "copy_" and len(inputs) > 1:
            inputs = inputs[1:]  # what was there before is gone
        if name == "_transformer_encoder_layer_fwd":
            role = _of_fused_layer(func, args, kwargs)
        origin = self._origin(role, inputs, made[0].numel())
        for tensor in made:
            if origin is None:
                self._origins.pop(_address(tensor), None)
            else:
                self._origins[_address(tensor)] = origin

    def _origin(self, role: str, inputs: Sequence[Tensor], size: int) -> Origin | None:
        """Where numbers come from that an operation has made; None for outside of what was followed."""
        if not inputs:
            return Origin(UNKNOWN if role == UNKNOWN else _CONSTANT)
        largest = max(inputs, key=Tensor.numel)
        if role == JOINED:  # a token or some padding before the frames, or equal parts
            role = SAME if 2 * largest.numel() > size else OTHER
        if role == SAME:
            return Origin(_CONSTANT) if isinstance(largest, nn.Parameter) else self.of(largest)
        if role not in (SUM, SCALED):
            self._used(inputs)
            return Origin(role)
        states = [tensor for tensor in inputs if self._is_state(tensor, size)]
        if len(states) == 1:
            return self.of(states[0])
        is_sum = role == SUM and len(states) > 1 and all(tensor.numel() == size for tensor in states)
        for origin in filter(None, map(self.of, states if is_sum else ())):
            for layer in origin.waiting:
                self._before_sum(layer)
        self._used(inputs)
        return Origin(RESIDUAL_SUM if is_sum else OTHER)

    def _is_state(self, tensor: Tensor, size: int) -> bool:
        """Whether it was calculated in this pass, or is as large as what is made and came from outside: no weight."""
        origin = self.of(tensor)
        if isinstance(tensor, nn.Parameter) or (origin is not None and origin.tap == _CONSTANT):
            return False
        return origin is not None or tensor.numel() == size

    def _used(self, inputs: Sequence[Tensor]) -> None:
        for origin in filter(None, map(self.of, inputs)):
            origin.waiting.clear()


def tap_of(origin: Origin | None) -> str:
    """The tap of a tensor with this origin."""
    return UNKNOWN if origin is None or origin.tap == _CONSTANT else origin.tap


def _of_fused_layer(func: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> str:
    """A whole `torch.nn.TransformerEncoderLayer` in one operation."""
    names = [argument.name for argument in func._schema.arguments]
    given = {**dict(zip(names, args, strict=False)), **kwargs}
    return RESIDUAL_SUM if given["norm_first"] else NORM


def _tensors(values: Sequence[Any]) -> Iterator[Tensor]:
    """Tensors among arguments, and in the lists and tuples among them."""
    for value in values:
        if isinstance(value, Tensor):
            yield value
        elif isinstance(value, (tuple, list)):
            yield from _tensors(value)


def _address(tensor: Tensor) -> int:
    try:
        return int(tensor.untyped_storage()._cdata)
    except (RuntimeError, NotImplementedError):  # nested and sparse tensors have none of their own
        return -id(tensor)
