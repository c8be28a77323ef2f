"""Spans for ABX: which of a tier's are compared, so that there is something to compare and the cost is bounded."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from rankwatch.analysis.rows.pieces import Piece, draw_number
from rankwatch.analysis.rows.published_draws import NO_SOUND
from rankwatch.corpora import Span

AUTO, WITHIN, ANY = "auto", "within", "any"
"""Whether only spans between the same two neighbours are compared."""

GROUP = 10
"""Spans of one label, context and speaker at most, as ZeroSpeech 2021 has it (``max_size_group`` of fastabx)."""

SECONDS = 0.08
"""Seconds of speech for each row that was asked for: 2,048 rows are 8,192 frames at 50 frames a second."""

_FEWEST = 2
"""Spans of a label that a comparison needs: A and X."""

_COVERED = 0.5
"""Share of labels that can still be compared within a context, from which contexts are held equal."""

_NEXT_TO = 0.01
"""Seconds between two spans up to which they are neighbours."""

Context = tuple[str, str]
_ANY: Context = ("", "")


@dataclass(frozen=True)
class AbxDraw:
    """Spans of a tier that are compared.

    Attributes:
        places: Ascending places of the spans of each utterance that has any, by its id.
        within_context: Whether only spans between the same two neighbours are compared.
        speakers: Whether speakers are known.
        each: Spans of one label, context and speaker at most.
        seconds: Length of all of them together.
        seed: Seed of the choice.
    """

    places: dict[str, tuple[int, ...]]
    within_context: bool
    speakers: bool
    each: int
    seconds: float
    seed: int


@dataclass(frozen=True)
class _Token:
    draw: int
    utterance: str
    place: int
    label: str
    speaker: str
    context: Context
    seconds: float


def neighbours(spans: Sequence[Span], place: int) -> Context:
    """The labels before and after a span, empty where there is none right next to it.

    Args:
        spans: All spans of the tier, in order.
        place: Which one.

    Returns:
        Both labels.
    """
    one = spans[place]
    before = spans[place - 1] if place else None
    after = spans[place + 1] if place + 1 < len(spans) else None
    return (
        before.label if before is not None and abs(one.start - before.end) <= _NEXT_TO else "",
        after.label if after is not None and abs(after.start - one.end) <= _NEXT_TO else "",
    )


def abx_spans(pieces: Sequence[Piece], tier: str, seconds: float, seed: int, context: str = AUTO) -> AbxDraw:
    """Choose spans that have something to be compared with.

    Contexts are held equal where at least half of the labels can then still be compared; otherwise any context will do.
    Of each label, context and speaker at most ten spans are chosen. Where that is more than the budget: within contexts
    fewer contexts; otherwise fewer spans of each, down to two. Where that isn't enough, fewer speakers, and then fewer
    labels, as with the words of one speaker. What is chosen follows from names, places and the seed alone.

    Args:
        pieces: The utterances that are run.
        tier: Which spans; silence and unknown ones are never compared.
        seconds: How long all chosen spans may be together.
        seed: Seed of the choice.
        context: ``"within"`` or ``"any"`` instead of what the labels allow (``"auto"``).

    Returns:
        The choice; without any place where no two labels can be compared.
    """
    having = [piece.utterance for piece in pieces if piece.utterance.spans.get(tier)]
    known = all(one.speaker is not None for one in having)
    tokens = [
        _Token(
            draw_number(f"{one.id} {tier} {place}", seed),
            one.id,
            place,
            span.label,
            (one.speaker or "") if known else "",
            neighbours(one.spans[tier], place),
            span.end - span.start,
        )
        for one in having
        for place, span in enumerate(one.spans[tier])
        if span.label.lower() not in NO_SOUND and span.end > span.start
    ]
    anywhere, labels = _comparable(tokens, within=False)
    inside, labels_inside = _comparable(tokens, within=True)
    allowed = bool(labels_inside) and len(labels_inside) >= _COVERED * len(labels)
    within = allowed if context == AUTO else context == WITHIN
    chosen, each = _bounded(inside if within else anywhere, seconds, seed, within=within)
    places: dict[str, list[int]] = defaultdict(list)
    for one in chosen:
        places[one.utterance].append(one.place)
    found = {name: tuple(sorted(all_)) for name, all_ in places.items()}
    return AbxDraw(found, within, known, each, sum(one.seconds for one in chosen), seed)


def _comparable(tokens: Sequence[_Token], *, within: bool) -> tuple[list[_Token], set[str]]:
    """Spans of contexts in which something can be compared, and the labels of which two can be, beside another one."""
    contexts: dict[Context, list[_Token]] = defaultdict(list)
    for one in tokens:
        contexts[one.context if within else _ANY].append(one)
    chosen: list[_Token] = []
    covered: set[str] = set()
    for inside in contexts.values():
        counts = Counter(one.label for one in inside)
        labels: dict[str, set[str]] = defaultdict(set)
        for one in inside:
            labels[one.speaker].add(one.label)
        beside_others = {label for all_ in labels.values() if len(all_) > 1 for label in all_}
        found = {label for label in beside_others if counts[label] >= _FEWEST}
        covered |= found
        chosen += inside if found else []
    return chosen, covered


def _bounded(tokens: Sequence[_Token], seconds: float, seed: int, *, within: bool) -> tuple[list[_Token], int]:
    """As many as the budget allows, and how many of each label, context and speaker at most."""
    groups: dict[tuple[str, str, Context], list[_Token]] = defaultdict(list)
    for one in sorted(tokens, key=lambda token: (token.draw, token.utterance, token.place)):
        groups[one.label, one.speaker, one.context if within else _ANY].append(one)
    for each in [GROUP] if within else range(GROUP, _FEWEST - 1, -1):
        chosen = [one for group in groups.values() for one in group[:each]]
        if sum(one.seconds for one in chosen) <= seconds:
            return chosen, each
    if within:
        chosen = _fewer(chosen, lambda one: "\t".join(one.context), seconds, seed)
    chosen = _fewer(chosen, lambda one: one.speaker, seconds, seed)
    return _fewer(chosen, lambda one: one.label, seconds, seed, least=2), each


def _fewer(
    tokens: list[_Token], block_of: Callable[[_Token], str], seconds: float, seed: int, least: int = 1
) -> list[_Token]:
    """As many whole blocks as the budget allows, in a drawn order, but so many at least; all where they fit."""
    if sum(one.seconds for one in tokens) <= seconds:
        return tokens
    blocks: dict[str, list[_Token]] = defaultdict(list)
    for one in tokens:
        blocks[block_of(one)].append(one)
    found: list[_Token] = []
    left = seconds
    for k, name in enumerate(sorted(blocks, key=lambda block: draw_number(f"abx {block}", seed))):
        left -= sum(one.seconds for one in blocks[name])
        if k >= least and left < 0.0:
            break
        found += blocks[name]
    return found
