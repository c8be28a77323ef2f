"""Train the zoo; a finished run is a file, so that this can be interrupted at any time and begun again.

    python tests/benchmarks/zoo_of_encoders/make.py               # in as many terminals as there are cores
    python tests/benchmarks/zoo_of_encoders/make.py --shard 1/2   # one of two machines

Histories go into the folder `histories` beside this file, where a part of them is already, or into ``--out``. Several
processes may work on one folder at once: each claims its run by a file that names it. Runs are made in an order in
which whatever is there already is balanced. ``--data`` is the folder of real corpora; without it the runs on those
are left out. ``--only gru-cpc`` makes those whose names hold it.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import sys
import time
import traceback
from collections.abc import Callable, Iterable
from pathlib import Path

for _name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_name] = "1"  # before torch is imported
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from zoo_of_encoders.catalogue import Run, catalogue  # noqa: E402


def main() -> None:
    """Make what is missing."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "histories")
    parser.add_argument("--data", type=Path)
    parser.add_argument("--shard", default="0/1", help="i/n: every n-th run, beginning with the i-th (from 0)")
    parser.add_argument("--only", default="")
    options = parser.parse_args()
    data = options.data and options.data.resolve()
    runs = [run for run in shard(catalogue(), options.shard) if options.only in run.name]
    runs = [run for run in runs if data or not {run.corpus, run.then} & {"real", "digits"}]

    def make(run: Run) -> None:
        from zoo_of_encoders.train import train

        with contextlib.redirect_stdout(io.StringIO()):
            train(run, data, options.out)

    for told in make_all(runs, options.out, make):
        print(told, flush=True)


def shard(runs: list[Run], which: str) -> list[Run]:
    """Every n-th run.

    Args:
        runs: All of them.
        which: ``"i/n"``.

    Returns:
        Those of the shard, in order.
    """
    i, n = (int(number) for number in which.split("/"))
    return runs[i % n :: n]


def make_all(runs: Iterable[Run], out: Path, make: Callable[[Run], None]) -> Iterable[str]:
    """Make what is neither there nor being made; a run that fails is named, and the others go on.

    Args:
        runs: In order.
        out: Where histories are, and claims.
        make: Makes one; whatever it raises is told.

    Yields:
        A line about each run that was tried.
    """
    out.mkdir(parents=True, exist_ok=True)
    for run in runs:
        path, claim = out / f"{run.name}.jsonl.gz", out / f"{run.name}.claim"
        if path.exists() or not claimed(claim):
            continue
        try:
            if path.exists():  # finished between the two questions
                continue
            start, state = time.process_time(), "made"
            try:
                make(run)
            except Exception as error:
                state = f"failed: {type(error).__name__}: {error}\n{traceback.format_exc()}"
            yield f"{time.strftime('%H:%M:%S')} {run.name}: {state}, {time.process_time() - start:.0f} s"
        finally:
            claim.unlink(missing_ok=True)


def claimed(claim: Path) -> bool:
    """Claim a run for this process; a claim of a process that is gone doesn't count."""
    with contextlib.suppress(FileExistsError, OSError, ValueError):
        if claim.exists():
            owner = int(claim.read_text() or "0")
            try:
                os.kill(owner, 0)
            except ProcessLookupError:
                claim.unlink()
    try:
        with claim.open("x") as file:
            file.write(str(os.getpid()))
    except FileExistsError:
        return False
    return True


if __name__ == "__main__":
    main()
