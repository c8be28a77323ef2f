"""How often `rankwatch compare` claims a difference between checkpoints that differ in their seed alone.

    python tests/benchmarks/twins/count.py --checkpoints FOLDER    # what make.py has written; a minute for each pair

Runs at half the learning rate and with a broken teacher are compared with the plain run of the same seed and of others.
"""

from __future__ import annotations

import argparse
import itertools
import re
import sys
import warnings
from collections.abc import Iterable
from pathlib import Path

_BENCHMARKS = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(_BENCHMARKS), str(_BENCHMARKS.parents[1] / "examples")]

import torch  # noqa: E402
from speech_synthesis import synthetic_speech  # noqa: E402
from twins.make import CHOSEN, HELD_OUT  # noqa: E402
from zoo_of_encoders.encoders import Encoder  # noqa: E402

from rankwatch.analysis.models.model_sources import NamedModel  # noqa: E402
from rankwatch.analysis.rows.collect_rows import collect_rows  # noqa: E402
from rankwatch.analysis.rows.extraction_plan import Extraction, ModelOptions  # noqa: E402
from rankwatch.analysis.rows.row_tables import ModelRows  # noqa: E402
from rankwatch.comparison.compare_checkpoints import compare_checkpoints  # noqa: E402
from rankwatch.comparison.comparison_result import Comparison  # noqa: E402
from rankwatch.comparison.differences.difference import ALL_LAYERS, Difference  # noqa: E402
from rankwatch.comparison.differences.verdicts import HIGHER, LOWER  # noqa: E402
from rankwatch.corpora import read_corpus  # noqa: E402


def rows_of(file: Path, extraction: Extraction) -> ModelRows:
    """Rows of one encoder."""
    architecture, method, *_ = file.stem.split("-")
    causal = method == "cpc"
    encoder = Encoder(architecture, 96, causal=causal)
    state = torch.load(file, weights_only=True)
    encoder.load_state_dict(state)
    layers = ["feature_extractor", *(f"blocks.{i}" for i in range(len(encoder.blocks)))]
    options = ModelOptions(layers, lambda model, batch: model(*batch))
    return collect_rows(NamedModel(file.stem, encoder.eval(), 16_000), options, extraction, print)


def claimed(found: Comparison) -> list[Difference]:
    """Layers and levels that are called different."""
    return [d for d in layers_of(found) if d.verdict in (HIGHER, LOWER)]


def layers_of(found: Comparison) -> list[Difference]:
    """All layers and levels, without the mean."""
    return [d for d in found.differences if d.place.layer != ALL_LAYERS]


def counted(pairs: Iterable[tuple[ModelRows, ModelRows]]) -> str:
    """Claims, pairs with any, layers that differ at all, and half of a 90 % interval by level."""
    found = [compare_checkpoints(pair, "speech") for pair in pairs]
    if not found:
        return "none"
    layers = [d for one in found for d in layers_of(one)]
    claims, some = sum(len(claimed(one)) for one in found), sum(bool(claimed(one)) for one in found)
    differing = sum(bool(d.differs) for d in layers)
    widths = {
        level: [(d.high_90 / d.low_90) ** 0.5 - 1.0 for d in layers if d.place.level == level and d.low_90]
        for level in ("frame", "utterance")
    }
    typical = ", ".join(f"{sorted(values)[len(values) // 2]:.1%}" for values in widths.values())
    return (
        f"{claims} of {len(layers)} ({claims / len(layers):.1%}) | {some} of {len(found)} | "
        f"{differing / len(layers):.0%} | {typical}"
    )


def grouped(one: list[ModelRows], other: list[ModelRows]) -> str:
    """Claims between two groups of seeds."""
    groups = {"one": [rows.name for rows in one], "other": [rows.name for rows in other]}
    found = compare_checkpoints([*one, *other], "speech", groups)
    means = [d for d in found.differences if d.place.layer == ALL_LAYERS]
    ratios = ", ".join(f"{d.ratio:.3f} [{d.low:.3f}, {d.high:.3f}] {d.verdict}" for d in means)
    return f"{len(claimed(found))} of {len(layers_of(found))} layers and levels; over all layers {ratios}"


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoints", type=Path, required=True)
    parser.add_argument("--utterances", type=int, default=256)
    parser.add_argument("--rows", type=int, default=1024)
    options = parser.parse_args()
    warnings.filterwarnings("ignore")
    extraction = Extraction.planned(
        read_corpus(synthetic_speech(seed=1)),
        utterances=options.utterances,
        rows=options.rows,
        max_seconds=5.0,
        sample_rate=16_000,
        seed=0,
        conventions={},
        folder=options.checkpoints / "rows",
    )
    runs = {file.stem: rows_of(file, extraction) for file in sorted(options.checkpoints.glob("*.pt"))}
    head = ["runs", "layers and levels claimed", "pairs with any", "differ at all", "half width: frame, utterance"]
    print(f"| {' | '.join(head)} |\n|{'---|' * len(head)}")
    for title, part in (("chosen", CHOSEN), ("held out", HELD_OUT)):
        of = {pair: _named(runs, "-".join(pair), "plain-healthy") for pair in part}
        twins = [pair for plain in of.values() for pair in itertools.combinations(plain, 2)]
        print(f"| twins, {title} | {counted(twins)} |", flush=True)
        for pair, plain in of.items():
            start = "-".join(pair)
            variants = sorted({_variant(name) for name in runs if name.startswith(start)} - {"plain-healthy"})
            for variant in variants:
                other = _named(runs, start, variant)
                print(f"| {start}, {variant} | {counted(itertools.product(other, plain))} |", flush=True)
                if len(other) > 1:
                    print(
                        f"{start}, {len(other)} of {variant} against {len(plain)}: {grouped(other, plain)}", flush=True
                    )


def _variant(name: str) -> str:
    return re.sub(r"-\d+$", "", name).split("-", 2)[2]


def _named(runs: dict[str, ModelRows], start: str, variant: str) -> list[ModelRows]:
    return [rows for name, rows in runs.items() if name.startswith(f"{start}-{variant}-")]


if __name__ == "__main__":
    main()
