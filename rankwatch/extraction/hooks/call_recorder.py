"""Hold back the backbone's own calls from the first training batches."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from rankwatch.extraction.hooks.chained_calls import ChainedCallRecorder, ParallelCalls
from rankwatch.extraction.hooks.hook_handles import HookHandles
from rankwatch.extraction.hooks.safe_hooks import never_raising
from rankwatch.extraction.inputs.call_arguments import by_name, made_by_training
from rankwatch.extraction.inputs.tensor_copies import Copies
from rankwatch.extraction.inputs.utterance_keys import fingerprint, primary_input, utterance_keys
from rankwatch.extraction.model.compiled_modules import (
    in_one_graph,
    is_compiled_function,
    itself_compiled,
    may_be_split,
    within_compiled,
)


@dataclass(frozen=True)
class RecordedCall:
    """One call of the backbone, with the batch it came from, on the CPU.

    Attributes:
        args: Positional arguments.
        kwargs: Keyword arguments.
        batch: The training batch as it came (tensors shared with the arguments where they are the same).
        keys: (B,) int64, one per utterance.
    """

    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    batch: Any
    keys: Tensor


Call = tuple[tuple[Any, ...], dict[str, Any]]


class CallRecorder:
    """Records the call of the deepest module that contains all watched layers and really fires.

    Some parents are bypassed (their children are called one by one) and never fire, so all candidates get a pre-hook,
    and the deepest that fired in the first batch stays; never one that was given what is being trained had made, which
    would soon be out of date. Where none is, a front end and what takes its output may still be called one after the
    other, and student and teacher independently of each other: then those calls are recorded as one (`relay`).

    Args:
        candidates: From `backbones.backbone_candidates`: (name, module), deepest first.
        device: Where recorded tensors are copied to; None records by reference, for calls that are soon forgotten.
        relay: Looks for a front end and its blocks, or None.
        branches: Recorders of the layers of each branch, where there are several.
    """

    def __init__(
        self,
        candidates: Sequence[tuple[str, nn.Module]],
        device: str | None = "cpu",
        relay: ChainedCallRecorder | None = None,
        branches: Mapping[str, CallRecorder] | None = None,
    ) -> None:
        self._candidates = list(candidates)
        self._device = device
        self._relay = relay
        self._branches = dict(branches or {})
        self._calls: dict[int, Call] = {}
        self._fired: set[int] = set()
        self._uncalled: set[int] = set()
        self._copies = Copies(device)
        self._armed = False
        self._batch: Any = None
        self._handles = HookHandles()
        self.backbone: tuple[str, nn.Module] | None = None
        self.troubles: list[Exception] = []
        """What went wrong in hooks, which never raise."""

    @property
    def _others(self) -> list[ChainedCallRecorder | CallRecorder]:
        return [*([self._relay] if self._relay is not None else []), *self._branches.values()]

    def install(self) -> None:
        """Register the pre-hooks."""
        for index, (_, module) in enumerate(self._candidates):
            hook = never_raising(self._hook(index), self.troubles)
            self._handles.before_call(module, hook, index)
        for other in self._others:
            other.install()
        self.place_again()

    def place_again(self, uncalled: Collection[int] = ()) -> None:
        """Follow what was compiled since: no hook may lie within a compiled module, where it would break its graph.

        Args:
            uncalled: Identities of modules that were compiled, but are not called.
        """
        self._uncalled.update(uncalled)
        modules = [module for _, module in self._candidates]
        splits = may_be_split(modules[-1].modules()) if modules else True  # the last one holds all others
        self._handles.place_again(within_compiled(modules, self._uncalled), splits=splits)
        for other in self._others:
            other.place_again(self._uncalled)

    def remove(self) -> None:
        """Take every hook away; the training steps that follow see none."""
        self._keep_only(None)
        for other in self._others:
            other.remove()
        self.forget()

    def _keep_only(self, index: int | None) -> None:
        self._handles.remove(but=index)

    def arm(self, copies: Copies | None = None, batch: Any = None) -> None:
        """Record the next call of each candidate.

        Args:
            copies: Makes the copies; by default one of our own.
            batch: The training batch, which is copied now: models write into what they get (NeMo adds its dither).
        """
        self.forget()
        self.place_again()
        self._armed = True
        self._copies = copies or self._copies
        self._batch = self._copies(batch)
        for other in self._others:
            other.arm(self._copies)

    def forget(self) -> None:
        """Hold on to nothing."""
        self._calls.clear()
        self._fired.clear()
        self.troubles.clear()
        self._copies = Copies(self._device)
        self._armed = False
        self._batch = None
        for other in self._others:
            other.forget()

    def _hook(self, index: int) -> Callable[[nn.Module, Any, Any], None]:
        name, _ = self._candidates[index]

        def hook(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            if self._armed:
                self._fired.add(index)
            wanted = self._armed and index not in self._calls and not (name == "" and _redirected(module))
            if wanted and not made_by_training(args, kwargs):
                # Copied now: the model may go on to mask or normalise its input in place.
                self._calls[index] = self._copies((args, kwargs))

        return hook

    def take(self, batch: Any) -> RecordedCall | None:
        """The call recorded since `arm`; what went wrong while it was recorded is raised here.

        Args:
            batch: The training batch, if it wasn't given to `arm`.

        Returns:
            The call, or None if no candidate fired.
        """
        troubles = [error for one in (self, *self._others) for error in one.troubles]
        if troubles:
            self.forget()
            raise troubles[0]
        call = self.call()
        recorded = None
        if call is not None:
            batch = self._copies(batch) if self._batch is None else self._batch
            recorded = RecordedCall(*call, batch, utterance_keys(call, batch))
        self.forget()
        return recorded

    def call(self) -> Call | None:
        """The call that stands for this step; the first one also tells the backbone."""
        if self._calls:
            index = min(self._calls)
            self.backbone = self._candidates[index]
            self._keep_only(index)
            for other in self._others:
                other.remove()
            self._relay, self._branches = None, {}
            return self._calls[index]
        relayed = self._relay.take() if self._relay is not None else None
        if relayed is not None:
            path, relay, arguments = relayed
            self.backbone = self.backbone or (path, relay)
            return (), arguments
        calls = self._calls_of_branches()
        if calls is None and self._armed:
            self._uncalled.update(self._compiled_in_vain())
        return calls

    def _compiled_in_vain(self) -> list[int]:
        """Modules that were compiled without a wrapper and whose call was not made.

        Returns:
            Their identities. A LightningModule (``model.compile()``) is one if its training step doesn't call itself.
        """
        return [
            id(module)
            for index, (_, module) in enumerate(self._candidates)
            if itself_compiled(module) and not in_one_graph(module) and index not in self._fired
        ]

    def _calls_of_branches(self) -> Call | None:
        calls: dict[str, Any] = {}
        parts: dict[str, tuple[str, nn.Module]] = {}
        for name, branch in self._branches.items():
            call = branch.call()
            if call is None or branch.backbone is None:
                return None
            parts[name] = branch.backbone
            calls[name] = by_name(branch.backbone[1], *call)
        if not calls or None in calls.values():
            return None
        path = " and of ".join(path for path, _ in parts.values())
        self.backbone = self.backbone or (path, ParallelCalls(parts))
        return (), calls


def _redirected(root: nn.Module) -> bool:
    """Whether this call of a LightningModule is really its training_step on the way through DDP.

    Lightning sends `training_step` through the wrapper's forward by replacing `root.forward` for a moment.

    Returns:
        False where `root` is no LightningModule, or is called as itself.
    """
    if not hasattr(type(root), "training_step"):  # a compiled module's own forward pass is a function as well
        return False
    forward = root.__dict__.get("forward")
    return forward is not None and not inspect.ismethod(forward) and not is_compiled_function(forward)


def _raw(batch: Any) -> RecordedCall:
    copied = Copies("cpu")(batch)
    return RecordedCall((), {}, copied, fingerprint(primary_input(copied)))
