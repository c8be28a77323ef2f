"""SLUE's tasks as one word: what is asked about, and by which score layers are compared."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rankwatch.analysis.rows.row_tables import columns_of
from rankwatch.corpora import Corpus

SENTIMENT, TIER = "sentiment", "named_entity"
LABELS = (SENTIMENT, "dialog_acts", "named_entities")
"""Columns of SLUE's tasks, as `rankwatch.corpora` names them; `TIER` holds the named entities that have times."""


@dataclass(frozen=True)
class Asked:
    """What an analysis asks about.

    Attributes:
        targets: Tiers and columns; None for all.
        tags: Tiers whose tags are told in frames and spans.
        macro_f1: Columns by whose macro F1 layers are compared rather than by accuracy.
        notes: What can't be asked, and what to do.
    """

    targets: Sequence[str] | None
    tags: tuple[str, ...]
    macro_f1: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def slue_tasks(corpus: Corpus, targets: Sequence[str] | None, tags: Sequence[str]) -> Asked:
    """SLUE's tasks that a corpus has: sentiment (macro F1), dialog acts (F1), named entities (frame and span F1).

    Args:
        corpus: All utterances.
        targets: What was asked for by name, or None for the tasks alone.
        tags: Tiers of tags that were asked for besides.

    Returns:
        What is asked.

    Raises:
        ValueError: If it has none of them.
    """
    columns = columns_of(corpus.utterances)
    labels = [name for name in LABELS if any(value is not None for value in columns.get(name, ()))]
    timed = bool(corpus.tiers().get(TIER))
    if not labels and not timed:
        raise ValueError(
            f"analyze: preset='slue' asks about {', '.join(LABELS)}, and {corpus.name} has none of them; audio= is the "
            "folder of one of SLUE's tasks, with the tables of its toolkit"
        )
    notes: tuple[str, ...] = ()
    if "named_entities" in labels and not timed:
        notes = (
            "named entities have no times, so their frame and span F1 are not measured: alignments= with the words' "
            "times, or the nel/<split>_entity_alignments.csv of SLUE's toolkit beside the tables",
        )
    tiers = [TIER] if timed else []
    chosen = list(targets) if targets is not None else [*labels, *tiers]
    return Asked(chosen, tuple(dict.fromkeys([*tags, *tiers])), (SENTIMENT,) if SENTIMENT in labels else (), notes)
