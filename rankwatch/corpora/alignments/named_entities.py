"""Named entities that are marked in a text get times from the alignment of its words."""

from __future__ import annotations

import re
from dataclasses import replace
from difflib import SequenceMatcher

from rankwatch.corpora.corpus import Span, Utterance
from rankwatch.corpora.draft import Draft

NO_WORDS = "a named entity that the alignment of words doesn't have"
TIER = "named_entity"


def time_entities(draft: Draft) -> None:
    """Give utterances with aligned words the spans of their named entities; without words these stay labels.

    An utterance that has none has the tier all the same, without a span in it: what is tagged and what isn't is known.

    Args:
        draft: Its `entities` are those that are marked in the texts.
    """
    for i, utterance in enumerate(draft.utterances):
        entities = draft.entities.get(utterance.id)
        if entities is not None and utterance.spans.get("word") and TIER not in utterance.spans:
            spans = [_span(utterance, tag, first, first + count) for tag, first, count in entities]
            if None in spans:
                draft.leave_out(f"named entities of {utterance.id}", NO_WORDS)
            known = tuple(sorted((span for span in spans if span is not None), key=lambda span: span.start))
            draft.utterances[i] = replace(utterance, spans={**utterance.spans, TIER: known})


def _span(utterance: Utterance, tag: str, first: int, last: int) -> Span | None:
    """From the first to the last word of the text's characters `first` to `last`, if all of them were aligned."""
    written = [
        (found.start(), found.end(), _plain(found.group())) for found in re.finditer(r"\S+", utterance.text or "")
    ]
    written = [word for word in written if word[2]]
    spoken = [span for span in utterance.spans["word"] if _plain(span.label)]
    matcher = SequenceMatcher(None, [word[2] for word in written], [_plain(span.label) for span in spoken], False)
    places = {block.a + k: block.b + k for block in matcher.get_matching_blocks() for k in range(block.size)}
    wanted = [k for k, (start, end, _) in enumerate(written) if start < last and end > first]
    if not wanted or any(k not in places for k in wanted):
        return None
    return Span(spoken[places[wanted[0]]].start, spoken[places[wanted[-1]]].end, tag)


def _plain(word: str) -> str:
    """A word without case and punctuation, which aligners leave out."""
    return re.sub(r"[^\w']|_", "", word).strip("'").lower()
