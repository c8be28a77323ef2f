"""``rankwatch calibrate``: thresholds from healthy runs of one's own."""

from __future__ import annotations

import argparse
from pathlib import Path

from rankwatch.commands.refusal import refuse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say what the command takes."""
    parser.description = (
        "Read the records of healthy runs of one recipe and write thresholds that none of them crosses."
    )
    parser.add_argument(
        "runs", nargs="+", metavar="RUN", help="a run's .jsonl file, or a folder with runs at any depth"
    )
    parser.add_argument("--out", type=Path, default=Path("rankwatch.yaml"), help="(default: %(default)s)")
    parser.add_argument("--allowed", type=int, default=0, help="runs that may raise an alarm (default: %(default)s)")
    parser.add_argument("--margin", type=float, default=0.95, help="how far below what was seen (default: %(default)s)")
    parser.add_argument("--with-alarms", action="store_true", help="runs with a critical alarm are healthy, too")


def run(options: argparse.Namespace) -> int:
    """Do it; returns the exit status."""
    from rankwatch.calibrate import calibrate, find_runs

    try:
        runs = find_runs(options.runs)
        if any(Path(path).is_dir() for path in options.runs):
            print("\n".join([f"{len(runs)} runs:", *(f"  {run}" for run in runs)]))
        found = calibrate(runs, allowed=options.allowed, margin=options.margin, with_alarms=options.with_alarms)
    except (FileNotFoundError, ValueError) as error:
        return refuse(error, "calibrate")
    found.save(options.out)
    print(options.out.read_text(encoding="utf-8"), end="")
    print(f"written to {options.out}")
    return 0
