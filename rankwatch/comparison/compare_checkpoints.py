"""From rows of models to a `Comparison`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rankwatch._version import __version__
from rankwatch.analysis.measures.targets import recordings_of
from rankwatch.analysis.rows.row_tables import FRAME, ModelRows
from rankwatch.comparison.checkpoints.checkpoint_differences import (
    checkpoint_differences,
    common_utterances,
    measure_layers,
)
from rankwatch.comparison.checkpoints.layer_matching import LABEL, MatchedLayer, match_layers
from rankwatch.comparison.comparison_result import Comparison
from rankwatch.comparison.differences.sides import make_sides
from rankwatch.comparison.differences.verdicts import AtLeast
from rankwatch.comparison.output.sentences import CHECKPOINTS
from rankwatch.runtime.terminal.progress import progress

FEWEST = 16
"""Utterances that an interval needs."""


def compare_checkpoints(
    models: Sequence[ModelRows],
    corpus: str,
    groups: Mapping[str, Sequence[str]] | None = None,
    at_least: AtLeast | None = None,
    match: str = LABEL,
    about: Mapping[str, Any] | None = None,
    *,
    same_seeds: bool = False,
) -> Comparison:
    """Compare models by their rows of the same utterances and frames.

    Args:
        models: Two or more.
        corpus: What the audio is called.
        groups: Names of models that differ in their seed alone, by the name of the group.
        at_least: The smallest relative difference that matters, or None for what seeds alone do (`SEEDS`).
        match: Which layers are compared: see `match_layers`.
        about: What else is to be recorded of how it was measured.
        same_seeds: Whether the models of each group stand in the order of the same seeds.

    Returns:
        Paired differences, and how alike the same layers are.

    Raises:
        ValueError: If layers can't be matched, or the models have no utterance in common.
    """
    names = [rows.name for rows in models]
    sides = make_sides(names, groups, same_seeds=same_seeds)
    matched = match_layers([rows.layers for rows in models], names, match)
    kept = common_utterances(models)
    if not kept[0].any():
        raise ValueError("no utterance could be run through all of the models")
    utterances = len(set(recordings_of(models[0])[kept[0]].tolist()))
    measured = list(measure_layers(models, progress(matched, "comparing layers"), sides, corpus))
    differences = checkpoint_differences(measured, sides, at_least)
    protocol = {
        "version": __version__,
        "models": names,
        "groups": None if groups is None else {name: list(members) for name, members in groups.items()},
        "same_seeds": same_seeds or None,
        "corpus": corpus,
        "utterances": int(kept[0].sum()),
        "frames": int(sum(kept[0][models[0].tables[FRAME].utterances])),
        "at_least": at_least,
        "match": match,
        "layers": {layer.name: [info.path for info in layer.layers] for layer in matched},
        **(about or {}),
    }
    notes = _notes(models, matched, utterances)
    return Comparison(CHECKPOINTS, tuple(differences), (), tuple(notes), protocol)


def _notes(models: Sequence[ModelRows], matched: Sequence[MatchedLayer], utterances: int) -> list[str]:
    said = [f"{rows.name}: {reason}" for rows in models for reason in rows.failures.values()]
    wide = [layer for layer in matched if not layer.equal_width]
    if wide:
        widths = " and ".join(str(layer.width) for layer in wide[0].layers)
        said.append(
            f"Effective ranks of layers of different width aren't compared ({wide[0].name}: {widths} dimensions); how "
            "alike they are is."
        )
    taps = [layer for layer in matched if len({info.tap for info in layer.layers}) > 1]
    if taps:
        read = " and ".join(info.tap or "unknown" for info in taps[0].layers)
        said.append(f"Layers are read at different places of their blocks ({taps[0].name}: {read}).")
    if utterances < FEWEST:
        said.append(f"{utterances} utterances are too few for intervals; {FEWEST} or more are needed.")
    return said
