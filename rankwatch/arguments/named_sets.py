"""The evaluation sets by name, from all that `eval_sets` may be."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from rankwatch.extraction.eval_sets.eval_set_sources import AudioFolder, FirstBatches, Loader
from rankwatch.extraction.eval_sets.labelled_set import LabelledSet
from rankwatch.runtime.argument_kinds import is_path, refusal

FIRST_BATCHES = "first_batches"
TRAINING_PASS = "train"
"""Name of the training forward pass as a source of rows."""

EvalSource = FirstBatches | AudioFolder | LabelledSet | Loader
EvalSets = str | Path | EvalSource | Mapping[str, str | Path | EvalSource]

_SOURCES = "'first_batches', a folder, FirstBatches(...), AudioFolder(...), LabelledSet(...) or Loader(...)"


def named_sets(eval_sets: object) -> dict[str, EvalSource]:
    """Shorthand resolved: one object for each set, by name.

    Args:
        eval_sets: The user's argument.

    Returns:
        The sets, the first of which is the primary.

    Raises:
        ValueError: If something is no set, a name can't be one, or two sets are the first batches.
    """
    if not isinstance(eval_sets, Mapping):
        one = _eval_source("eval_sets", eval_sets)
        return {one.default_name: one}
    sets: dict[str, EvalSource] = {}
    for name, value in eval_sets.items():
        if not isinstance(name, str) or not name or "/" in name or "@" in name or name == TRAINING_PASS:
            raise ValueError(
                f"eval_sets: {name!r} can't be a set's name; names are strings without '/' or '@', and 'train' stands "
                "for the training pass"
            )
        sets[name] = _eval_source(f"eval_sets[{name!r}]", value)
    twice = [name for name, one in sets.items() if isinstance(one, FirstBatches)]
    if len(twice) > 1:
        raise ValueError(f"eval_sets: the first batches can be one set only, and are {' and '.join(map(repr, twice))}")
    return sets


def _eval_source(where: str, value: object) -> EvalSource:
    if isinstance(value, (FirstBatches, AudioFolder, LabelledSet, Loader)):
        return value
    if isinstance(value, str) and value == FIRST_BATCHES:
        return FirstBatches()
    if isinstance(value, str) and value == "auto":
        raise ValueError(f"{where}='auto': that is {FIRST_BATCHES!r} now (a folder called auto: './auto')")
    if is_path(value):
        return AudioFolder(value)  # type: ignore[arg-type]
    iterable = hasattr(value, "__iter__") or hasattr(value, "__getitem__")
    if iterable and not isinstance(value, (str, bytes, type)):
        raise ValueError(
            f"{where} is a {type(value).__name__}: wrap a dataloader as Loader(loader, forward=f), where f(module, "
            f"batch) runs one of its batches through the model. Other sets are {_SOURCES}; several of them are a "
            "mapping from names to sets"
        )
    raise ValueError(
        refusal("", where, value, f"an evaluation set, that is {_SOURCES}, or a mapping from names to these")
    )
