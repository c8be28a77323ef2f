"""Hooks that never raise, are never compiled and know activation checkpointing's second pass."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator
from typing import TypeVar

import torch


def recomputing() -> bool:
    """Whether this is activation checkpointing's second pass, inside backward."""
    task_id = getattr(torch._C, "_current_graph_task_id", None)
    return task_id is not None and task_id() != -1


def within_checkpoint() -> bool:
    """Whether the caller runs inside the first pass of a reentrant activation checkpoint.

    Such a pass runs without gradients: torch's with ``use_reentrant=True``, fairscale's, DeepSpeed's and Megatron's are
    all autograd functions, and run the block a second time in backward.

    Returns:
        Whether it is one of something that is trained: in a teacher's nothing that goes into it needs gradients.
    """
    frame = sys._getframe(1)
    while frame.f_back is not None:
        frame = frame.f_back
        code = frame.f_code
        if code.co_name == "forward" and code.co_varnames[:1] == ("ctx",):
            context = frame.f_locals.get("ctx")  # of a class that torch makes and names for the function
            if "Checkpoint" in type(context).__name__ and any(getattr(context, "needs_input_grad", ())):
                return True
    return False


_Hook = TypeVar("_Hook", bound=Callable[..., None])


@contextlib.contextmanager
def eager() -> Iterator[None]:
    """Compiled code runs eagerly inside, so hooks registered late do fire; its cache is kept.

    Without this a hook registered after the first compiled call silently never fires.
    """
    set_stance = getattr(torch.compiler, "set_stance", None)  # torch 2.6 and newer
    if set_stance is None:
        yield
        return
    with set_stance("force_eager"):
        yield


def never_compiled(hook: _Hook) -> _Hook:
    """A hook that `torch.compile` leaves alone: one graph break instead of a recompilation at every step."""
    disabled: _Hook = torch.compiler.disable(hook)  # type: ignore[no-untyped-call]
    return disabled


def outside_graphs(hook: Callable[..., None]) -> Callable[..., None]:
    """A hook that isn't there for `torch.compile`: where its module is part of a graph, nothing of it is in the graph.

    Args:
        hook: What it does outside of graphs; one that `never_compiled` made.

    Returns:
        The hook. It doesn't fire within a graph, which it leaves whole.
    """

    def outside(*args: object) -> None:
        if not torch.compiler.is_compiling():
            hook(*args)

    return outside if hasattr(torch.compiler, "is_compiling") else hook


def never_raising(hook: Callable[..., None], troubles: list[Exception]) -> Callable[..., None]:
    """A hook that never raises within the user's forward pass and that `torch.compile` leaves alone.

    Args:
        hook: What it does.
        troubles: Where an exception goes instead.

    Returns:
        The guarded hook.
    """

    def guarded(*args: object) -> None:
        try:
            hook(*args)
        except Exception as error:
            troubles.append(error)

    return never_compiled(guarded)
