"""A zoo of encoders: small self-supervised runs, healthy and broken, of six architectures and ten methods.

`make.py` trains them, `table.py` judges them. Which of them thresholds may be chosen on is declared in `split.py`.
"""

import sys
from pathlib import Path

_ROOT = Path(__file__).resolve().parents[3]
sys.path[:0] = [str(_ROOT / "examples")]  # speech, and HuBERT's units, are the examples'
