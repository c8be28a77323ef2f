"""What numbers rest on: how many rows, utterances and speakers, as a table."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from rankwatch.analysis.measures.layer_pairs import SEPARATOR
from rankwatch.analysis.measures.measurement import CKA, SIMILARITY, Measurement


def sample_sizes(measurements: Sequence[Measurement]) -> dict[str, Any]:
    """How many rows, and of how many utterances and speakers, each kind of value rests on.

    Args:
        measurements: All of them.

    Returns:
        A table with a line for each property, measure and group of each model; where layers differ, for instance
        because one has rows that are no numbers, the least and the most.
    """
    found: dict[tuple[str, ...], list[Measurement]] = defaultdict(list)
    for one in measurements:
        target = one.target
        if one.measure in (SIMILARITY, CKA):
            other, separator, _ = target.rpartition(SEPARATOR)
            target = f"layers of {other}" if separator else "layers of the same model"
        found[one.model, target or "the layer itself", one.measure, one.level, one.group or "all"].append(one)
    rows = []
    for key, same in found.items():
        speakers = [one.speakers for one in same if one.speakers is not None]
        grouped = f"{_range([one.utterances for one in same])} {same[0].grouped_by}"
        rows.append([*key, _range([one.n for one in same]), grouped, _range(speakers) if speakers else "not known"])
    head = ["model", "property", "measure", "rows are", "of whom", "rows", "grouped by", "speakers"]
    return {"title": "What the numbers rest on", "head": head, "rows": rows}


def _range(counts: Sequence[int]) -> str:
    least, most = min(counts), max(counts)
    return f"{least:,}" if least == most else f"{least:,} to {most:,}"
