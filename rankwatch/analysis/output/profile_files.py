"""Measurements as files: one JSON object a line, and the same as a table."""

from __future__ import annotations

import csv
import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rankwatch.analysis.measures.measurement import Measurement
from rankwatch.runtime.files.file_actions import write


def write_profile(folder: Path, protocol: Mapping[str, Any], measurements: Sequence[Measurement]) -> None:
    """Write ``profile.jsonl`` and ``profile.csv``.

    Args:
        folder: Is made.
        protocol: How everything was measured; the first line of the JSONL.
        measurements: All of them.
    """
    lines = [{"kind": "protocol", **protocol}, *({"kind": "measurement", **one.to_plain()} for one in measurements)]
    text = "".join(json.dumps(line, allow_nan=False) + "\n" for line in lines)
    write(folder / "profile.jsonl", lambda file: file.write_text(text, encoding="utf-8"))
    names = [f.name for f in dataclasses.fields(Measurement) if f.name != "without"]

    def table(file: Path) -> None:
        with file.open("w", encoding="utf-8", newline="") as stream:
            writer = csv.DictWriter(stream, names)
            writer.writeheader()
            for one in measurements:
                plain = one.to_plain()
                writer.writerow({**plain, "status": "+".join(plain["status"])})

    write(folder / "profile.csv", table)


def write_text(file: Path, lines: Sequence[str]) -> None:
    """Write lines of text."""
    write(file, lambda there: there.write_text("\n".join(lines) + "\n", encoding="utf-8"))
