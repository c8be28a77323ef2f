"""What each layer is by itself and holds of the acoustics: no labels are needed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from rankwatch.analysis.measures.measurement import (
    CCA,
    EXPLAINED,
    PROBE_R2,
    Measurement,
    of_rank,
    of_similarity,
)
from rankwatch.analysis.measures.targets import rests_on
from rankwatch.analysis.rows.row_tables import FRAME, UTTERANCE, LayerInfo, ModelRows
from rankwatch.numerics import (
    Sample,
    cca_squared,
    collapse_indicators,
    estimate_from_sample,
    estimate_rank,
    explained,
    probe_r2,
)
from rankwatch.numerics.rows.rounding import number_format, rounding_of

ACOUSTICS = "acoustics"
"""Name of the target: log-mel spectra at the same times."""

INDICATORS = ("participation_ratio", "mean_energy_fraction", "within_utterance_variance_fraction")
"""What is reported beside the rank: of all indicators those that say something about a trained model."""


def label_free(rows: ModelRows, layer: LayerInfo, groups: NDArray[np.str_]) -> Iterator[Measurement]:
    """Effective rank and other indicators of frames and utterances, and what the layer holds of the acoustics.

    Args:
        rows: The model's.
        layer: Which layer.
        groups: What frames are grouped by, by utterance.

    Yields:
        The measurements.
    """
    for level in (FRAME, UTTERANCE):
        yield from _rank(rows, layer, level, groups)
    frames = rows.tables[FRAME]
    x, names = frames.rows[layer.path], groups[frames.utterances]
    where: dict[str, Any] = {"model": rows.name, "layer": layer.label, "target": ACOUSTICS, "level": FRAME}
    where |= rests_on(rows, groups, frames.utterances)
    yield of_similarity(cca_squared(x, rows.acoustics, groups=names), measure=CCA, **where)
    yield of_similarity(explained(x, rows.acoustics, groups=names), measure=EXPLAINED, **where)
    yield of_similarity(probe_r2(x, rows.acoustics, groups=names), measure=PROBE_R2, **where)


def rank_of_groups(
    rows: ModelRows, layer: LayerInfo, groups: NDArray[np.str_], by: Mapping[str, NDArray[np.str_]]
) -> Iterator[Measurement]:
    """Effective rank of the frames of each group of utterances alone.

    Args:
        rows: The model's.
        layer: Which layer.
        groups: What frames are grouped by, by utterance.
        by: (u,) names of the group that each utterance is in, by grouping; empty where it is in none.

    Yields:
        The measurements.
    """
    table = rows.tables[FRAME]
    x, names = table.rows[layer.path], groups[table.utterances]
    for grouping, of_utterance in by.items():
        inside = of_utterance[table.utterances]
        for name in sorted(set(inside.tolist()) - {""}):
            chosen = np.flatnonzero(inside == name)
            found = estimate_rank(x[torch.from_numpy(chosen)], groups=names[chosen])
            count = len(np.unique(names[chosen]))
            yield of_rank(
                found,
                model=rows.name,
                layer=layer.label,
                level=FRAME,
                utterances=count,
                group=f"{grouping}={name}",
                **rests_on(rows, groups, table.utterances[chosen]),
            )


def _rank(rows: ModelRows, layer: LayerInfo, level: str, groups: NDArray[np.str_]) -> Iterator[Measurement]:
    table = rows.tables[level]
    x = table.rows[layer.path]
    numbers = np.unique(groups[table.utterances], return_inverse=True)[1] if level == FRAME else None
    sample = Sample.from_rows(x, numbers, None, 0, rounding=rounding_of(x, number_format(x)))
    estimate = estimate_from_sample(sample)
    count = len(x) if numbers is None else int(numbers.max()) + 1
    where: dict[str, Any] = {"model": rows.name, "layer": layer.label, "level": level, "utterances": count}
    each = groups if level == FRAME else np.asarray([one.id for one in rows.utterances])
    where |= rests_on(rows, each, table.utterances)
    yield of_rank(estimate, **where)
    found = collapse_indicators(sample, estimate)
    for name in INDICATORS:
        if name in found and np.isfinite(found[name]):
            yield Measurement(measure=name, target="", value=found[name], low=None, high=None, n=estimate.n, **where)
