"""``rankwatch report``: a page of a run that opens anywhere."""

from __future__ import annotations

import argparse
from pathlib import Path

from rankwatch.commands.refusal import refuse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say what the command takes."""
    parser.description = (
        "Write one HTML file with everything about a run, or about several laid over each other: health and alarms, "
        "effective rank, spectra, cost. It opens from disk without a network. Runs that go on and damaged files are "
        "shown as far as they can be read."
    )
    parser.add_argument(
        "runs", nargs="+", metavar="RUN", help="a run's .jsonl file, or a folder with runs at any depth"
    )
    parser.add_argument("-o", "--out", type=Path, default=Path("report.html"), help="(default: %(default)s)")
    parser.add_argument(
        "--names", nargs="+", default=[], metavar="NAME", help="what the runs are called, in their order"
    )
    parser.add_argument(
        "--assets", type=Path, metavar="DIR", help="put plotly's library there, for several small pages"
    )
    parser.add_argument(
        "--watch", type=float, nargs="?", const=10.0, default=0.0, metavar="SECONDS", help="write it anew as runs go on"
    )
    parser.add_argument(
        "--figure", default="ranks", help="where the output is a .png, .svg or .pdf (default: %(default)s)"
    )


def run(options: argparse.Namespace) -> int:
    """Do it; returns the exit status."""
    from rankwatch.report import ReportOptions, report, to_stderr

    words = {name: value for name, value in vars(options).items() if name != "command"}
    try:
        report(ReportOptions(**words), to_stderr)
    except ModuleNotFoundError as error:
        if not (error.name or "").startswith("plotly"):
            raise
        return refuse("a report needs plotly: pip install 'rankwatch[report]'", "report")
    except (OSError, ValueError) as error:
        return refuse(error, "report")
    except KeyboardInterrupt:
        return 0
    return 0
