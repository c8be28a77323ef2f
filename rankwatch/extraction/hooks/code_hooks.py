"""Hooks on quantizers and on what predicts their codes: which codes they assigned in a forward pass."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn

from rankwatch.extraction.hooks.code_outputs import CodeAssignments, assigned, counting, integer_codes, own_perplexity
from rankwatch.extraction.hooks.hook_handles import HookHandles
from rankwatch.extraction.hooks.safe_hooks import never_raising, recomputing
from rankwatch.extraction.inputs.code_groups import GroupLayout, UnknownLayoutError
from rankwatch.extraction.inputs.containers import walk
from rankwatch.extraction.model.codebooks import Head, Table
from rankwatch.extraction.model.compiled_modules import may_be_split, within_compiled
from rankwatch.extraction.model.module_paths import unwrap
from rankwatch.extraction.model.quantizers import Quantizer


@dataclass
class _Buffer:
    """What one quantizer has let on since the last `take`."""

    likeliest: Tensor | None = None
    draws: list[CodeAssignments] = field(default_factory=list)
    predictions: list[Tensor] = field(default_factory=list)
    predicted_rows: int = 0
    utterances: int = 0
    silent_calls: int = 0
    unknown_layouts: list[UnknownLayoutError] = field(default_factory=list)
    troubles: list[Exception] = field(default_factory=list)


class CodeHooks:
    """Hooks on quantizers, there only while they listen. They ask nothing of the device that it has to be waited for.

    Args:
        quantizers: What to watch; a candidate that returns nothing like codes is quietly left out from then on.
    """

    def __init__(self, quantizers: Sequence[Quantizer]) -> None:
        self.quantizers = list(quantizers)
        self._heard: dict[str, _Buffer] = {}
        self._handles = HookHandles()
        self._inside: set[int] = set()
        self._layouts: dict[str, GroupLayout] = {}
        self.unknown_layouts: dict[str, str] = {}
        """Why calls weren't counted, of quantizers of which none has been."""

    def listen(self, root: nn.Module | None = None) -> None:
        """Put the hooks in place, except for those that would be part of a compiled graph.

        Args:
            root: The whole model, any part of which may have been compiled since the quantizers were found.
        """
        self.stop()
        around = [one.module for one in self.quantizers] if root is None else list(root.modules())
        self._inside = within_compiled(around)
        self._heard = {one.name: _Buffer() for one in self.quantizers}
        for one in self.quantizers:
            heard = self._heard[one.name]
            projection = getattr(unwrap(one.module), "weight_proj", None)
            if isinstance(projection, nn.Module) and one.codes:
                self._hook(projection, _likeliest(one.codes, heard), heard)
            if one.head is not None:
                self._hook(one.head.module, _predicted(one.head, one.codes, heard), heard)
            layout = self._layouts.setdefault(one.name, GroupLayout())
            self._hook(one.module, _drawn(one, heard, layout), heard)
        self._handles.place_again(splits=may_be_split(around))

    def _hook(self, module: nn.Module, hook: Callable[..., None], heard: _Buffer) -> None:
        if id(module) in self._inside:
            return
        self._handles.after_call(module, never_raising(hook, heard.troubles))

    def stop(self) -> None:
        """Take every hook away."""
        self._handles.remove()

    def take(self) -> tuple[dict[str, list[CodeAssignments]], int, dict[str, Exception]]:
        """Draws by quantizer since `listen`, of how many utterances, and what went wrong with others."""
        heard, self._heard = self._heard, {}
        silent = [one.name for one in self.quantizers if one.table is not None and _says_nothing(heard.get(one.name))]
        self.quantizers = [one for one in self.quantizers if one.name not in silent]
        unknown = {name: str(one.unknown_layouts[0]) for name, one in heard.items() if one.unknown_layouts}
        self.unknown_layouts.update(unknown)
        draws = {name: [*one.draws, *_predictions(one)] for name, one in heard.items() if one.draws}
        failures = {name: one.troubles[0] for name, one in heard.items() if one.troubles and name not in silent}
        return draws, max((one.utterances for one in heard.values()), default=0), failures


