"""``rankwatch inspect``: what would be watched in a model, without training it."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from rankwatch.commands.refusal import refuse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say what the command takes."""
    parser.description = "Build a model, run it once on a little noise, and print the table of what would be watched."
    parser.add_argument("model", metavar="MODULE:FACTORY", help="a function or class without arguments, or a model")
    parser.add_argument("--batch", metavar="MODULE:FUNCTION", help="returns a batch to run the model on")
    parser.add_argument("--forward", metavar="MODULE:FUNCTION", help="f(model, batch) that runs it")
    parser.add_argument("--layers", nargs="+", metavar="GLOB", help="layers to watch")
    parser.add_argument("--lengths", metavar="PATH", help="where the batch holds lengths")
    parser.add_argument("--sample-rate", type=int, default=16_000, help="of the noise (default: %(default)s)")


def run(options: argparse.Namespace) -> int:
    """Do it; returns the exit status."""
    from torch import nn

    from rankwatch.arguments.settings import RankWatchArguments
    from rankwatch.extraction.rows.sampling_options import RowSampling
    from rankwatch.inspection import inspect
    from rankwatch.reporting.tensorboard_page.installed_tensorboard import tensorboard_problem
    from rankwatch.runtime.import_path import import_function

    settings: RankWatchArguments = {}
    if options.layers is not None:
        settings["layers"] = options.layers
    if options.lengths is not None:
        settings["rows"] = RowSampling(lengths=options.lengths)
    try:
        factory: Any = import_function(options.model)
        make_batch: Any = import_function(options.batch) if options.batch else lambda: None
        forward = import_function(options.forward) if options.forward else None
    except ValueError as error:
        return refuse(error, "inspect")
    # What the user's own functions raise is theirs to see in full.
    model, batch = factory if isinstance(factory, nn.Module) else factory(), make_batch()
    if not isinstance(model, nn.Module):
        return refuse(f"{options.model!r} gave a {type(model).__name__}, not a torch.nn.Module", "inspect")
    try:
        found = inspect(model, batch, forward, sample_rate=options.sample_rate, **settings)
    except ValueError as error:
        return refuse(error, "inspect")
    print(found)
    note = tensorboard_problem()
    if note:
        print(f"  note: {note}", file=sys.stderr)
    return int(bool(found.problems))
