"""Train the study's models; a finished model is a folder, so that this can be interrupted at any time and begun again.

    python tests/benchmarks/study/make.py --data ../shared/data --out FOLDER

Several processes may work on one folder at once. ``--only vicreg`` makes those whose names hold it.
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

import study  # noqa: E402, F401
from study.catalogue import Run, catalogue  # noqa: E402


def main() -> None:
    """Train what is missing."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--only", default="")
    options = parser.parse_args()
    from study.train import train

    warnings.filterwarnings("ignore")
    options.out.mkdir(parents=True, exist_ok=True)
    for run in catalogue():
        if options.only in run.name and _claimed(run, options.out):
            start = time.process_time()
            train(run, options.data.resolve(), options.out)
            print(f"{time.strftime('%H:%M:%S')} {run.name}: {time.process_time() - start:.0f} s", flush=True)


def _claimed(run: Run, out: Path) -> bool:
    """Whether it isn't there and no living process is at it, which this one then is."""
    claim = out / f"{run.name}.claim"
    if (out / run.name / "loss.csv").exists():
        return False
    if claim.exists():
        try:
            os.kill(int(claim.read_text() or "0"), 0)
        except (ProcessLookupError, ValueError):
            claim.unlink(missing_ok=True)
    try:
        with claim.open("x") as file:
            file.write(str(os.getpid()))
    except FileExistsError:
        return False
    return True


if __name__ == "__main__":
    main()
