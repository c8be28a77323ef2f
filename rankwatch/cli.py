"""The command ``rankwatch``: the same pieces, offline. Each command imports what it needs: torch takes seconds."""

from __future__ import annotations

import argparse
import os
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command line.

    Args:
        arguments: Words of the command line; those of this process by default.

    Returns:
        The exit status: 0, or 1 where something stands against watching the model, or 2 for bad arguments.
    """
    options = _parser().parse_args(arguments)
    sys.path.insert(0, os.getcwd())  # noqa: PTH109 - as python itself does for a script next to the modules it names
    commands = {"inspect": _inspect, "calibrate": _calibrate, "report": _report, "analyze": _analyze}
    return commands[options.command](options)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="rankwatch", description="Effective rank of speech models' layers.")
    commands = parser.add_subparsers(dest="command", required=True)
    show = commands.add_parser(
        "inspect",
        help="show what would be watched in a model, without training it",
        description="Build a model, run it once on a little noise, and print the table of what would be watched.",
    )
    show.add_argument("model", metavar="MODULE:FACTORY", help="a function or class without arguments, or a model")
    show.add_argument("--batch", metavar="MODULE:FUNCTION", help="returns a batch to run the model on")
    show.add_argument("--forward", metavar="MODULE:FUNCTION", help="f(model, batch) that runs it")
    show.add_argument("--layers", nargs="+", metavar="GLOB", help="layers to watch")
    show.add_argument("--lengths", metavar="PATH", help="where the batch holds lengths")
    show.add_argument("--sample-rate", type=int, default=16_000, help="of the noise (default: %(default)s)")
    learn = commands.add_parser(
        "calibrate",
        help="choose thresholds from your own healthy runs",
        description="Read the records of healthy runs of one recipe and write thresholds that none of them crosses.",
    )
    learn.add_argument("runs", nargs="+", metavar="RUN", help="a run's .jsonl file, or a folder with runs at any depth")
    learn.add_argument("--out", type=Path, default=Path("rankwatch.yaml"), help="(default: %(default)s)")
    learn.add_argument("--allowed", type=int, default=0, help="runs that may raise an alarm (default: %(default)s)")
    learn.add_argument("--margin", type=float, default=0.95, help="how far below what was seen (default: %(default)s)")
    learn.add_argument("--with-alarms", action="store_true", help="runs with a critical alarm are healthy, too")
    _add_analyze(commands.add_parser("analyze", help="say what a trained model knows, layer by layer"))
    _add_report(commands.add_parser("report", help="a page of a run's curves and alarms that opens anywhere"))
    return parser


def _add_analyze(ask: argparse.ArgumentParser) -> None:
    ask.description = (
        "Run a trained model on your audio and say, layer by layer, what it holds: acoustics, phones, words, speaker, "
        "whatever is labelled; which layer to take, and how much of the model can be cut. Nothing is trained. An "
        "analysis that was interrupted goes on where it was."
    )
    ask.add_argument(
        "model",
        help="MODULE:FACTORY, MODULE:CLASS@FILE.ckpt, a folder or name of Hugging Face's, or a torchaudio bundle",
    )
    ask.add_argument("--audio", required=True, metavar="PATH", help="a folder of audio, or a manifest")
    ask.add_argument("--labels", metavar="TABLE", help="a table of labels for it")
    ask.add_argument("--alignments", metavar="PATH", help="TextGrid, CTM or TSV: phones and words with their times")
    ask.add_argument("--against", metavar="MODEL", help="another model to compare with")
    ask.add_argument("--targets", nargs="+", metavar="NAME", help="tiers and columns to ask about (default: all)")
    ask.add_argument("--groups", nargs="+", metavar="COLUMN", help="columns whose values are looked at apart")
    ask.add_argument("--layers", nargs="+", metavar="GLOB", help="layers to read (default: all blocks)")
    ask.add_argument("--forward", metavar="MODULE:FUNCTION", help="f(model, (waveforms, lengths)) that runs the model")
    ask.add_argument("--utterances", type=int, default=512, help="at most (default: %(default)s)")
    ask.add_argument("--rows", type=int, default=2048, help="rows of each kind, about (default: %(default)s)")
    ask.add_argument("--max-seconds", type=float, default=15.0, help="where utterances are cut (default: %(default)s)")
    ask.add_argument("--sample-rate", type=int, default=16_000, help="that the model expects (default: %(default)s)")
    ask.add_argument("--preset", choices=["pasad"], help="figures of a published protocol as well")
    ask.add_argument("-o", "--out", type=Path, default=Path("analysis"), help="folder (default: %(default)s)")


def _analyze(options: argparse.Namespace) -> int:
    from rankwatch.analysis.analyze import analyze
    from rankwatch.runtime.import_path import import_function

    warnings.filterwarnings("ignore", message="analyze: ")  # they are printed below, as notes
    try:
        found = analyze(
            options.model,
            options.audio,
            labels=options.labels,
            alignments=options.alignments,
            against=options.against,
            layers=options.layers or "auto",
            forward=import_function(options.forward) if options.forward else None,
            targets=options.targets,
            groups=options.groups,
            n_utterances=options.utterances,
            rows=options.rows,
            max_seconds=options.max_seconds,
            sample_rate=options.sample_rate,
            preset=options.preset,
            out=options.out,
        )
    except (OSError, ValueError, ImportError) as error:
        return _refuse(error, "analyze")
    except KeyboardInterrupt:
        print(f"rankwatch analyze: interrupted; what is done is kept in {options.out}", file=sys.stderr)
        return 130
    for name in found.layers:
        print(f"{name}\n{found.table(name)}\n")
    print("\n".join(found.conclusions))
    print("".join(f"note: {note}\n" for note in found.profile.notes), end="", file=sys.stderr)
    print(f"written to {options.out}")
    return 0


def _add_report(show: argparse.ArgumentParser) -> None:
    show.description = (
        "Write one HTML file with everything about a run, or about several laid over each other: health and alarms, "
        "effective rank, spectra, cost. It opens from disk without a network. Runs that go on and damaged files are "
        "shown as far as they can be read."
    )
    show.add_argument("runs", nargs="+", metavar="RUN", help="a run's .jsonl file, or a folder with runs at any depth")
    show.add_argument("-o", "--out", type=Path, default=Path("report.html"), help="(default: %(default)s)")
    show.add_argument("--names", nargs="+", default=[], metavar="NAME", help="what the runs are called, in their order")
    show.add_argument("--assets", type=Path, metavar="DIR", help="put plotly's library there, for several small pages")
    show.add_argument(
        "--watch", type=float, nargs="?", const=10.0, default=0.0, metavar="SECONDS", help="write it anew as runs go on"
    )
    show.add_argument(
        "--figure", default="ranks", help="where the output is a .png, .svg or .pdf (default: %(default)s)"
    )


def _report(options: argparse.Namespace) -> int:
    from rankwatch.report import ReportOptions, report, to_stderr

    words = {name: value for name, value in vars(options).items() if name != "command"}
    try:
        report(ReportOptions(**words), to_stderr)
    except ModuleNotFoundError as error:
        if not (error.name or "").startswith("plotly"):
            raise
        return _refuse("a report needs plotly: pip install 'rankwatch[report]'", "report")
    except (OSError, ValueError) as error:
        return _refuse(error, "report")
    except KeyboardInterrupt:
        return 0
    return 0


def _calibrate(options: argparse.Namespace) -> int:
    from rankwatch.calibrate import calibrate, find_runs

    try:
        runs = find_runs(options.runs)
        if any(Path(path).is_dir() for path in options.runs):
            print("\n".join([f"{len(runs)} runs:", *(f"  {run}" for run in runs)]))
        found = calibrate(runs, allowed=options.allowed, margin=options.margin, with_alarms=options.with_alarms)
    except (FileNotFoundError, ValueError) as error:
        return _refuse(error, "calibrate")
    found.save(options.out)
    print(options.out.read_text(encoding="utf-8"), end="")
    print(f"written to {options.out}")
    return 0


def _inspect(options: argparse.Namespace) -> int:
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
        return _refuse(error)
    # What the user's own functions raise is theirs to see in full.
    model, batch = factory if isinstance(factory, nn.Module) else factory(), make_batch()
    if not isinstance(model, nn.Module):
        return _refuse(f"{options.model!r} gave a {type(model).__name__}, not a torch.nn.Module")
    try:
        found = inspect(model, batch, forward, sample_rate=options.sample_rate, **settings)
    except ValueError as error:
        return _refuse(error)
    print(found)
    note = tensorboard_problem()
    if note:
        print(f"  note: {note}", file=sys.stderr)
    return int(bool(found.problems))


def _refuse(reason: object, command: str = "inspect") -> int:
    print(f"rankwatch {command}: {reason}", file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main())
