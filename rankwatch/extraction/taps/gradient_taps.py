"""Where a layer was tapped, by the gradients of its output: for training passes, in which nothing else may be done."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from rankwatch.extraction.taps.operations import JOINED, OTHER, RESIDUAL_SUM, SAME, SCALED, SUM, UNKNOWN, role_of

_MOST_STEPS = 64


def tap_by_gradients(hidden: Tensor) -> str:
    """Which operation made a tensor of a training pass, by the graph that autograd has recorded; it is only read.

    What happens to the tensor later isn't in there, so a branch before its residual sum is called what it is itself.

    Args:
        hidden: A layer's output.

    Returns:
        One of `TAPS`; `UNKNOWN` where there is no graph, or one of compiled code or of a function of the user's own.

    Example:
        >>> import torch
        >>> x, linear = torch.zeros(2, 5, 4, requires_grad=True), nn.Linear(4, 4)
        >>> tap_by_gradients((x + linear(x)).transpose(0, 1)), tap_by_gradients(nn.LayerNorm(4)(x))
        ('residual_sum', 'norm')
    """
    node: Any = hidden.grad_fn
    for _ in range(_MOST_STEPS):
        # Torch's own steps have a number at their end; compiled code's and users' functions don't.
        if node is None or not node.name()[-1:].isdigit():
            return UNKNOWN
        role = role_of(node.name().rpartition("::")[2])
        if role not in (SAME, SUM, SCALED, JOINED):
            return role
        operands = [(inner, place) for inner, place in node.next_functions if not _is_weight(inner)]
        computed = [(inner, place) for inner, place in operands if inner is not None]
        if role == SUM and len(operands) > 1:
            shapes = {_shape(inner, place) for inner, place in operands}
            return UNKNOWN if None in shapes else RESIDUAL_SUM if len(shapes) == 1 else OTHER
        if len(computed) > 1:
            return OTHER
        node = computed[0][0] if computed else None
    return UNKNOWN


def _is_weight(node: Any) -> bool:
    return isinstance(getattr(node, "variable", None), nn.Parameter)


def _shape(node: Any, place: int) -> tuple[int, ...] | None:
    """Of an operand; None where it needs no gradients, so that nothing is known of it."""
    variable = getattr(node, "variable", None)
    if variable is not None:
        return tuple(variable.shape)
    return None if node is None else tuple(node._input_metadata[place].shape)
