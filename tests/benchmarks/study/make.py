"""Train the study's models and measure their checkpoints; it can be interrupted at any time and begun again.

    python tests/benchmarks/study/make.py --data ../shared/data --out FOLDER

A trained model is a folder with a ``loss.csv``, a measured one a file in `results` beside this one, which `table.py`
reads. Several processes may work on one folder at once. ``--only vicreg`` makes those whose names hold it; the second
iteration of HuBERT needs the first one's folder.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
import warnings
from pathlib import Path

for _name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_name] = "1"  # before torch is imported
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from zoo_of_encoders.make import claimed  # noqa: E402

import study  # noqa: E402, F401
from study.catalogue import catalogue  # noqa: E402


def main() -> None:
    """Make what is missing."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--only", default="")
    options = parser.parse_args()
    from study.read import RESULTS, read
    from study.train import train

    warnings.filterwarnings("ignore")
    options.out.mkdir(parents=True, exist_ok=True)
    for run in catalogue():
        measured, claim = RESULTS / f"{run.name}.jsonl.gz", options.out / f"{run.name}.claim"
        if options.only not in run.name or measured.exists() or not claimed(claim):
            continue
        try:
            start = time.process_time()
            if not (options.out / run.name / "loss.csv").exists():
                train(run, options.data.resolve(), options.out)
            read(run, options.data.resolve(), options.out)
            print(f"{time.strftime('%H:%M:%S')} {run.name}: {time.process_time() - start:.0f} s", flush=True)
        finally:
            claim.unlink(missing_ok=True)


if __name__ == "__main__":
    main()
