"""``rankwatch compare``: runs or checkpoints side by side, layer by layer."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from rankwatch.commands.refusal import interrupted, out_of_memory, refuse

_NO_NAME = frozenset("/\\@:")
"""What the name of a group doesn't hold, and paths and models do."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say what the command takes."""
    parser.description = (
        "Compare runs by their records, or with --audio models and checkpoints on the same utterances: how much larger "
        "the effective rank of one is in each layer, with an interval; which can't be told apart, where runs part, and "
        "how alike the same layers of two models are."
    )
    parser.add_argument(
        "sources",
        nargs="*",
        metavar="RUN|MODEL",
        help="a run's .jsonl file or folder; with --audio MODULE:CLASS@FILE.ckpt, MODULE:FACTORY, a folder or name of "
        "Hugging Face's, or a torchaudio bundle",
    )
    parser.add_argument("--names", nargs="+", default=[], metavar="NAME", help="what they are called, in their order")
    parser.add_argument(
        "--group",
        action="append",
        default=[],
        metavar="[NAME=]A,B,...",
        help="runs or models that differ in their seed alone; given twice or more, instead of single ones",
    )
    parser.add_argument(
        "--same-seeds",
        action="store_true",
        help="the first of each group have one seed, the second another, and so on: compare those of one seed",
    )
    parser.add_argument(
        "--at-least",
        type=float,
        metavar="SHARE",
        help="smallest difference that matters (default: what seeds do, 0.11 at frame and 0.15 at utterance level)",
    )
    parser.add_argument("--step", type=int, help="of runs (default: the last that all have reached)")
    parser.add_argument("--audio", metavar="PATH", help="a folder of audio, or a manifest, to run models on")
    parser.add_argument("--match", choices=["label", "depth"], default="label", help="layers (default: %(default)s)")
    parser.add_argument("--layers", nargs="+", metavar="GLOB", help="layers of models to read (default: all blocks)")
    parser.add_argument("--forward", metavar="MODULE:FUNCTION", help="f(model, (waveforms, lengths)) that runs a model")
    parser.add_argument("--utterances", type=int, default=512, help="at most (default: %(default)s)")
    parser.add_argument("--rows", type=int, default=2048, help="frames in all, about (default: %(default)s)")
    parser.add_argument("--max-seconds", type=float, default=15.0, help="where audio is cut (default: %(default)s)")
    parser.add_argument("--sample-rate", type=int, default=16_000, help="that models expect (default: %(default)s)")
    parser.add_argument("-o", "--out", type=Path, default=Path("comparison"), help="folder (default: %(default)s)")


def run(options: argparse.Namespace) -> int:
    """Do it; returns the exit status."""
    from rankwatch.comparison.compare import compare
    from rankwatch.runtime.import_path import import_function

    try:
        sources, groups = _sources(options)
        found = compare(
            sources,
            options.audio,
            groups=groups,
            same_seeds=options.same_seeds,
            at_least=options.at_least,
            step=options.step,
            match=options.match,
            layers=options.layers or "auto",
            forward=import_function(options.forward) if options.forward else None,
            n_utterances=options.utterances,
            rows=options.rows,
            max_seconds=options.max_seconds,
            sample_rate=options.sample_rate,
            out=options.out,
        )
    except (OSError, ValueError, ImportError) as error:
        return refuse(error, "compare")
    except MemoryError as error:
        return out_of_memory(error, "compare", options.out)
    except KeyboardInterrupt:
        return interrupted("compare", options.out)
    print(found.table(), end="\n\n")
    print("\n".join(found.conclusions))
    print("".join(f"note: {note}\n" for note in found.notes), end="", file=sys.stderr)
    print(f"written to {options.out}")
    return 0


def _sources(options: argparse.Namespace) -> tuple[list[str] | dict[str, str], dict[str, list[str]] | None]:
    """What is compared, by name where names are given or groups are, and the groups."""
    if options.group and (options.sources or options.names):
        raise ValueError("name runs and models either by themselves or in groups, not both")
    if options.names and len(options.names) != len(options.sources):
        raise ValueError(f"{len(options.names)} names for {len(options.sources)} runs or models")
    if len(options.sources) < 2 and len(options.group) < 2 and not (options.sources and options.audio is None):
        raise ValueError("name at least two runs or models, or two groups with --group A,B --group C,D")
    _once(options.names, "two runs or models can't both be called {}: give each a name of its own")
    if options.names:
        return dict(zip(options.names, options.sources, strict=True)), None
    if not options.group:
        return list(options.sources), None
    named: dict[str, str] = {}
    groups: dict[str, list[str]] = {}
    for k, text in enumerate(options.group):
        title, listed = _named(text)
        name = title or f"group {k + 1}"
        _once([*groups, name], "two groups can't both be called {}: give each a name of its own")
        places = [place for place in listed.split(",") if place]
        _once([*named.values(), *places], "{} is in the groups twice, and counts once")
        groups[name] = [f"{name}, {i + 1}" for i in range(len(places))]
        named |= dict(zip(groups[name], places, strict=True))
    return named, groups


def _named(text: str) -> tuple[str, str]:
    """A group's name, empty where it has none, and its members; paths may hold an equals sign themselves."""
    title, equals, members = text.partition("=")
    a_path = not _NO_NAME.isdisjoint(title) or Path(text.split(",")[0]).exists()
    return (title, members) if equals and not a_path else ("", text)


def _once(names: Sequence[str], said: str) -> None:
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise ValueError(said.format(repr(twice)))
