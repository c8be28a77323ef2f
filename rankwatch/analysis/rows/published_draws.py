"""Spans as Pasad et al. draw them: so many of each label, wherever in the corpus they are."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from rankwatch.analysis.rows.pieces import Piece, draw_number
from rankwatch.numerics.spans.span_frames import PASAD_PHONES, PASAD_WORDS

NO_SOUND = frozenset({"", "sil", "sp", "spn", "silence", "<sil>", "<eps>", "unk", "<unk>"})
"""What alignments call silence and what isn't known: no phone and no word."""

_FEWEST = 10
"""Spans that a label needs, so that each of ten parts can have one."""


@dataclass(frozen=True)
class LabelDraw:
    """How spans of a tier are drawn and pooled.

    Attributes:
        each: Spans of every label, as far as there are so many.
        labels: So many of the most frequent labels, or None for all.
        convention: Which frames a span covers.
    """

    each: int
    labels: int | None
    convention: str


_PHONES, _WORDS = LabelDraw(200, None, PASAD_PHONES), LabelDraw(15, 500, PASAD_WORDS)

PASAD: Mapping[str, LabelDraw] = {"phone": _PHONES, "phones": _PHONES, "word": _WORDS, "words": _WORDS}
"""By tier: 200 of each phone, 15 of each of the 500 most frequent words."""


def published_spans(pieces: Sequence[Piece], tiers: Iterable[str], seed: int) -> dict[str, dict[str, tuple[int, ...]]]:
    """`drawn_by_label` of every tier that `PASAD` names, by tier."""
    return {tier: drawn_by_label(pieces, tier, PASAD[tier], seed) for tier in tiers if tier in PASAD}


def drawn_by_label(pieces: Sequence[Piece], tier: str, draw: LabelDraw, seed: int) -> dict[str, tuple[int, ...]]:
    """Draw spans of each label at random, in an order that utterance, place and seed alone decide.

    Args:
        pieces: The utterances that are run.
        tier: Which spans.
        draw: How many.
        seed: Seed of the choice.

    Returns:
        Ascending places of the drawn spans of each utterance that has any, by its id. Labels of fewer than ten spans
        are left out.
    """
    instances: dict[str, list[tuple[int, str, int]]] = defaultdict(list)
    for piece in pieces:
        name = piece.utterance.id
        for place, span in enumerate(piece.utterance.spans.get(tier, ())):
            if span.label.lower() not in NO_SOUND:
                instances[span.label].append((draw_number(f"{name} {tier} {place}", seed), name, place))
    usual = sorted(label for label, all_ in instances.items() if len(all_) >= _FEWEST)
    frequent = sorted(usual, key=lambda label: -len(instances[label]))[: draw.labels]
    places: dict[str, list[int]] = defaultdict(list)
    for label in frequent:
        for _, name, place in sorted(instances[label])[: draw.each]:
            places[name].append(place)
    return {name: tuple(sorted(found)) for name, found in places.items()}
