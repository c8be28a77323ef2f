"""A study: what effective rank is worth on small models of six methods, over training, against labelled checks.

`make.py` trains the models and measures their checkpoints, `table.py` makes the tables of the documentation from the
stored measurements. The encoders and methods are those of `zoo_of_encoders`.
"""

import sys
from pathlib import Path

_BENCHMARKS = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(_BENCHMARKS), str(_BENCHMARKS.parents[1] / "examples")]
