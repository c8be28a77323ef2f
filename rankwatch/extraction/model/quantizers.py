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
from collections.abc import Sequence
from dataclasses import dataclass

from torch import nn

from rankwatch.extraction.model.block_stacks import Stack, find_stacks, is_teacher_path
from rankwatch.extraction.model.compiled_modules import within_compiled
from rankwatch.extraction.model.module_paths import can_fire, clean_modules, common_prefix, parent, unwrap, within

MOST = 8
"""Quantizers that are watched; a codec may have dozens."""

_SIZES = ("num_vars", "num_classes", "codebook_size", "cb_vocab", "num_embeddings", "num_codes", "n_codes", "n_embed")
_GROUPS = ("num_groups", "groups")
_CODEBOOK = re.compile(r"(?i)(^|[._])(codebooks?|cb|embed|embeddings?)([._]|$)")
_LIBRARIES = ("torch.", "torchao.")  # theirs are about the numbers of bits in a weight


@dataclass(frozen=True)
class Quantizer:
    """A module that assigns codes.

    Attributes:
        name: Its path in the model, without wrappers' parts.
        module: The module that a hook belongs on.
        codes: Codes in each group, V; 0 where that is unknown.
    """

    name: str
    module: nn.Module
    codes: int


def find_quantizers(root: nn.Module) -> list[Quantizer]:
    """Modules whose class is called a quantizer, the innermost of nested ones, at most `MOST`.

    Left out are those of a teacher branch, and those inside a compiled module, where a hook would break the graph.

    Returns:
        The quantizers, in model order.

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
