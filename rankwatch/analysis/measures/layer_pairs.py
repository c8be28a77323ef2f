"""How alike layers are: of one model, or of two models at the same frames."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rankwatch.analysis.measures.measurement import CKA, SIMILARITY, Measurement
from rankwatch.analysis.measures.targets import rests_on
from rankwatch.analysis.rows.row_tables import FRAME, ModelRows, RowTable
from rankwatch.numerics.similarity.matrices.cka_matrix import cka_matrix
from rankwatch.numerics.similarity.matrices.pairwise import PairwiseSimilarity
from rankwatch.numerics.similarity.matrices.similarity_matrix import similarity_matrix

SEPARATOR = "/"
"""Between a model's name and a layer's in a target of another model."""


def within_model(rows: ModelRows, groups: NDArray[np.str_]) -> Iterator[Measurement]:
    """Similarity and CKA of all pairs of a model's layers.

    Args:
        rows: The model's.
        groups: What frames are grouped by, by utterance.

    Yields:
        Two measurements for each pair; the target is the other layer's short name.
    """
    table = rows.tables[FRAME]
    labels = [layer.label for layer in rows.layers]
    views = table.layers([layer.path for layer in rows.layers])
    names, whose = groups[table.utterances], rests_on(rows, groups, table.utterances)
    for measure, found in (
        (SIMILARITY, similarity_matrix(views, groups=names)),
        (CKA, cka_matrix(views, groups=names)),
    ):
        for i, one in enumerate(labels):
            for j, other in enumerate(labels):
                yield _measured(rows.name, one, other, measure, found, (i, j, j), whose)


def between_models(rows: ModelRows, others: ModelRows, groups: NDArray[np.str_]) -> Iterator[Measurement]:
    """Similarity and CKA of all layers of one model with all of another, at the frames that both have.

    Args:
        rows: One model's.
        others: The other's.
        groups: What frames are grouped by, by utterance of the first.

    Yields:
        Two measurements for each pair; the target is the other model's name and the other layer's, with a slash.
    """
    one, other = common_rows(rows.tables[FRAME], others.tables[FRAME])
    first = one.layers([layer.path for layer in rows.layers])
    second = other.layers([layer.path for layer in others.layers])
    names, whose = groups[one.utterances], rests_on(rows, groups, one.utterances)
    for measure, found in (
        (SIMILARITY, similarity_matrix(first, second, groups=names)),
        (CKA, cka_matrix(first, second, groups=names)),
    ):
        for i, mine in enumerate(rows.layers):
            for j, theirs in enumerate(others.layers):
                target = f"{others.name}{SEPARATOR}{theirs.label}"
                yield _measured(rows.name, mine.label, target, measure, found, (i, j, len(rows.layers) + j), whose)


def common_rows(one: RowTable, other: RowTable) -> tuple[RowTable, RowTable]:
    """The rows of two models that are of the same frames or spans, in the same order."""
    places = {key: k for k, key in enumerate(other.keys)}
    both = [(k, places[key]) for k, key in enumerate(one.keys) if key in places]
    index = np.array(both, dtype=np.int64).reshape(-1, 2)
    return one.at(index[:, 0]), other.at(index[:, 1])


def _measured(
    model: str,
    layer: str,
    target: str,
    measure: str,
    found: PairwiseSimilarity,
    at: tuple[int, int, int],
    whose: dict[str, Any],
) -> Measurement:
    i, j, other = at
    value = float(found.value[i, j])
    status = tuple(sorted(found.status[i] | found.status[other]))
    return Measurement(
        model=model,
        layer=layer,
        measure=measure,
        target=target,
        level=FRAME,
        value=value if math.isfinite(value) else math.nan,
        low=None,
        high=None,
        n=found.n,
        utterances=found.utterances,
        status=status,
        **whose,
    )
