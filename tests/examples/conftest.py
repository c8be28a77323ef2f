"""The examples are scripts beside each other: importable by name, like under ``python examples/pretrain.py``."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "examples"))
