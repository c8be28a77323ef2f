"""Labels that a sample says something about, and which rows are drawn together where labels belong to speakers."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray

FEWEST_ROWS, FEWEST_GROUPS = 20, 6
"""Rows, and utterances that they come from, that a label needs: one of a single utterance can't be told from it."""

TOO_FEW_ROWS: Final = "too_few_rows"
TOO_FEW_GROUPS: Final = "too_few_groups"


@dataclass(frozen=True)
class UsableLabels:
    """Which labels are frequent enough.

    Attributes:
        mask: (n,) whether each row has one of them.
        labels: The labels, in the order of their names.
        left_out: All others, with the reason: `too_few_rows` or `too_few_groups`.
        unlabelled: Rows without a label (None, NaN or an empty name).
    """

    mask: NDArray[np.bool_]
    labels: tuple[Any, ...]
    left_out: dict[Any, str]
    unlabelled: int


def usable_labels(
    labels: Any, groups: Any | None = None, *, min_rows: int = FEWEST_ROWS, min_groups: int = FEWEST_GROUPS
) -> UsableLabels:
    """Labels of at least `min_rows` rows that come from at least `min_groups` utterances.

    Args:
        labels: (n,) label of each row: names or numbers; None, NaN or "" where it has none.
        groups: (n,) utterance of each row (its speaker, where labels are the speaker's property: see `label_groups`);
            None where rows are independent.
        min_rows: Rows that a label needs.
        min_groups: Different groups that these come from.

    Returns:
        See `UsableLabels`. A label of few rows *and* few groups is left out for its rows.

    Raises:
        ValueError: If the lengths don't fit.

    Example:
        >>> found = usable_labels(["a"] * 30 + ["t"] * 30 + ["x"], [*range(30), *([0] * 30), 1])
        >>> found.labels, found.left_out, int(found.mask.sum())
        (('a',), {'t': 'too_few_groups', 'x': 'too_few_rows'}, 30)
    """
    names, of = as_list(labels), as_list(groups) if groups is not None else None
    of = list(range(len(names))) if of is None else of
    if len(names) != len(of):
        raise ValueError(f"expected one group for each of {len(names)} labels, got {len(of)}")
    rows: dict[Any, int] = defaultdict(int)
    seen: dict[Any, set[Any]] = defaultdict(set)
    for name, group in zip(names, of, strict=True):
        if not _is_missing(name):
            rows[name] += 1
            seen[name].add(group)
    used, left_out = [], {}
    for name in sorted(rows, key=lambda one: (str(type(one)), one)):
        if rows[name] < min_rows:
            left_out[name] = TOO_FEW_ROWS
        elif len(seen[name]) < min_groups:
            left_out[name] = TOO_FEW_GROUPS
        else:
            used.append(name)
    frequent = set(used)
    mask = np.array([not _is_missing(name) and name in frequent for name in names], dtype=bool)
    return UsableLabels(mask, tuple(used), left_out, sum(map(_is_missing, names)))


def label_groups(labels: Any, utterances: Any, speakers: Any | None = None) -> NDArray[Any]:
    """Which rows are drawn together, for these labels: those of a speaker or those of an utterance.

    Sex, first language or age belong to the speaker: with 5 speakers there are 5 draws of them, however many
    utterances each said. So where each speaker has one label, and some label has more than one speaker, rows of one
    speaker are one group. Labels that name the speaker (one of each) are asked *across* utterances, and so are
    those that change between a speaker's utterances, like phones, words or emotions.

    Args:
        labels: (n,) label of each row; None, NaN or "" where it has none.
        utterances: (n,) utterance of each row.
        speakers: (n,) speaker of each row; None where not known, and then it is always the utterances.

    Returns:
        `speakers` or `utterances`, as an array.

    Raises:
        ValueError: If the lengths don't fit.

    Example:
        >>> speakers, utterances = ["ann", "ann", "ben", "cem"], [0, 1, 2, 3]
        >>> label_groups(["f", "f", "m", "m"], utterances, speakers).tolist()
        ['ann', 'ann', 'ben', 'cem']
        >>> label_groups(speakers, utterances, speakers).tolist()
        [0, 1, 2, 3]
    """
    names, of_utterance = as_list(labels), as_list(utterances)
    if speakers is None:
        return np.asarray(of_utterance)
    of_speaker = as_list(speakers)
    if not len(names) == len(of_utterance) == len(of_speaker):
        lengths = f"{len(names)}, {len(of_utterance)} and {len(of_speaker)}"
        raise ValueError(f"expected as many labels as utterances and speakers, got {lengths}")
    labels_of, speakers_of = defaultdict(set), defaultdict(set)
    for name, speaker in zip(names, of_speaker, strict=True):
        if not _is_missing(name):
            labels_of[speaker].add(name)
            speakers_of[name].add(speaker)
    constant = all(len(found) == 1 for found in labels_of.values())
    shared = any(len(found) > 1 for found in speakers_of.values())
    return np.asarray(of_speaker if constant and shared else of_utterance)


def as_list(values: Any) -> list[Any]:
    """Python objects of a sequence, an array or a tensor."""
    if isinstance(values, torch.Tensor):
        values = values.detach().cpu().numpy()
    return values.tolist() if isinstance(values, np.ndarray) else list(values)


def _is_missing(name: Any) -> bool:
    return name is None or name == "" or name != name
