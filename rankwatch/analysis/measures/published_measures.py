"""Figures by the protocol of Pasad et al., as printed and with utterances left out, to compare with their papers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch

from rankwatch.analysis.measures.layer_measures import ACOUSTICS
from rankwatch.analysis.measures.measurement import Measurement
from rankwatch.analysis.measures.targets import recordings_of, rests_on
from rankwatch.analysis.rows.row_tables import FRAME, LayerInfo, ModelRows, RowTable
from rankwatch.numerics.similarity.published.published_pwcca import published_pwcca

PUBLISHED, APART = "pwcca_published", "pwcca_utterances_apart"
"""The protocol as it is, and with whole utterances in training or test."""


def of_published(rows: ModelRows, layer: LayerInfo, note: Callable[[str], None]) -> Iterator[Measurement]:
    """What the published protocol says of a layer.

    Args:
        rows: The model's; without rows that were drawn for the protocol there is nothing to say.
        layer: Which layer.
        note: Is told why something can't be said.

    Yields:
        For the acoustics, and for each tier that spans were drawn of by label, the two figures.
    """
    if rows.published is None:
        return
    recordings = recordings_of(rows)
    tables: dict[str, RowTable] = {ACOUSTICS: rows.tables[FRAME], **rows.published}
    for target, table in tables.items():
        x, y = table.rows[layer.path], rows.acoustics if table.labels is None else table.labels
        finite = torch.isfinite(x).all(dim=1).numpy()
        x, y, groups = x[finite], y[finite], recordings[table.utterances[finite]]
        where: dict[str, Any] = {"model": rows.name, "layer": layer.label, "target": target}
        where["level"] = FRAME if table.labels is None else "span"
        where |= rests_on(rows, recordings, table.utterances[finite])
        for measure, given in ((PUBLISHED, None), (APART, groups)):
            try:
                found = published_pwcca(x, y, groups=given)
            except ValueError as reason:
                note(f"{measure} of {target}: {reason}")
                continue
            count = len(set(groups.tolist()))
            yield Measurement(
                measure=measure, value=found.value, low=None, high=None, n=found.n, utterances=count, **where
            )
