"""Floor 3: tags, TensorBoard, console, files, figures. Computes nothing."""

from rankwatch.reporting.jsonl_records import read_jsonl

__all__ = ["read_jsonl"]
