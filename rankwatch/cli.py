"""The command ``rankwatch``: the same pieces, offline."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from types import ModuleType

from rankwatch.commands import analyze, calibrate, compare, correlate, inspect, replay, report

_COMMANDS: dict[str, tuple[ModuleType, str]] = {
    "inspect": (inspect, "show what would be watched in a model, without training it"),
    "calibrate": (calibrate, "choose thresholds from your own healthy runs"),
    "analyze": (analyze, "say what a trained model knows, layer by layer"),
    "compare": (compare, "runs or checkpoints side by side, layer by layer"),
    "correlate": (correlate, "say what rank is worth on your own labels: a pilot"),
    "replay": (replay, "what would have been said of a run, from its checkpoints"),
    "report": (report, "a page of a run's curves and alarms that opens anywhere"),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command line.

    Args:
        arguments: Words of the command line; those of this process by default.

    Returns:
        The exit status: 0, or 1 where something stands against watching the model, or 2 for bad arguments.
    """
    options = _parser().parse_args(arguments)
    sys.path.insert(0, os.getcwd())  # noqa: PTH109 - as python itself does for a script next to the modules it names
    module, _ = _COMMANDS[options.command]
    status: int = module.run(options)
    return status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="rankwatch", description="Effective rank of speech models' layers.")
    commands = parser.add_subparsers(dest="command", required=True)
    for name, (module, help_) in _COMMANDS.items():
        module.add_arguments(commands.add_parser(name, help=help_))
    return parser


if __name__ == "__main__":
    sys.exit(main())
