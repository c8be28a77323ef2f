"""How an evaluation batch is run through a model; never through a training or validation step."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from rankwatch.extraction.eval_sets.eval_set import EvalBatch, EvalForward, EvalSet
from rankwatch.extraction.execution.audio_swap import substitute
from rankwatch.extraction.execution.fsdp import ShardedPass, UnitOrders
from rankwatch.extraction.execution.model_families import Adapter, unmasked_call
from rankwatch.extraction.hooks.call_recorder import RecordedCall
from rankwatch.extraction.hooks.chained_calls import ParallelCalls
from rankwatch.extraction.inputs.tensor_copies import Copies

_WHOLE_MODEL = (torch.bfloat16, torch.float16, torch.float64)
"""Types other than float32 that a model's weights are trained in."""


_Within = Callable[[nn.Module, Callable[..., Any]], Callable[..., Any]]
"""Gives a function that calls a module with all parameters there, from one that calls it."""


@dataclass(frozen=True)
class _Route:
    """How one backbone is run.

    Attributes:
        path: Of the module whose call was recorded.
        module: That module; None as long as no call was recorded.
        adapter: Its unmasked forward pass, or None.
        part: The name of its arguments in a call that stands for several; None where it stands alone.
    """

    path: str
    module: nn.Module | None
    adapter: Adapter | None
    part: str | None = None

    def call(self, batch: EvalBatch | RecordedCall) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Its own arguments in a recorded call."""
        return (batch.args, batch.kwargs) if self.part is None else ((), batch.kwargs[self.part])


class EvalRunner:
    """Runs evaluation batches through the model.

    A set that has a `forward` of its own is run by it. Others are run, in this order, by the unmasked forward pass of
    a known model family; for a recorded call by its replay as it was; for audio by a recorded call with its waveforms
    exchanged.

    Args:
        root: The whole model.
        backbone: (path, module) whose call was recorded; None as long as none was.
        template: A recorded call to put audio into where the model's family isn't known.
        outermost: Gives what training calls, which may be a wrapper around `root`.
    """

    def __init__(
        self,
        root: nn.Module,
        backbone: tuple[str, nn.Module] | None,
        template: RecordedCall | None = None,
        outermost: Callable[[], nn.Module] | None = None,
    ) -> None:
        self._root = root
        self._outermost = outermost or (lambda: root)
        self._backbone = backbone
        self._template = template
        self._routes = _routes(root, backbone)
        self._replayed: set[str] = set()
        self._unit_orders = UnitOrders()

    @property
    def puts_audio_into_calls(self) -> bool:
        """Whether audio can only be run through the model by putting it into a recorded call."""
        return any(route.adapter is None for route in self._routes)

    def input(self, batch: EvalBatch, forward: EvalForward | None = None) -> str:
        """What the model's input is, as the protocol records it.

        Args:
            batch: One batch of the set.
            forward: The set's own.

        Returns:
            ``"clean"``, ``"replayed"`` or ``"user"``.
        """
        if forward is not None:
            return "user"
        replayed = any(
            route.adapter is None or (route.path in self._replayed and not batch.audio) for route in self._routes
        )
        return "replayed" if replayed else "clean"

    def describe(self, eval_sets: Iterable[EvalSet]) -> str:
        """How the sets are run, in words, for the table.

        Args:
            eval_sets: All of them.

        Returns:
            One sentence without a full stop.
        """
        sets = list(eval_sets)
        forwards = {one.name: one.forward for one in sets if one.forward is not None}
        own = {name: str(getattr(forward, "in_words", "your forward")) for name, forward in forwards.items()}
        if len(own) == len(sets):
            return f"evaluation sets are run by {', '.join(dict.fromkeys(own.values()))}"
        calls = "; ".join(
            f"{route.adapter.name} (unmasked, eval mode)"
            if route.adapter is not None and route.path not in self._replayed
            else f"replay of the call of {route.path or 'the module itself'} (eval mode)"
            for route in self._routes
        )
        return f"evaluation sets are run by {calls}" + "".join(f"; {name} by {words}" for name, words in own.items())

    def signature(self, batch: EvalBatch, forward: EvalForward | None = None) -> Callable[..., Any] | None:
        """What gives the names of the batch's arguments.

        Args:
            batch: One batch of the set.
            forward: The set's own.

        Returns:
            A function with these parameters, or None where the batch is the user's own.
        """
        if batch.audio:
            return _audio
        return self._backbone[1].forward if self._backbone is not None and forward is None else None

    def run(self, batch: EvalBatch, device: torch.device, forward: EvalForward | None = None) -> None:
        """One forward pass; what it returns is thrown away, since the layers' hooks have what matters.

        Where nothing can run this batch, ValueError is raised, with what to pass.

        Args:
            batch: One batch of the set.
            device: Where the model is.
            forward: The set's own function of (root, batch), or None. What DDP wraps is the root for it: calling the
                wrapper would broadcast buffers, and wait for a process on which the function fails.
        """
        recorded = forward is None and not batch.audio
        kind = "recorded" if recorded else f"by {id(forward)}" if forward is not None else "audio"
        with ShardedPass(self._outermost(), self._unit_orders, kind) as sharded:
            self._run(batch, Copies(device, None if recorded else self._precision), forward, sharded.within)

    @property
    def _precision(self) -> torch.dtype | None:
        """What audio that never went through the trainer is turned into (bf16-true, 64-true), which would convert it.

        A recorded call is as training made it.
        """
        dtype = next((p.dtype for p in self._root.parameters() if p.is_floating_point()), torch.float32)
        return dtype if dtype in _WHOLE_MODEL else None

    def _run(self, batch: EvalBatch, there: Copies, forward: EvalForward | None, within: _Within) -> None:
        if forward is not None:
            model = _undistributed(self._root)
            within(model, forward)(model, there(batch.batch))
            return
        for route in self._routes:
            if batch.audio:
                self._run_audio(route, within, *there(batch.args))
            else:
                self._run_call(route, within, *there((*route.call(batch), batch.batch)))

    def _run_call(
        self, route: _Route, within: _Within, args: tuple[Any, ...], kwargs: dict[str, Any], batch: Any
    ) -> None:
        adapter = route.adapter

        def clean(*args: Any, **kwargs: Any) -> Callable[[], Any] | None:
            return adapter.transform(args, kwargs, batch) if adapter is not None else None

        if adapter is not None and clean(*args, **kwargs) is not None:
            within(adapter.module, lambda *a, **k: _called(clean(*a, **k)))(*args, **kwargs)
        elif route.module is None:
            raise ValueError(
                "no module that contains all watched layers is called as a module in the training step, so its call "
                "can't be replayed; pass eval_sets with a set that has a forward of its own, for example "
                'eval_sets=AudioFolder("folder", forward=f) with f(module, batch), or add "training_pass" to watch'
            )
        else:
            self._replayed.add(route.path)
            within(route.module, route.module)(*args, **kwargs)

    def _run_audio(self, route: _Route, within: _Within, waveforms: Tensor, lengths: Tensor) -> None:
        if route.adapter is not None:
            within(route.adapter.module, route.adapter.run)(waveforms, lengths)
        elif route.module is not None and self._template is not None:
            args, kwargs = Copies(waveforms.device)(route.call(self._template))
            args, kwargs = substitute(args, kwargs, waveforms, lengths, route.module.forward)
            within(route.module, route.module)(*args, **kwargs)
        else:
            raise ValueError(
                "files of audio can't be run through this model, whose family isn't known and of which no call could "
                'be recorded; pass a function that does it: AudioFolder("folder", forward=f) with f(module, batch)'
            )


def _routes(root: nn.Module, backbone: tuple[str, nn.Module] | None) -> list[_Route]:
    if backbone is None:
        return [_Route("", None, unmasked_call(root, root))]
    path, module = backbone
    if isinstance(module, ParallelCalls):
        return [_Route(path, one, unmasked_call(one, root), part) for part, (path, one) in module.parts.items()]
    return [_Route(path, module, unmasked_call(module, root))]


def _undistributed(root: nn.Module) -> nn.Module:
    ours = isinstance(root, (nn.parallel.DistributedDataParallel, nn.DataParallel))
    return root.module if ours else root  # type: ignore[return-value, unused-ignore]


def _called(function: Callable[[], Any] | None) -> Any:
    return function() if function is not None else None


def _audio(waveforms: Tensor, lengths: Tensor) -> None:
    """The names of a folder batch's parts."""
