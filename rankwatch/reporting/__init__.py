"""Floor 3: tags, TensorBoard, console, files. Computes nothing."""

from rankwatch.reporting.choose import reporters_for
from rankwatch.reporting.jsonl import read_jsonl

__all__ = ["read_jsonl", "reporters_for"]
