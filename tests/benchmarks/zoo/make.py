"""Train the zoo; what is there already is left as it is, so that this can be interrupted at any time and begun again.

    python tests/benchmarks/zoo/make.py --data ../shared/data --jobs 2

About 40 seconds a run and core. ``--only data2vec-no_mask`` makes those whose names hold it. Afterwards `table.py`
judges them.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import multiprocessing
import os
import time
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"  # before torch is imported, here and in the workers

from catalogue import Run, catalogue

HERE = Path(__file__).resolve().parent


def main() -> None:
    """Make what is missing."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=HERE / "histories")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--only", default="")
    options = parser.parse_args()
    runs = [run for run in catalogue() if options.only in run.name]
    runs = [run for run in runs if not (options.out / f"{run.name}.jsonl.gz").exists()]
    print(f"{len(runs)} runs to make", flush=True)
    spawn = multiprocessing.get_context("spawn")
    with spawn.Pool(options.jobs, maxtasksperchild=12) as pool:
        for done in pool.imap_unordered(_make, [(run, options.data.resolve(), options.out) for run in runs]):
            print(done, flush=True)


def _make(work: tuple[Run, Path, Path]) -> str:
    """A run that fails is named, and the others go on."""
    run, data, out = work
    from train import train

    start = time.perf_counter()
    state = "made"
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            train(run, data, out)
    except Exception as error:
        state = f"failed: {type(error).__name__}: {error}"
    return f"{run.name}: {state}, {time.perf_counter() - start:.0f} s"


if __name__ == "__main__":
    main()
