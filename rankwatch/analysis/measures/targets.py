"""What rows can be asked about: the labels of a corpus, which rows have them, and what belongs together."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rankwatch.analysis.measures.measurement import FEWEST, SPEAKERS
from rankwatch.analysis.rows.row_tables import FRAME, SPEAKER, UTTERANCE, ModelRows, columns_of
from rankwatch.numerics.rows.usable_labels import FEWEST_GROUPS, FEWEST_ROWS, usable_labels

FEWEST_UTTERANCES = 6
"""Utterances that a label needs to be asked about."""

_MOST_LABELS = 0.5
"""Different labels per utterance from which a column is a name of each rather than a property of several."""

_TWO = 2
_RECORDINGS = 16
_SEVERAL = 3
"""Speakers that it takes to leave one out in turn."""


@dataclass(frozen=True)
class Target:
    """A property that some rows have.

    Attributes:
        name: A tier, a label's name, or ``"speaker"``.
        table: Rows for the linear map: the tier's, or frames.
        probe_table: Rows for the probe: the tier's, or utterance means.
        of_utterance: The property of each utterance (None where it has none); empty for tiers.
        several: Whether an utterance may have several at once.
        groups: What rows are grouped by for the interval, by utterance.
        probe_groups: What is left out together when a probe is tested, by utterance.
        left_out: What that is, in a word.
    """

    name: str
    table: str
    probe_table: str
    of_utterance: tuple[str | frozenset[str] | None, ...]
    several: bool
    groups: NDArray[np.str_]
    probe_groups: NDArray[np.str_]
    left_out: str


def recordings_of(rows: ModelRows) -> NDArray[np.str_]:
    """What rows are grouped by, by utterance: its recording, or where there are few long ones, its piece of it."""
    names = np.asarray(rows.recordings)
    return names if len(np.unique(names)) >= _RECORDINGS else np.asarray([one.id for one in rows.utterances])


def probe_units(target: Target, at: NDArray[np.int64]) -> NDArray[np.str_]:
    """What the interval of a probe's score is over.

    Where whole speakers are left out, speakers are what the score varies with: of 28 and 64 speakers, intervals over
    utterances hold the accuracy on others in 70 to 84 % of draws, and intervals over speakers in 80 to 89 %
    (`tests/benchmarks/probe_coverage.py`). Fewer than 16 have no interval: utterances then speak for these very ones.

    Args:
        target: A property.
        at: (n,) which utterance each row is of.

    Returns:
        (u,) speakers, where they are left out and these rows are of 16 or more; otherwise what the property's rows are
        grouped by.
    """
    enough = target.left_out == SPEAKERS and len(np.unique(target.probe_groups[at])) >= FEWEST
    return target.probe_groups if enough else target.groups


def rests_on(rows: ModelRows, groups: NDArray[np.str_], of_rows: NDArray[np.int64]) -> dict[str, Any]:
    """What the rows of a measurement come from, besides how many they are.

    Args:
        rows: A model's.
        groups: (u,) what its utterances are grouped by.
        of_rows: (n,) which utterance each row is of.

    Returns:
        The two fields of a `Measurement`, ``grouped_by`` and ``speakers``.
    """
    there = [rows.utterances[k] for k in np.unique(of_rows).tolist()]
    speakers = {one.speaker for one in there}
    names = groups.tolist()
    if names == [one.speaker for one in rows.utterances]:
        word = SPEAKERS
    else:
        word = "utterances" if names == [one.id for one in rows.utterances] else "recordings"
    return {"grouped_by": word, "speakers": None if None in speakers else len(speakers)}


def left_out_by(rows: ModelRows) -> tuple[NDArray[np.str_], str]:
    """What is left out together when a probe is tested: speakers, or utterances where speakers aren't known.

    Args:
        rows: A model's.

    Returns:
        (u,) names, and what they are.
    """
    speakers = [one.speaker for one in rows.utterances]
    known = [speaker for speaker in speakers if speaker is not None]
    if len(set(known)) >= _SEVERAL and len(known) == len(speakers):
        return np.asarray(speakers), SPEAKERS
    return recordings_of(rows), "utterances"


def targets_of(rows: ModelRows, names: Sequence[str] | None = None) -> tuple[list[Target], dict[str, str]]:
    """Everything that the corpus says of its utterances and that can be asked about.

    Args:
        rows: A model's rows; which utterances there are is the same for all models.
        names: Tiers and columns that are wanted; by default all.

    Returns:
        The targets, and for what was passed over the reason.
    """
    recordings = recordings_of(rows)
    speakers = [one.speaker for one in rows.utterances]
    by_speaker = left_out_by(rows)
    apart = by_speaker[1] == SPEAKERS
    found: list[Target] = []
    passed_over: dict[str, str] = {}
    tiers = [name for name in rows.tables if name not in (FRAME, UTTERANCE)]
    columns = columns_of(rows.utterances)
    for tier in tiers if names is None else [tier for tier in tiers if tier in names]:
        table = rows.tables[tier]
        if len(usable_labels(table.labels, recordings[table.utterances]).labels) < _TWO:
            passed_over[tier] = f"fewer than two labels have {FEWEST_ROWS} rows in {FEWEST_GROUPS} utterances"
        else:
            found.append(Target(tier, tier, tier, (), False, recordings, *by_speaker))
    for name, values in columns.items():
        reason = _unusable(values)
        if reason or (names is not None and name not in names):
            if any(value is not None for value in values) and (names is None or name in names):
                passed_over[name] = reason
            continue
        groups, (probe, words) = recordings, by_speaker
        if name == SPEAKER:
            probe, words = _texts(rows, recordings)
        elif apart and _of_speakers(values, speakers):
            groups = np.asarray(speakers)
        several = any(isinstance(value, frozenset) for value in values)
        found.append(Target(name, FRAME, UTTERANCE, tuple(values), several, groups, probe, words))
    return found, passed_over


def units_of_groups(rows: ModelRows, of_utterance: NDArray[np.str_], groups: NDArray[np.str_]) -> NDArray[np.str_]:
    """What there is to count when groups of utterances are compared.

    Args:
        rows: A model's.
        of_utterance: (u,) the group of each utterance, empty where it is in none.
        groups: (u,) what a property's rows are grouped by.

    Returns:
        (u,) speakers, where each group has some of its own (sexes, ages): few speakers say little of such a group,
        however much they say. Otherwise `groups`.
    """
    inside = [(one.speaker, name) for one, name in zip(rows.utterances, of_utterance.tolist(), strict=True) if name]
    speakers, names = {speaker for speaker, _ in inside}, {name for _, name in inside}
    if None in speakers or len(set(inside)) > len(speakers) or len(names) == len(speakers):
        return groups
    return np.asarray([one.speaker or "" for one in rows.utterances])


def _unusable(values: Sequence[str | frozenset[str] | None]) -> str:
    """Why a column can't be asked about; empty where it can."""
    counts: dict[str, int] = defaultdict(int)
    for value in values:
        for one in value if isinstance(value, frozenset) else [value]:
            if one is not None:
                counts[one] += 1
    usual = [label for label, count in counts.items() if count >= FEWEST_UTTERANCES]
    if len(counts) > _MOST_LABELS * sum(counts.values()):
        return "nearly every utterance has another one"
    several = any(isinstance(value, frozenset) for value in values)
    if len(usual) < (1 if several else 2):
        return f"fewer than two labels have {FEWEST_UTTERANCES} utterances or more"
    return ""


def _texts(rows: ModelRows, recordings: NDArray[np.str_]) -> tuple[NDArray[np.str_], str]:
    """For speakers' voices: sentences that several say are left out together, so that none is known by its words."""
    texts = [one.text for one in rows.utterances]
    different = {text for text in texts if text}
    if all(texts) and _SEVERAL <= len(different) <= _MOST_LABELS * len(texts):
        return np.asarray(texts), "sentences"
    return recordings, "utterances"


def _of_speakers(values: Sequence[str | frozenset[str] | None], speakers: Sequence[str | None]) -> bool:
    """Whether each speaker has one label alone, so that speakers and not utterances are what there is to count."""
    seen: dict[str | None, set[str | frozenset[str] | None]] = defaultdict(set)
    for value, speaker in zip(values, speakers, strict=True):
        seen[speaker].add(value)
    return all(len(labels) == 1 for labels in seen.values())
