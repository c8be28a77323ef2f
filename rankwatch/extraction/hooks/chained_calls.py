"""Models whose watched layers share no caller: their calls are recorded, and replayed, as if they were one."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from rankwatch.extraction.hooks.hook_handles import HookHandles
from rankwatch.extraction.hooks.safe_hooks import never_raising
from rankwatch.extraction.inputs.call_arguments import Named, by_name, made_by_training
from rankwatch.extraction.model.compiled_modules import may_be_split, within_compiled


class ChainedCalls(nn.Module):
    """Runs a front end, and the blocks on what it gave: one module made of two that no other calls.

    Args:
        front_end: Is called first.
        blocks: Is given its output as it is.
        links: Argument of the blocks -> position in the front end's output; also an attribute.
    """

    def __init__(self, front_end: nn.Module, blocks: nn.Module, links: Mapping[str, int]) -> None:
        super().__init__()
        self.front_end, self.blocks = front_end, blocks
        self.links = dict(links)

    def forward(self, front_end: Named, blocks: Named) -> Any:
        """Both calls, given the arguments of each by name."""
        given = _parts(self.front_end(**front_end))
        return self.blocks(**blocks, **{name: given[position] for name, position in self.links.items()})


class ParallelCalls(nn.Module):
    """Stands for modules that are called independently of each other: student and teacher.

    Args:
        parts: (path, module) of each, by the name under which a recorded call has its arguments.
    """

    def __init__(self, parts: Mapping[str, tuple[str, nn.Module]]) -> None:
        super().__init__()
        self.parts = dict(parts)
        self._all = nn.ModuleList(module for _, module in parts.values())

    def forward(self, **calls: Named) -> None:
        """Each call, given its arguments by name."""
        for name, call in calls.items():
            self.parts[name][1](**call)


class ChainedCallRecorder:
    """Records the calls of a front end and of the modules that contain all blocks, and how they are linked.

    Args:
        front_end: (path, module).
        candidates: Modules that contain all other watched layers, deepest first.
        root: What contains both; None where nothing around them is ever compiled.
    """

    def __init__(
        self,
        front_end: tuple[str, nn.Module],
        candidates: Sequence[tuple[str, nn.Module]],
        root: nn.Module | None = None,
    ) -> None:
        self._root = root
        self._front_end = front_end
        self._candidates = list(candidates)
        self._copy: Callable[[Any], Any] | None = None
        self._first: Named | None = None
        self._given: tuple[Any, ...] = ()
        self._versions: list[int] = []
        self._found: dict[int, tuple[Named, dict[str, int]]] = {}
        self._handles = HookHandles()
        self.troubles: list[Exception] = []

    def install(self) -> None:
        """Register the hooks."""
        _, front_end = self._front_end
        before, after = (never_raising(hook, self.troubles) for hook in (self._before_front_end, self._after_front_end))
        self._handles.before_call(front_end, before)
        self._handles.after_call(front_end, after)
        for index, (_, module) in enumerate(self._candidates):
            hook = never_raising(self._before_blocks(index), self.troubles)
            self._handles.before_call(module, hook)

    def place_again(self, uncalled: Collection[int] = ()) -> None:
        """Follow what was compiled since: no hook may lie within a compiled module.

        Args:
            uncalled: Identities of modules that were compiled, but are not called.
        """
        modules = list(self._root.modules()) if self._root is not None else []
        self._handles.place_again(within_compiled(modules, uncalled), splits=may_be_split(modules))

    def remove(self) -> None:
        """Take every hook away."""
        self._handles.remove()
        self.forget()

    def arm(self, copy: Callable[[Any], Any]) -> None:
        """Record the next calls; `copy` makes copies of nested tensors."""
        self.forget()
        self._copy = copy

    def forget(self) -> None:
        """Hold on to nothing."""
        self.troubles.clear()
        self._copy = self._first = None
        self._given, self._found = (), {}

    def take(self) -> tuple[str, ChainedCalls, Named] | None:
        """Paths, the two modules as one and its arguments; None where no blocks were given the front end's output."""
        if not self._found or self._first is None:
            return None
        index = min(self._found)
        second, links = self._found[index]
        path, blocks = self._candidates[index]
        relay = ChainedCalls(self._front_end[1], blocks, links)
        return f"{self._front_end[0]} and then of {path}", relay, {"front_end": self._first, "blocks": second}

    def _before_front_end(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        if self._copy is not None and self._first is None and not made_by_training(args, kwargs):
            self._first = self._copy(by_name(module, args, kwargs))

    def _after_front_end(self, module: nn.Module, args: Any, kwargs: Any, output: Any) -> None:
        if self._copy is not None and not self._given:
            self._given = _parts(output)
            self._versions = [part._version if isinstance(part, Tensor) else 0 for part in self._given]

    def _before_blocks(self, index: int) -> Callable[[nn.Module, Any, Any], None]:
        def hook(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            named = by_name(module, args, kwargs) if self._copy is not None and index not in self._found else None
            if named is None or self._copy is None:
                return
            places = {
                id(part): position
                for position, (part, version) in enumerate(zip(self._given, self._versions, strict=True))
                if isinstance(part, Tensor) and part._version == version  # else something was written into it since
            }
            links = {name: places[id(value)] for name, value in named.items() if id(value) in places}
            rest = {name: value for name, value in named.items() if name not in links}
            if links and not made_by_training(rest):
                self._found[index] = (self._copy(rest), links)

        return hook


def _parts(output: Any) -> tuple[Any, ...]:
    return tuple(output) if isinstance(output, (tuple, list)) else (output,)
