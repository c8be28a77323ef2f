"""Tags of spans told from consecutive cells: predicted spans, and how many of them are right by four conventions.

- *Frames*: frames of 10 ms that have a tag and were given the same one.
- *Frames, tagged or not*: the same without telling tags apart. Named entity localization's frame-F1 of SLUE phase 2
  (Shon et al. 2023, 2212.10525; ``slue_toolkit/eval/eval_utils_nel.py``).
- *Labels*: tags of an utterance as an unordered list, wherever they are. The label-F1 of SLUE's named entities (Shon et
  al. 2022, 2111.10367; ``eval_utils_ner.py``).
- *Spans*: spans of the same tag whose intersection is more than half of their union, so that no span has two partners
  (Everingham et al., "The PASCAL visual object classes (VOC) challenge", IJCV 2010). SLUE's F1 asks for the same phrase
  instead, which a probe doesn't write.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from rankwatch.analysis.rows.sequences.cell_rows import CELL
from rankwatch.corpora import Span

RESOLUTION = 0.01
"""Seconds of a frame, as SLUE has it."""

OVERLAP = 0.5
"""Intersection over union that two spans of one tag have to exceed."""

SMOOTHED = 3
"""Cells over which scores are averaged before tags are told, a quarter of a second."""

Spans = Sequence[Span]
Counted = tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]
"""(L,) what is there and was found, there and missed, and found but not there, by tag."""


def told_tags(
    scores: NDArray[np.float64], has: NDArray[np.float64], utterances: NDArray[np.int64]
) -> NDArray[np.int64]:
    """One tag or none for each cell: of each tag about as many cells as have it.

    A tag's threshold is the score of the c-th highest cell, c being how many have it; a cell gets the tag whose
    threshold it exceeds by most. Without that a rare tag would never win against no tag at all.

    Args:
        scores: (n, L) a probe's, of each tag.
        has: (n, L) ones where a cell has a tag.
        utterances: (n,) which utterance each cell is of; cells of one are consecutive and in order.

    Returns:
        (n,) the tag's place, -1 for none.
    """
    smooth = np.empty_like(scores)
    for u in np.unique(utterances):
        smooth[utterances == u] = _smoothed(scores[utterances == u])
    counts = has.sum(axis=0).astype(int)
    ranked = -np.sort(-smooth, axis=0)
    thresholds = np.array([ranked[count - 1, k] if count else np.inf for k, count in enumerate(counts)])
    above = smooth - thresholds
    best = above.argmax(axis=1)
    return np.where(above[np.arange(len(best)), best] >= 0.0, best, -1)


def _smoothed(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """Means over neighbours, over fewer at both ends."""
    kernel = np.ones(SMOOTHED)
    weights = np.convolve(np.ones(len(scores)), kernel)[SMOOTHED // 2 :][: len(scores)]
    sums = [np.convolve(column, kernel)[SMOOTHED // 2 :][: len(scores)] for column in scores.T]
    return np.stack(sums, axis=1) / weights[:, None]


def spans_of(told: NDArray[np.int64], tags: Sequence[str], cell: float = CELL) -> tuple[Span, ...]:
    """Consecutive cells of one tag as a span.

    Args:
        told: (n,) place of each cell's tag, -1 for none.
        tags: Their names.
        cell: Seconds of a cell.

    Returns:
        The spans in order.

    Example:
        >>> spans_of(np.array([-1, 0, 0, 1, -1]), ["ORG", "PLACE"], cell=0.5)
        (Span(start=0.5, end=1.5, label='ORG'), Span(start=1.5, end=2.0, label='PLACE'))
    """
    edges = np.flatnonzero(np.diff(told)) + 1
    starts, ends = [0, *edges.tolist()], [*edges.tolist(), len(told)]
    return tuple(
        Span(start * cell, end * cell, tags[told[start]])
        for start, end in zip(starts, ends, strict=True)
        if end > start and told[start] >= 0
    )


def count_frames(true: Spans, told: Spans, tags: Sequence[str]) -> Counted:
    """Frames of 10 ms by tag.

    Args:
        true: The spans that are there.
        told: Those that were predicted.
        tags: Names.

    Returns:
        How many were found, missed, and false.
    """
    here, there = _frames(true, tags), _frames(told, tags)
    longest = max(len(here), len(there))
    here, there = (np.pad(one, (0, longest - len(one)), constant_values=-1) for one in (here, there))
    places = np.arange(len(tags))[:, None]
    hits = ((here == there) & (here == places)).sum(axis=1)
    return _counted(hits, (here == places).sum(axis=1), (there == places).sum(axis=1))


def _frames(spans: Spans, tags: Sequence[str]) -> NDArray[np.int64]:
    found = np.full(max((_frame(one.end) for one in spans), default=0), -1)
    for one in spans:
        found[_frame(one.start) : _frame(one.end)] = list(tags).index(one.label)
    return found


def _frame(seconds: float) -> int:
    return int(seconds / RESOLUTION + 1e-6)


def count_labels(true: Spans, told: Spans, tags: Sequence[str]) -> Counted:
    """Tags as an unordered list; see `count_frames`."""
    here, there = (Counter(one.label for one in spans) for spans in (true, told))
    counts = [np.array([known[tag] for tag in tags]) for known in (here & there, here, there)]
    return _counted(*counts)


def count_spans(true: Spans, told: Spans, tags: Sequence[str]) -> Counted:
    """Spans of the same tag that overlap by more than half of their union; see `count_frames`."""
    hits = dict.fromkeys(tags, 0)
    left = list(told)
    for one in true:
        partner = next((other for other in left if other.label == one.label and _alike(one, other)), None)
        if partner is not None:
            left.remove(partner)
            hits[one.label] += 1
    here, there = (Counter(one.label for one in spans) for spans in (true, told))
    return _counted(*(np.array([known[tag] for tag in tags]) for known in (hits, here, there)))


def _alike(one: Span, other: Span) -> bool:
    shared = min(one.end, other.end) - max(one.start, other.start)
    union = max(one.end, other.end) - min(one.start, other.start)
    return shared > OVERLAP * union  # where they don't meet, shared is negative


def _counted(hits: NDArray[np.int64], here: NDArray[np.int64], there: NDArray[np.int64]) -> Counted:
    return hits.astype(np.float64), (here - hits).astype(np.float64), (there - hits).astype(np.float64)


def by_utterance(spans: Mapping[str, Spans], seconds: Mapping[str, float], shift: int) -> dict[str, tuple[Span, ...]]:
    """The spans of other utterances: what predictions reach that know nothing of their own.

    Args:
        spans: Of each utterance.
        seconds: How long each is.
        shift: Each has those of the so many-th after it, in the order of their names, cut at its own end.

    Returns:
        Spans by utterance.
    """
    names = sorted(spans)
    found = {}
    for k, name in enumerate(names):
        end = seconds[name]
        others = spans[names[(k + shift) % len(names)]]
        found[name] = tuple(Span(one.start, min(one.end, end), one.label) for one in others if one.start < end)
    return found
