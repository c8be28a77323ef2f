"""What was found as files: one JSON object a line, and the same as tables."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from rankwatch.correlation.evidence.association import Association
from rankwatch.correlation.evidence.choice import Choice
from rankwatch.runtime.files.file_actions import write


def write_correlation(
    folder: Path,
    protocol: Mapping[str, Any],
    associations: Sequence[Association],
    choices: Sequence[Choice],
    paragraphs: Sequence[str],
) -> None:
    """Write ``correlation.jsonl``, ``correlation.csv`` and ``choices.csv``.

    Args:
        folder: Is made.
        protocol: What was compared and how; the first line of the JSONL.
        associations: All correlations.
        choices: All choices.
        paragraphs: What follows, in words.
    """
    lines: Iterable[dict[str, Any]] = (
        {"kind": "protocol", **protocol},
        *({"kind": "association", **one.to_plain()} for one in associations),
        *({"kind": "choice", **one.to_plain()} for one in choices),
        *({"kind": "sentences", "text": text} for text in paragraphs),
    )
    text = "".join(json.dumps(line, allow_nan=False, ensure_ascii=False) + "\n" for line in lines)
    write(folder / "correlation.jsonl", lambda file: file.write_text(text, encoding="utf-8"))
    _write_table(folder / "correlation.csv", Association, [one.to_plain() for one in associations])
    _write_table(folder / "choices.csv", Choice, [one.to_plain() for one in choices])


def _write_table(path: Path, kind: type, rows: Sequence[Mapping[str, Any]]) -> None:
    names = [one.name for one in fields(kind)]

    def table(file: Path) -> None:
        with file.open("w", encoding="utf-8", newline="") as stream:
            writer = csv.DictWriter(stream, names)
            writer.writeheader()
            for row in rows:
                writer.writerow({**row, "status": "+".join(row["status"])} if "status" in row else row)

    write(path, table)
