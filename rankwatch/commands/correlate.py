"""``rankwatch correlate``: what rank is worth on one's own labels."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from rankwatch.commands.refusal import refuse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say what the command takes."""
    parser.description = (
        "Read runs, live or replayed, and say whether effective rank follows labelled checks, beyond the mere passage "
        "of training, and what choosing checkpoints, layers and runs by it would have lost, against choosing by the "
        "loss, taking the last, and chance."
    )
    parser.add_argument(
        "runs", nargs="+", metavar="RUN", help="a run's .jsonl file, or a folder with runs at any depth"
    )
    parser.add_argument(
        "--checks", type=Path, metavar="CSV", help="columns run, step, task, value (layer, level, utterance)"
    )
    parser.add_argument("--lower-is-better", nargs="+", default=[], metavar="TASK", help="as of a word error rate")
    parser.add_argument(
        "--loss", type=Path, metavar="CSV", help="columns run, step, value (default: beside the records)"
    )
    parser.add_argument("--loss-tag", default="", metavar="TAG", help="of the loss in the logger's files")
    parser.add_argument(
        "--names", nargs="+", default=[], metavar="NAME", help="what the runs are called, in their order"
    )
    parser.add_argument(
        "--groups", nargs="+", default=[], metavar="GROUP", help="each run's group (its method), in their order"
    )
    parser.add_argument("--layer", default="", help="the layer to speak of (default: each check's best one)")
    parser.add_argument(
        "--measures", nargs="+", default=[], metavar="NAME", help="besides rank and loss (default: all)"
    )
    parser.add_argument("--from-step", type=int, default=0, help="earlier checkpoints are left out")
    parser.add_argument("-o", "--out", type=Path, default=Path("correlation"), help="folder (default: %(default)s)")


def run(options: argparse.Namespace) -> int:
    """Do it; returns the exit status."""
    from rankwatch.correlation.correlate import correlate
    from rankwatch.reporting.search.record_search import find_records, run_names

    try:
        names = options.names or run_names(find_records(options.runs))
        if options.groups and len(options.groups) != len(names):
            raise ValueError(f"{len(options.groups)} groups for {len(names)} runs ({', '.join(names)})")
        found = correlate(
            options.runs,
            checks=options.checks,
            lower_is_better=options.lower_is_better,
            loss=options.loss,
            loss_tag=options.loss_tag,
            names=options.names,
            groups=dict(zip(names, options.groups, strict=True)) if options.groups else None,
            layer=options.layer,
            measures=options.measures,
            from_step=options.from_step,
            out=options.out,
        )
    except (OSError, ValueError) as error:
        return refuse(error, "correlate")
    for place in range(len(found.findings)):
        print(found.table(place) + "\n")
    print("\n\n".join(found.sentences))
    print("".join(f"note: {note}\n" for note in found.notes), end="", file=sys.stderr)
    print(f"\nwritten to {options.out}")
    return 0
