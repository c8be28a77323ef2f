"""``rankwatch replay``: what would have been said of a run that wasn't watched, from its checkpoints."""

from __future__ import annotations

import argparse
import os
import sys
import warnings
from typing import Any

from rankwatch.commands.refusal import interrupted, refuse

_SOME_FAILED = 1


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say what the command takes."""
    parser.description = (
        "Read the checkpoints of a run in the order of their steps, as a run that was watched is read while it trains: "
        "curves, alarms, health, the last healthy checkpoint. Nothing is trained. Called again with the same --out it "
        "goes on where it was; the exit status is 1 where some checkpoint could not be read."
    )
    parser.add_argument("model", help="MODULE:FACTORY, a folder or name of Hugging Face's, or a torchaudio bundle")
    parser.add_argument(
        "--checkpoints", nargs="+", required=True, metavar="PATH", help="files, folders and globs, also URLs"
    )
    parser.add_argument("--audio", metavar="PATH", help="a folder of audio, or a manifest, to read the model on")
    parser.add_argument("--labels", metavar="TABLE", help="a table of labelled clips, as a further set with probes")
    parser.add_argument("--label", default="label", metavar="COLUMN", help="of the table (default: %(default)s)")
    parser.add_argument(
        "--speaker", default="speaker", metavar="COLUMN", help="of the table, '' for none (default: %(default)s)"
    )
    parser.add_argument("--like", metavar="RUN", help="a run's .jsonl file: its settings and evaluation sets are used")
    parser.add_argument("--out", default="replay", metavar="FOLDER", help="(default: %(default)s)")
    parser.add_argument("--weights", default="", metavar="NAME", help="which weights, such as teacher or _ema")
    parser.add_argument("--prefix", metavar="NAME", help="what names of weights begin with (default: it is found)")
    parser.add_argument("--forward", metavar="MODULE:FUNCTION", help="f(model, batch) that runs the model")
    parser.add_argument("--layers", nargs="+", metavar="GLOB", help="layers to read (default: all blocks)")
    parser.add_argument("--utterances", type=int, metavar="N", help="of each set (default: 512, or the run's)")
    parser.add_argument("--sample-rate", type=int, default=16_000, help="that the model expects (default: %(default)s)")
    parser.add_argument("--max-seconds", type=float, default=15.0, help="where audio is cut (default: %(default)s)")
    parser.add_argument("--precision", help="of the training, such as bf16-mixed (default: 32-true, or the run's)")
    parser.add_argument("--device", help="where the model runs (default: cuda, where there is one)")
    parser.add_argument("--follow", action="store_true", help="wait for further checkpoints, until Ctrl-C")
    parser.add_argument("--until-step", type=int, metavar="STEP", help="the last step that is read")
    parser.add_argument("--idle-seconds", type=float, metavar="S", help="with --follow: end after so long without any")


def run(options: argparse.Namespace) -> int:
    """Do it; returns the exit status."""
    from rankwatch.replays.replay import replay

    warnings.showwarning = _show
    warnings.simplefilter("always", RuntimeWarning)
    try:
        _join_processes()
        found = replay(
            options.model,
            options.checkpoints,
            _audio(options),
            like=options.like,
            out=options.out,
            weights=options.weights,
            prefix=options.prefix,
            forward=options.forward,
            precision=options.precision,
            device=options.device,
            follow=options.follow,
            until_step=options.until_step,
            idle_seconds=options.idle_seconds,
            say=_say,
            **_further(options),
        )
    except (OSError, ValueError, ImportError) as error:
        return refuse(error, "replay")
    except KeyboardInterrupt:
        return interrupted("replay", options.out)
    return _SOME_FAILED if found.failed else 0


def _audio(options: argparse.Namespace) -> Any:
    """The sets by name; None for those of the run."""
    from rankwatch.extraction.eval_sets.eval_set_sources import AudioFolder
    from rankwatch.extraction.eval_sets.labelled_set import LabelledSet

    about = {"sample_rate": options.sample_rate, "max_seconds": options.max_seconds}
    sets: dict[str, Any] = {}
    if options.audio is not None:
        sets["audio"] = AudioFolder(options.audio, **about)
    if options.labels is not None:
        sets["labelled"] = LabelledSet(options.labels, options.label, options.speaker or None, **about)
    return sets or None


def _further(options: argparse.Namespace) -> dict[str, Any]:
    from rankwatch.extraction.rows.sampling_options import RowSampling

    further: dict[str, Any] = {} if options.layers is None else {"layers": options.layers}
    if options.utterances is not None:
        further["rows"] = RowSampling(n_utterances=options.utterances, brief_utterances=None)
    return further


def _join_processes() -> None:
    """Several processes, as ``torchrun -m rankwatch.cli replay`` starts them, read together."""
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        import torch.distributed as dist

        if not dist.is_initialized():
            dist.init_process_group("gloo")


def _say(line: str) -> None:
    """At once, also where the output goes into a file."""
    print(line, flush=True)


def _show(message: Warning | str, *_: Any, **__: Any) -> None:
    """Without the place in the source, which says nothing here."""
    print(message, file=sys.stderr)
