"""All measurements of all models: what is measured in which order, and how they are looked up."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from rankwatch.analysis.measures.abx.abx_measures import of_abx
from rankwatch.analysis.measures.label_measures import of_target
from rankwatch.analysis.measures.layer_measures import label_free, rank_of_groups
from rankwatch.analysis.measures.layer_pairs import between_models, within_model
from rankwatch.analysis.measures.measurement import Measurement
from rankwatch.analysis.measures.probes.tag_measures import of_tags
from rankwatch.analysis.measures.published_measures import of_published
from rankwatch.analysis.measures.targets import Target, recordings_of, targets_of
from rankwatch.analysis.rows.row_tables import LayerInfo, ModelRows, columns_of

_MOST_GROUPS = 12
"""Different values up to which a column divides utterances into groups that are looked at apart."""

_FEWEST_IN_GROUP = 8
"""Utterances that such a group needs."""


@dataclass
class Profile:
    """Measurements, in the order in which they were made.

    Attributes:
        measurements: All of them.
        targets: The labelled properties that were asked about.
        notes: What was passed over, in sentences.
    """

    measurements: list[Measurement] = field(default_factory=list)
    targets: tuple[Target, ...] = ()
    notes: list[str] = field(default_factory=list)
    _index: dict[tuple[str, str, str, str], list[Measurement]] = field(
        default_factory=lambda: defaultdict(list), repr=False, compare=False
    )
    _sorted_in: int = field(default=0, repr=False, compare=False)

    def find(
        self, *, model: str, measure: str, target: str = "", level: str | None = None, group: str = ""
    ) -> dict[str, Measurement]:
        """One measure of a model's layers.

        Args:
            model: The model's name.
            measure: Which measure.
            target: Of what.
            level: Of which rows; any where None.
            group: Of whom alone.

        Returns:
            The measurements by layer, in the order of the layers.
        """
        known = self._by_name()[model, measure, target, group]
        return {one.layer: one for one in known if level in (None, one.level)}

    def _by_name(self) -> dict[tuple[str, str, str, str], list[Measurement]]:
        """All measurements by model, measure, target and group; those that are new are put there first."""
        for one in self.measurements[self._sorted_in :]:
            self._index[one.model, one.measure, one.target, one.group].append(one)
        self._sorted_in = len(self.measurements)
        return self._index


def measure_models(
    models: Sequence[ModelRows],
    *,
    names: Sequence[str] | None = None,
    groupings: Sequence[str] | None = None,
    working: Callable[[Sequence[tuple[ModelRows, LayerInfo]]], Iterator[tuple[ModelRows, LayerInfo]]] = iter,
) -> Profile:
    """Measure every layer of every model.

    Args:
        models: Rows of each, of the same utterances; the layers of all others are compared with those of the last.
        names: Tiers and columns that are asked about; by default all that have enough labels.
        groupings: Columns whose values are looked at apart; by default speakers and all columns of a few values.
        working: Goes through the layers, with a progress bar for example.

    Returns:
        The profile.
    """
    profile = Profile()
    targets, passed_over = targets_of(models[0], names)
    profile.targets = tuple(targets)
    profile.notes += [f"{name} is not asked about: {reason}" for name, reason in passed_over.items()]

    def take(found: Iterator[Measurement]) -> None:
        profile.measurements.extend(found)

    for rows, layer in working([(one, layer) for one in models for layer in one.layers]):
        own, _ = targets_of(rows, names)
        by = groups_of(rows, groupings)
        take(label_free(rows, layer, recordings_of(rows)))
        take(rank_of_groups(rows, layer, recordings_of(rows), by))
        for target in own:
            take(of_target(rows, layer, target, by))
        take(of_published(rows, layer, lambda reason: _once(profile.notes, reason)))
        take(of_tags(rows, layer, lambda reason: _once(profile.notes, reason)))
        take(of_abx(rows, layer, lambda reason: _once(profile.notes, reason)))
    for rows in models:
        take(within_model(rows, recordings_of(rows)))
    last = models[-1]
    for rows in models:
        if rows is not last:
            take(between_models(rows, last, recordings_of(rows)))
    return profile


def _once(notes: list[str], reason: str) -> None:
    if reason not in notes:
        notes.append(reason)


def groups_of(rows: ModelRows, groupings: Sequence[str] | None) -> dict[str, NDArray[np.str_]]:
    """Which group each utterance is in, by grouping; empty where it is in none that is large enough.

    Args:
        rows: A model's.
        groupings: Columns, or None for speakers and all columns of a few values.

    Returns:
        (u,) names by grouping.
    """
    found = {}
    for name, values in columns_of(rows.utterances).items():
        if groupings is not None and name not in groupings:
            continue
        words = np.array([value if isinstance(value, str) else "" for value in values])
        names, counts = np.unique(words[words != ""], return_counts=True)
        large = names[counts >= _FEWEST_IN_GROUP]
        if len(large) >= 2 and (groupings is not None or len(names) <= _MOST_GROUPS):
            found[name] = np.where(np.isin(words, large), words, "")
    return found
