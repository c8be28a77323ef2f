"""Floor 3: tags, TensorBoard, console, files. Computes nothing."""

from rankwatch.reporting.jsonl_records import read_jsonl
from rankwatch.reporting.reporter_selection import reporters_for

__all__ = ["read_jsonl", "reporters_for"]
