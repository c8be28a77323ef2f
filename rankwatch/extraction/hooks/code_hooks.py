"""Hooks on quantizers: which codes they assigned in a forward pass."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from rankwatch.extraction.hooks.hook_handles import HookHandles
from rankwatch.extraction.hooks.safe_hooks import never_raising, recomputing
from rankwatch.extraction.inputs.containers import walk
from rankwatch.extraction.model.compiled_modules import within_compiled
from rankwatch.extraction.model.module_paths import unwrap
from rankwatch.extraction.model.quantizers import _GROUPS, Quantizer, _number

_PERPLEXITY = re.compile(r"(?i)perplex|ppl")


@dataclass(frozen=True)
class CodeAssignments:
    """What one call of a quantizer has used; on the model's device.

    Attributes:
        codes: (m, groups) int32, -1 where a frame doesn't count; None where only a perplexity is there.
        perplexity: Scalar, mean over groups; None where there are codes.
    """

    codes: Tensor | None = None
    perplexity: Tensor | None = None


@dataclass
class _Buffer:
    """What one quantizer has let on since the last `take`."""

    likeliest: Tensor | None = None
    draws: list[CodeAssignments] = field(default_factory=list)
    utterances: int = 0
    troubles: list[Exception] = field(default_factory=list)


class CodeHooks:
    """Hooks on quantizers, there only while they listen. They ask nothing of the device that it has to be waited for.

    Args:
        quantizers: What to watch.
    """

    def __init__(self, quantizers: Sequence[Quantizer]) -> None:
        self.quantizers = list(quantizers)
        self._heard: dict[str, _Buffer] = {}
        self._handles = HookHandles()
        self._inside: set[int] = set()

    def listen(self, root: nn.Module | None = None) -> None:
        """Put the hooks in place, except for those that would be part of a compiled graph.

        Args:
            root: The whole model, any part of which may have been compiled since the quantizers were found.
        """
        self.stop()
        around = [one.module for one in self.quantizers] if root is None else root.modules()
        self._inside = within_compiled(around)
        self._heard = {one.name: _Buffer() for one in self.quantizers}
        for one in self.quantizers:
            heard = self._heard[one.name]
            projection = getattr(unwrap(one.module), "weight_proj", None)
            if isinstance(projection, nn.Module) and one.codes:
                self._hook(projection, _likeliest(one.codes, heard), heard)
            self._hook(one.module, _drawn(one, heard), heard)

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
        draws = {name: one.draws for name, one in heard.items() if one.draws}
        failures = {name: one.troubles[0] for name, one in heard.items() if one.troubles}
        return draws, max((one.utterances for one in heard.values()), default=0), failures


def _likeliest(codes: int, heard: _Buffer) -> Callable[..., None]:
    """Logits (..., groups x V) of a Gumbel quantizer; which frames count is known when the quantizer itself fires."""

    def hook(module: nn.Module, args: Any, kwargs: Any, output: Any) -> None:
        if recomputing() or not isinstance(output, Tensor) or output.shape[-1] % codes:
            return
        heard.likeliest = output.detach().reshape(-1, output.shape[-1] // codes, codes).argmax(dim=-1)

    return hook


def _drawn(quantizer: Quantizer, heard: _Buffer) -> Callable[..., None]:
    def hook(module: nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any], output: Any) -> None:
        if recomputing():
            return
        codes, heard.likeliest = heard.likeliest, None
        given = [leaf for _, leaf in walk((args, dict(kwargs))) if isinstance(leaf, Tensor)]
        codes = _integers(output) if codes is None else codes
        if codes is not None:
            heard.draws.append(CodeAssignments(codes=_counting(codes, given)))
        else:
            perplexity = _perplexity(unwrap(module), output)
            if perplexity is None:
                return
            heard.draws.append(CodeAssignments(perplexity=perplexity))
        heard.utterances += next((len(tensor) for tensor in given if tensor.ndim >= 2), 1)

    return hook


def _integers(output: Any) -> Tensor | None:
    """(m, groups) from the largest tensor of integers, (B, T) or (B, T, groups)."""
    plain = (torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64)
    found = [leaf for _, leaf in walk(output) if isinstance(leaf, Tensor) and leaf.dtype in plain and leaf.ndim]
    if not found:
        return None
    codes = max(found, key=Tensor.numel).detach()
    return codes.reshape(-1, codes.shape[-1] if codes.ndim == 3 else 1)


def _counting(codes: Tensor, given: Sequence[Tensor]) -> Tensor:
    """A copy with -1 where a boolean mask over frames that the quantizer was given says that they don't count."""
    codes = codes.to(torch.int32, copy=True)
    mask = next((t for t in given if t.dtype == torch.bool and t.numel() == len(codes)), None)
    return codes if mask is None else torch.where(mask.detach().reshape(-1, 1), codes, -1)


def _perplexity(module: nn.Module, output: Any) -> Tensor | None:
    """By its name, else the second of a pair; the mean over groups of what is their sum."""
    scalars = [(path, leaf) for path, leaf in walk(output) if _is_scalar(leaf)]
    groups = _number(module, _GROUPS)
    found = [leaf for path, leaf in scalars if _PERPLEXITY.search(path.rpartition(".")[2])]
    if groups is not None and isinstance(output, tuple) and len(output) == 2:
        found += [leaf for path, leaf in scalars if path == "1"]
    return found[0].detach().float() / (groups or 1) if found else None


def _is_scalar(leaf: Any) -> bool:
    return isinstance(leaf, Tensor) and leaf.is_floating_point() and leaf.numel() == 1
