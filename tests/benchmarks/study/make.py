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
from collections.abc import Callable, Iterable
from pathlib import Path

for _name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_name] = "1"  # before torch is imported
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from zoo_of_encoders.make import claimed  # noqa: E402

import study  # noqa: E402, F401
from study.catalogue import Run, catalogue  # noqa: E402


def main() -> None:
    """Make what is missing."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--only", default="")
    options = parser.parse_args()
    from study.read import RESULTS, read

    make_missing([run for run in catalogue() if options.only in run.name], options.data, options.out, RESULTS, read)


def make_missing(
    runs: Iterable[Run], data: Path, out: Path, results: Path, read: Callable[[Run, Path, Path], None]
) -> None:
    """Train and read what has no result yet and isn't being made.

    Args:
        runs: In order.
        data: Folder of the corpora.
        out: Folder of trained models, and of claims.
        results: Folder of what was read.
        read: Reads a trained run and writes its result.
    """
    from study.train import train

    warnings.filterwarnings("ignore")
    out.mkdir(parents=True, exist_ok=True)
    for run in runs:
        claim = out / f"{run.name}.claim"
        if (results / f"{run.name}.jsonl.gz").exists() or not claimed(claim):
            continue
        try:
            start = time.process_time()
            if not (out / run.name / "loss.csv").exists():
                train(run, data.resolve(), out)
            read(run, data.resolve(), out)
            print(f"{time.strftime('%H:%M:%S')} {run.name}: {time.process_time() - start:.0f} s", flush=True)
        finally:
            claim.unlink(missing_ok=True)


if __name__ == "__main__":
    main()
