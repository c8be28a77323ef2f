"""No two things that are asked about have one name: a tier called as a column, or as what is always measured."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TypeVar

from rankwatch.analysis.measures.layer_measures import ACOUSTICS
from rankwatch.analysis.rows.row_tables import FRAME, SPEAKER, UTTERANCE, columns_of
from rankwatch.corpora import Corpus

T = TypeVar("T")

_TAKEN = (FRAME, UTTERANCE, SPEAKER, ACOUSTICS)
"""Names of what every analysis has: rows of these kinds, a column, and a property."""


def with_own_names(corpus: Corpus) -> tuple[Corpus, list[str]]:
    """Give a second name to what would be taken for something else.

    A tier "utterance", as TextGrids have it, would mix its spans' rows with the utterances' means; a column of a
    tier's name would have its numbers in the tier's place.

    Args:
        corpus: All utterances.

    Returns:
        The same where nothing has two meanings; otherwise with such tiers and columns renamed. And what was renamed.
    """
    there = corpus.tiers()
    tiers = {name: f"{name} (tier)" for name in there if name in _TAKEN}
    columns = {
        name: f"{name} (column)"
        for name in columns_of(corpus.utterances)
        if name == ACOUSTICS or (name in there and name not in _TAKEN)
    }
    if not tiers and not columns:
        return corpus, []
    utterances = tuple(
        replace(one, spans=_renamed(one.spans, tiers), labels=_renamed(one.labels, columns))
        for one in corpus.utterances
    )
    said = [f"two things are called {old!r}: the {new.rpartition('(')[2][:-1]} is called {new!r}"
            for old, new in (tiers | columns).items()]  # fmt: skip
    return replace(corpus, utterances=utterances), said


def _renamed(values: Mapping[str, T], names: Mapping[str, str]) -> dict[str, T]:
    return {names.get(name, name): value for name, value in values.items()}