def _says_nothing(heard: _Buffer | None) -> bool:
    return heard is not None and not heard.draws and bool(heard.silent_calls or heard.troubles)


def _predictions(heard: _Buffer) -> list[CodeAssignments]:
    """The predictions of a batch, where they are of as many groups as have codes, and of no more frames."""
    codes = [one.codes for one in heard.draws if one.codes is not None]
    if not heard.predictions or not codes or heard.predicted_rows > sum(map(len, codes)):
        return []
    predictions = torch.stack(heard.predictions).sum(dim=0)
    return [CodeAssignments(predictions=predictions)] if len(predictions) == codes[0].shape[1] else []


def _likeliest(codes: int, heard: _Buffer) -> Callable[..., None]:
    """Logits (..., groups x V) of a Gumbel quantizer; which frames count is known when the quantizer itself fires."""

    def hook(module: nn.Module, args: Any, kwargs: Any, output: Any) -> None:
        if recomputing() or not isinstance(output, Tensor) or output.shape[-1] % codes:
            return
        heard.likeliest = output.detach().reshape(-1, output.shape[-1] // codes, codes).argmax(dim=-1)

    return hook


def _predicted(head: Head, codes: int, heard: _Buffer) -> Callable[..., None]:
    """Logits (..., groups x V) of what predicts codes."""

    def hook(module: nn.Module, args: Any, kwargs: Any, output: Any) -> None:
        if recomputing() or not isinstance(output, Tensor):
            return
        logits = output.detach()[..., head.first : head.last]
        logits = logits.reshape(-1, logits.shape[-1] // codes, codes)
        heard.predictions.append(logits.float().softmax(dim=-1).sum(dim=0))
        heard.predicted_rows += len(logits)

    return hook


def _drawn(quantizer: Quantizer, heard: _Buffer, layout: GroupLayout) -> Callable[..., None]:
    def hook(module: nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any], output: Any) -> None:
        if recomputing():
            return
        likeliest, heard.likeliest = heard.likeliest, None
        given = _by_name(unwrap(module), args, kwargs)
        try:
            draw = _draw(quantizer, unwrap(module), given, output, likeliest, layout)
        except UnknownLayoutError as error:  # a batch of another size may still show it
            heard.unknown_layouts.append(error)
            return
        if draw is None:
            heard.silent_calls += 1
            return
        heard.draws.append(draw)
        batch = next((tensor for tensor in _tensors(given) if tensor.ndim >= 2), None)
        if batch is not None and batch.ndim >= 3:  # two axes may be those of selected frames
            heard.utterances += len(batch)

    return hook


def _by_name(module: nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of a call by their names, or by their places where a module's signature tells none."""
    try:
        return inspect.signature(module.forward).bind_partial(*args, **kwargs).arguments
    except (TypeError, ValueError):
        return {**{str(place): value for place, value in enumerate(args)}, **kwargs}


def _tensors(given: Mapping[str, Any]) -> list[Tensor]:
    return [leaf for _, leaf in walk(given) if isinstance(leaf, Tensor)]


def _draw(
    quantizer: Quantizer,
    module: nn.Module,
    given: Mapping[str, Any],
    output: Any,
    likeliest: Tensor | None,
    layout: GroupLayout,
) -> CodeAssignments | None:
    tensors = _tensors(given)
    codes = likeliest
    if codes is None and quantizer.table is None:
        codes = integer_codes(output, tensors, quantizer.codes, layout)
    if codes is not None:
        return CodeAssignments(codes=counting(codes, given))
    table = quantizer.table or Table((quantizer.codes,) if quantizer.codes else (), True, True, 0, True)
    reported = own_perplexity(module, output) if table.named else None
    if reported is not None and (quantizer.table is None or not table.small):
        return reported  # what a whole model returns besides may look like codes
    found = assigned(output, tensors, table, layout)
    if found is None or found.codes is None:
        return reported
    return replace(found, codes=counting(found.codes, given))
