"""A comparison as files: one JSON object a line, and the differences as a table."""

from __future__ import annotations

import csv
import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rankwatch.comparison.differences.difference import Difference
from rankwatch.comparison.differences.orders import Order
from rankwatch.comparison.records.parting import Parting
from rankwatch.comparison.records.turnovers import TurnoverRatio
from rankwatch.runtime.files.file_actions import write


def write_comparison(
    folder: Path,
    protocol: Mapping[str, Any],
    differences: Sequence[Difference],
    orders: Sequence[Order],
    partings: Sequence[Parting],
    turnovers: Sequence[TurnoverRatio],
) -> None:
    """Write ``comparison.jsonl`` and ``comparison.csv``.

    Args:
        folder: Is made.
        protocol: What was compared, and how; the first line of the JSONL.
        differences: All of them.
        orders: In each layer.
        partings: Of runs.
        turnovers: Of runs.
    """
    lines: list[dict[str, Any]] = [{"kind": "protocol", **protocol}]
    lines += [{"kind": "difference", **one.to_plain()} for one in differences]
    lines += [{"kind": "order", **_flat(one)} for one in orders]
    lines += [{"kind": "parting", **_flat(one)} for one in partings]
    lines += [{"kind": "turnover", **one.to_plain()} for one in turnovers]
    text = "".join(json.dumps(line, allow_nan=False) + "\n" for line in lines)
    write(folder / "comparison.jsonl", lambda file: file.write_text(text, encoding="utf-8"))
    rows = [one.to_plain() for one in differences]

    def table(file: Path) -> None:
        with file.open("w", encoding="utf-8", newline="") as stream:
            writer = csv.DictWriter(stream, list(rows[0]))
            writer.writeheader()
            for row in rows:
                writer.writerow({**row, "status": "+".join(row["status"])})

    write(folder / "comparison.csv", table)


def _flat(one: Order | Parting) -> dict[str, Any]:
    found = {f.name: getattr(one, f.name) for f in dataclasses.fields(one)}
    return {**dataclasses.asdict(found.pop("place")), **found}
