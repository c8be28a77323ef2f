"""What each layer holds of a labelled property: by a linear map, corrected, and by a probe that leaves speakers out."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from rankwatch.analysis.measures.measurement import CCA, FEWEST, Measurement, of_similarity, standard_error
from rankwatch.analysis.measures.probe_scores import Counts, indicators, several_labels, single_labels
from rankwatch.analysis.measures.targets import FEWEST_UTTERANCES, Target, units_of_groups
from rankwatch.analysis.rows.row_tables import LayerInfo, ModelRows, RowTable
from rankwatch.numerics import cca_squared
from rankwatch.numerics.similarity.similarity_result import QUANTILE

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
    yield of_similarity(cca_squared(x, y, groups=target.groups[at]), measure=CCA, level=level, **where)
    x, labels, at = _labelled(rows.tables[target.probe_table], layer, target)
    finite = torch.isfinite(x).all(dim=1).numpy()
    level = "span" if not target.of_utterance else "utterance"
    x, at, labels = x[finite], at[finite], [one for one, good in zip(labels, finite, strict=True) if good]  # type: ignore[assignment]
    if len(np.unique(target.probe_groups[at])) < 2:
        return
    where |= {"level": level}
    if target.several:
        counts = several_labels(x, labels, target.probe_groups[at], target.groups[at], FEWEST_UTTERANCES)  # type: ignore[arg-type]
        yield _measured(counts, "probe_f1", len(x), counts.chance_f1(len(x)), **where)
        return
    names = np.asarray(labels)
    usual = _usual(names, at, target)
    x, names, at = x[torch.from_numpy(usual)], names[usual], at[usual]
    if len(np.unique(names)) < 2:
        return
    counts, right = single_labels(x, names, target.probe_groups[at], target.groups[at])
    majority = float(np.unique(names, return_counts=True)[1].max() / len(names))
    yield _measured(counts, "probe_accuracy", len(x), majority, **where)
    yield _measured(counts, "probe_macro_f1", len(x), None, **where)
    for grouping, of_utterance in by.items():
        if grouping != target.name:
            units = units_of_groups(rows, of_utterance, target.groups)
            yield from _by_group(right, of_utterance[at], units[at], grouping, **where)


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
    g = len(without)
    error = standard_error(list(without.values()))
    known = g >= FEWEST
    return Measurement(
        measure=measure,
        value=value,
        low=max(0.0, value - QUANTILE * error) if known else None,
        high=min(1.0, value + QUANTILE * error) if known else None,
        n=n,
        utterances=g,
        chance=chance,
        without=without,
        status=() if known else ("too_few_groups",),
        **where,
    )


def _by_group(
    right: NDArray[np.bool_], names: NDArray[np.str_], groups: NDArray[np.str_], grouping: str, **where: Any
) -> Iterator[Measurement]:
    """The share of rows of each group that were given their label."""
    for name in sorted(set(names.tolist()) - {""}):
        inside = names == name
        units, index = np.unique(groups[inside], return_inverse=True)
        hits = np.bincount(index, right[inside])
        counts = np.bincount(index)
        share = float(hits.sum() / counts.sum())
        without = (hits.sum() - hits) / np.maximum(counts.sum() - counts, 1) - share
        g = len(units)
        error = standard_error(without)
        known = g >= FEWEST
        yield Measurement(
            measure="probe_accuracy",
            value=share,
            low=max(0.0, share - QUANTILE * error) if known else None,
            high=min(1.0, share + QUANTILE * error) if known else None,
            n=int(counts.sum()),
            utterances=g,
            group=f"{grouping}={name}",
            without=dict(zip(units.tolist(), without.tolist(), strict=True)),
            status=() if known else ("too_few_groups",),
            **where,
        )
