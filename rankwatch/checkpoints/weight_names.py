"""Which weight of a checkpoint belongs to which of a model: prefixes, and the parts of names that wrappers add."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from torch import Tensor

from rankwatch.extraction.model.module_paths import clean_name

_RENAMED = ((".weight_g", ".parametrizations.weight.original0"), (".weight_v", ".parametrizations.weight.original1"))
"""Weight normalisation as torch named it before 2.0, and as it does since."""

_DEEPEST = 4
"""Components that a prefix may have."""

_SHOWN = 4
"""Names that a sentence lists."""


@dataclass(frozen=True)
class NameMatch:
    """Which weight is which.

    Attributes:
        prefix: What the checkpoint's names begin with, and the model's don't.
        names: The checkpoint's name of each weight, by the model's.
        equally: Other prefixes under which as many weights are found.
    """

    prefix: str
    names: Mapping[str, str]
    equally: tuple[str, ...] = ()


def canonical(name: str) -> str:
    """A weight's name without what DDP, compile and FSDP add, and as today's torch would write it.

    Args:
        name: As in a state dict.

    Returns:
        The name.

    Example:
        >>> canonical("module.encoder._orig_mod.conv.weight_g")
        'encoder.conv.parametrizations.weight.original0'
    """
    for old, new in _RENAMED:
        if name.endswith(old):
            name = name.removesuffix(old) + new
    return clean_name(name)


def few_names(names: Iterable[str]) -> str:
    """Some of many names, for a sentence.

    Args:
        names: In any order.

    Returns:
        The first four in order, and how many more there are.

    Example:
        >>> few_names("fedcba")
        'a, b, c, d and 2 more'
    """
    listed = sorted(names)
    return ", ".join(listed[:_SHOWN]) + (f" and {len(listed) - _SHOWN} more" if len(listed) > _SHOWN else "")


def match_names(own: Mapping[str, Tensor], stored: Mapping[str, Tensor], prefix: str | None = None) -> NameMatch:
    """Find the model's weights among those of a checkpoint.

    Names are compared as they are and, where wrappers have changed them, without what wrappers add. Of all prefixes the
    one counts under which most weights have the name and the shape of one of the model's; none before any.

    Args:
        own: The model's weights by name.
        stored: The checkpoint's.
        prefix: What the checkpoint's names begin with, where the user says so; else it is found.

    Returns:
        What was found; without any name where nothing fits.
    """
    cleaned = {canonical(name): name for name in stored}
    if len(cleaned) < len(stored):  # two that differ only by a wrapper's part: the user's own names
        cleaned = {name: name for name in stored}
    wanted = {name: canonical(name) for name in own}
    if len(set(wanted.values())) < len(wanted):
        wanted = {name: name for name in own}
    if prefix is not None:
        asked = [canonical(prefix.rstrip(".")) + "." if prefix else ""]
    else:
        asked = _prefixes(cleaned, set(wanted.values()))
    found = {
        one: {name: cleaned[one + clean] for name, clean in wanted.items() if one + clean in cleaned} for one in asked
    }
    fitting = {
        one: sum(own[name].shape == stored[held].shape for name, held in names.items()) for one, names in found.items()
    }
    best = max(asked, key=lambda one: (fitting[one], len(found[one]), -len(one)))
    equally = [one for one in asked if one != best and found[one] and fitting[one] == fitting[best]]
    return NameMatch(best, found[best], tuple(equally) if best else ())


def _prefixes(stored: Iterable[str], wanted: set[str]) -> list[str]:
    """No prefix, and all of a few components under which at least one of the wanted names stands."""
    found = {""}
    for name in stored:
        rest = name
        for _ in range(_DEEPEST):
            _, dot, rest = rest.partition(".")
            if dot and rest in wanted:
                found.add(name[: len(name) - len(rest)])
    return sorted(found, key=lambda prefix: (prefix.count("."), prefix))
