"""``rankwatch analyze``: what a trained model knows, layer by layer."""

from __future__ import annotations

import argparse
import sys
import warnings
from pathlib import Path

from rankwatch.commands.refusal import interrupted, out_of_memory, refuse, stopped_as_by_ctrl_c


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say what the command takes."""
    parser.description = (
        "Run a trained model on your audio and say, layer by layer, what it holds: acoustics, phones, words, speaker, "
        "whatever is labelled; which layer to take, and how much of the model can be cut. Nothing is trained. An "
        "analysis that was interrupted goes on where it was."
    )
    parser.add_argument(
        "model",
        help="MODULE:FACTORY, MODULE:CLASS@FILE.ckpt, a folder or name of Hugging Face's, or a torchaudio bundle",
    )
    parser.add_argument("--audio", required=True, metavar="PATH", help="a folder of audio, or a manifest")
    parser.add_argument("--labels", metavar="TABLE", help="a table of labels for it")
    parser.add_argument("--alignments", metavar="PATH", help="TextGrid, CTM or TSV: phones and words with their times")
    parser.add_argument("--against", metavar="MODEL", help="another model to compare with")
    parser.add_argument("--targets", nargs="+", metavar="NAME", help="tiers and columns to ask about (default: all)")
    parser.add_argument("--groups", nargs="+", metavar="COLUMN", help="columns whose values are looked at apart")
    parser.add_argument("--layers", nargs="+", metavar="GLOB", help="layers to read (default: all blocks)")
    parser.add_argument(
        "--forward", metavar="MODULE:FUNCTION", help="f(model, (waveforms, lengths)) that runs the model"
    )
    parser.add_argument("--utterances", type=int, default=512, help="at most (default: %(default)s)")
    parser.add_argument("--rows", type=int, default=2048, help="rows of each kind, about (default: %(default)s)")
    parser.add_argument(
        "--max-seconds", type=float, default=15.0, help="where utterances are cut (default: %(default)s)"
    )
    parser.add_argument("--sample-rate", type=int, default=16_000, help="that the model expects (default: %(default)s)")
    parser.add_argument(
        "--preset", choices=["pasad", "slue"], help="a published protocol's figures as well; SLUE's tasks"
    )
    parser.add_argument("--abx", nargs="+", metavar="TIER", default=[], help="tiers to compare by ABX; needs fastabx")
    parser.add_argument(
        "--tags", nargs="+", metavar="TIER", default=[], help="tiers of tags to tell in frames and spans"
    )
    parser.add_argument(
        "--abx-context", choices=["auto", "within", "any"], default="auto", help="what ABX compares (default: auto)"
    )
    parser.add_argument("--tensorboard", action="store_true", help="event files for TensorBoard as well")
    parser.add_argument("-o", "--out", type=Path, default=Path("analysis"), help="folder (default: %(default)s)")


def run(options: argparse.Namespace) -> int:
    """Do it; returns the exit status."""
    from rankwatch.analysis.analyze import analyze
    from rankwatch.runtime.import_path import import_function

    warnings.filterwarnings("ignore", message="analyze: ")  # they are printed below, as notes
    try:
        with stopped_as_by_ctrl_c():
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
                tensorboard=options.tensorboard,
                abx=options.abx,
                abx_context=options.abx_context,
                tags=options.tags,
            )
    except (OSError, ValueError, ImportError) as error:
        return refuse(error, "analyze")
    except MemoryError as error:
        return out_of_memory(error, "analyze", options.out)
    except KeyboardInterrupt:
        return interrupted("analyze", options.out)
    for name in found.layers:
        print(f"{name}\n{found.table(name)}\n")
    print("\n".join(found.conclusions))
    print("".join(f"note: {note}\n" for note in found.profile.notes), end="", file=sys.stderr)
    print(f"written to {options.out}")
    return 0
