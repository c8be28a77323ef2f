"""Quantizers in a model: where they are, how many codes they have, and which ones they used in a forward pass.

What a quantizer gives differs; in this order:

- the logits of a Gumbel quantizer (fairseq's, Hugging Face's, SpeechBrain's, NeMo's: all call a `weight_proj`). The
  likeliest code of each frame and group counts, as in fairseq's ``code_perplexity``: without the noise, which makes
  a quantizer that doesn't listen to its input look as if it used all its codes;
- integers, one code for each frame, or for each frame and group in the last of three axes (BEST-RQ's);
- a perplexity: under a name that says so, or second in a pair as in transformers; summed over groups.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from rankwatch.sampling.nested import walk
from rankwatch.sampling.paths import can_fire, clean_modules, common_prefix, parent, unwrap, within, within_compiled
from rankwatch.sampling.stacks import Stack, find_stacks, is_teacher_path
from rankwatch.sampling.taps import recomputing
from rankwatch.sampling.undisturbed import harmless

MOST = 8
"""Quantizers that are watched; a codec may have dozens."""

_SIZES = ("num_vars", "num_classes", "codebook_size", "cb_vocab", "num_embeddings", "num_codes", "n_codes", "n_embed")
_GROUPS = ("num_groups", "groups")
_CODEBOOK = re.compile(r"(?i)(^|[._])(codebooks?|cb|embed|embeddings?)([._]|$)")
_PERPLEXITY = re.compile(r"(?i)perplex|ppl")
_LIBRARIES = ("torch.", "torchao.")  # theirs are about the numbers of bits in a weight


@dataclass(frozen=True)
class Quantizer:
    """A module that assigns codes.

    Attributes:
        name: Its path in the model, without wrappers' parts.
        module: The module that a hook belongs on.
        codes: Codes in each group, V; 0 where that can't be told.
    """

    name: str
    module: nn.Module
    codes: int


@dataclass(frozen=True)
class Draws:
    """What one call of a quantizer has used; on the model's device.

    Attributes:
        codes: (m, groups) int32, -1 where a frame doesn't count; None where only a perplexity is there.
        perplexity: Scalar, mean over groups; None where there are codes.
    """

    codes: Tensor | None = None
    perplexity: Tensor | None = None


def find_quantizers(root: nn.Module) -> list[Quantizer]:
    """Modules whose class is called a quantizer, the innermost of nested ones, at most `MOST`.

    Left out are those of a teacher branch, and those inside a compiled module, where a hook would break the graph.

    Example:
        >>> class RandomQuantizer(nn.Linear):
        ...     codebook_size = 16
        >>> [(one.name, one.codes) for one in find_quantizers(nn.ModuleDict({"targets": RandomQuantizer(4, 4)}))]
        [('targets', 16)]
    """
    modules = clean_modules(root)
    named = {path: module for path, module in modules.items() if path and _is_quantizer(unwrap(module))}
    compiled = within_compiled(root.modules())
    if not named or getattr(root, "_compiler_ctx", None) is not None:  # Lightning's mark of one compiled as a whole
        return []
    stacks = find_stacks(modules)
    found = []
    for path, module in named.items():
        inner = any(other != path and within(other, path) for other in named)
        if not inner and not _of_teacher(path, stacks) and id(module) not in compiled:
            found.append(Quantizer(path, module, _codes(unwrap(module))))
    return found[:MOST]


def _is_quantizer(module: nn.Module) -> bool:
    kind = type(module)
    return "quantiz" in kind.__name__.lower() and not kind.__module__.startswith(_LIBRARIES) and can_fire(module)


def _of_teacher(path: str, stacks: Sequence[Stack]) -> bool:
    """By a name above it, or nearer to a teacher's blocks than to any student's."""

    def nearest(teacher: bool) -> int:
        shared = [common_prefix(path, stack.path) for stack in stacks if (stack.branch == "teacher") == teacher]
        return max((len(prefix.split(".")) if prefix else 0 for prefix in shared), default=0)

    return is_teacher_path(parent(path)) or nearest(teacher=True) > nearest(teacher=False)


def _codes(module: nn.Module) -> int:
    """V by an attribute's name, else by the rows of what is called a codebook."""
    size = _number(module, _SIZES)
    if size is not None:
        return size
    tensors = [*module.named_parameters(), *module.named_buffers()]
    return next((t.shape[-2] for name, t in tensors if t.ndim >= 2 and _CODEBOOK.search(name)), 0)


def _number(module: nn.Module, names: Sequence[str]) -> int | None:
    values = [getattr(module, name, None) for name in names]
    return next((value for value in values if isinstance(value, int) and value >= 1), None)


@dataclass
class _Heard:
    """What one quantizer has let on since the last `take`."""

    likeliest: Tensor | None = None
    draws: list[Draws] = field(default_factory=list)
    utterances: int = 0
    troubles: list[Exception] = field(default_factory=list)


class CodeTaps:
    """Hooks on quantizers, there only while they listen. They ask nothing of the device that it has to be waited for.

    Args:
        quantizers: What to watch.
    """

    def __init__(self, quantizers: Sequence[Quantizer]) -> None:
        self.quantizers = list(quantizers)
        self._heard: dict[str, _Heard] = {}
        self._handles: list[RemovableHandle] = []

    def listen(self) -> None:
        """Put the hooks in place."""
        self.stop()
        self._heard = {one.name: _Heard() for one in self.quantizers}
        for one in self.quantizers:
            heard = self._heard[one.name]
            projection = getattr(unwrap(one.module), "weight_proj", None)
            if isinstance(projection, nn.Module) and one.codes:
                self._hook(projection, _likeliest(one.codes, heard), heard)
            self._hook(one.module, _drawn(one, heard), heard)

    def _hook(self, module: nn.Module, hook: Callable[..., None], heard: _Heard) -> None:
        guarded = harmless(hook, heard.troubles)
        self._handles.append(module.register_forward_hook(guarded, with_kwargs=True))

    def stop(self) -> None:
        """Take every hook away."""
        for handle in self._handles:
            handle.remove()
        self._handles.clear()

    def take(self) -> tuple[dict[str, list[Draws]], int, dict[str, Exception]]:
        """Draws by quantizer since `listen`, of how many utterances, and what went wrong with others."""
        heard, self._heard = self._heard, {}
        draws = {name: one.draws for name, one in heard.items() if one.draws}
        failures = {name: one.troubles[0] for name, one in heard.items() if one.troubles}
        return draws, max((one.utterances for one in heard.values()), default=0), failures


def _likeliest(codes: int, heard: _Heard) -> Callable[..., None]:
    """Logits (..., groups x V) of a Gumbel quantizer; which frames count is known when the quantizer itself fires."""

    def hook(module: nn.Module, args: Any, kwargs: Any, output: Any) -> None:
        if recomputing() or not isinstance(output, Tensor) or output.shape[-1] % codes:
            return
        heard.likeliest = output.detach().reshape(-1, output.shape[-1] // codes, codes).argmax(dim=-1)

    return hook


def _drawn(quantizer: Quantizer, heard: _Heard) -> Callable[..., None]:
    def hook(module: nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any], output: Any) -> None:
        if recomputing():
            return
        codes, heard.likeliest = heard.likeliest, None
        given = [leaf for _, leaf in walk((args, dict(kwargs))) if isinstance(leaf, Tensor)]
        codes = _integers(output) if codes is None else codes
        if codes is not None:
            heard.draws.append(Draws(codes=_counting(codes, given)))
        else:
            perplexity = _perplexity(unwrap(module), output)
            if perplexity is None:
                return
            heard.draws.append(Draws(perplexity=perplexity))
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
