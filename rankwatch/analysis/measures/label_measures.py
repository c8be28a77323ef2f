"""What each layer holds of a labelled property: by a linear map, corrected, and by a probe that leaves speakers out."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from rankwatch.analysis.measures.measurement import CCA, Measurement, of_similarity
from rankwatch.analysis.measures.probes.group_scores import group_scores
from rankwatch.analysis.measures.probes.probe_scores import Counts, indicators, several_labels, single_labels
from rankwatch.analysis.measures.probes.share_intervals import equal_units, least_error, share_interval
from rankwatch.analysis.measures.targets import FEWEST_UTTERANCES, Target, probe_units, rests_on, units_of_groups
from rankwatch.analysis.rows.row_tables import LayerInfo, ModelRows, RowTable
from rankwatch.numerics import cca_squared

_EACH = 2
"""Rows that a label of spans needs to be predicted: with fewer it can't be in training and test."""

Labelled = tuple[torch.Tensor, list[str] | list[frozenset[str]], NDArray[np.int64]]
"""Rows, their labels, and which utterances they are of."""


def of_target(
    rows: ModelRows, layer: LayerInfo, target: Target, by: dict[str, NDArray[np.str_]]
) -> Iterator[Measurement]:
    """What a layer holds of a property.

    Args:
        rows: The model's.
        layer: Which layer.
        target: The property.
        by: Groups of utterances for which scores are wanted apart, by the name of the grouping: (u,) names, empty
            where an utterance has none.

    Yields:
        The share of the labels' directions that the layer holds (`rankwatch.metrics.cca_squared`), the probe's score,
        and the score within each group.
    """
    where: dict[str, Any] = {"model": rows.name, "layer": layer.label, "target": target.name}
    table = rows.tables[target.table]
    x, labels, at = _labelled(table, layer, target)
    y = indicators(labels, FEWEST_UTTERANCES) if target.several else np.asarray(labels)  # type: ignore[arg-type]
    level = "span" if not target.of_utterance else "frame"
    found = cca_squared(x, y, groups=target.groups[at])
    yield of_similarity(found, measure=CCA, level=level, **where, **rests_on(rows, target.groups, at))
    x, labels, at = _labelled(rows.tables[target.probe_table], layer, target)
    finite = torch.isfinite(x).all(dim=1).numpy()
    level = "span" if not target.of_utterance else "utterance"
    x, at, labels = x[finite], at[finite], [one for one, good in zip(labels, finite, strict=True) if good]  # type: ignore[assignment]
    if len(np.unique(target.probe_groups[at])) < 2:
        return
    where["level"] = level
    if target.several:
        units = probe_units(target, at)
        where |= rests_on(rows, units, at)
        counts = several_labels(x, labels, target.probe_groups[at], units[at], FEWEST_UTTERANCES)  # type: ignore[arg-type]
        yield _measured(counts, "probe_f1", len(x), counts.chance_f1(len(x)), **where)
        return
    names = np.asarray(labels)
    usual = _usual(names, at, target)
    x, names, at = x[torch.from_numpy(usual)], names[usual], at[usual]
    if len(np.unique(names)) < 2:
        return
    units = probe_units(target, at)
    where |= rests_on(rows, units, at)
    counts, right = single_labels(x, names, target.probe_groups[at], units[at])
    majority = float(np.unique(names, return_counts=True)[1].max() / len(names))
    yield _measured(counts, "probe_accuracy", len(x), majority, **where)
    each = 1.0 / len(np.unique(names))  # of labels given at random, as often as they are: the mean of their shares
    yield _measured(counts, "probe_macro_f1", len(x), each, **where)
    for grouping, of_utterance in by.items():
        if grouping != target.name:
            units = units_of_groups(rows, of_utterance, target.groups)
            for one in group_scores(right, names, of_utterance[at], units[at], grouping, **where):
                inside = at[of_utterance[at] == one.group.partition("=")[2]]
                yield dataclasses.replace(one, **rests_on(rows, units, inside))


def _labelled(table: RowTable, layer: LayerInfo, target: Target) -> Labelled:
    """The rows that have the property."""
    x = table.rows[layer.path]
    if table.labels is not None:
        return x, table.labels.tolist(), table.utterances
    values = [target.of_utterance[k] for k in table.utterances.tolist()]
    there = np.array([value is not None for value in values])
    labels = [value for value in values if value is not None]
    return x[torch.from_numpy(there)], labels, table.utterances[there]


def _usual(names: NDArray[np.str_], at: NDArray[np.int64], target: Target) -> NDArray[np.int64]:
    """Rows whose label is there often enough to be in training and test."""
    least = FEWEST_UTTERANCES if target.of_utterance else _EACH
    groups = target.probe_groups[at]
    fine = {
        label
        for label in np.unique(names).tolist()
        if (names == label).sum() >= least and (target.of_utterance or len(np.unique(groups[names == label])) > 1)
    }
    return np.flatnonzero(np.isin(names, sorted(fine)))


def _measured(counts: Counts, measure: str, n: int, chance: float | None, **where: Any) -> Measurement:
    value, without = counts.score(measure)
    units = equal_units(counts.rows)
    low, high = share_interval(value, list(without.values()), units, n)
    return Measurement(
        measure=measure,
        value=value,
        low=low,
        high=high,
        n=n,
        utterances=len(without),
        chance=chance,
        without=without,
        least_error=least_error(units),
        status=() if low is not None else ("too_few_groups",),
        **where,
    )
