"""Similarities of neighbouring checkpoints of one run, from few rows and from many.

    python examples/pretrain.py --trainer.callbacks.init_args.save_top_k -1    # a run with a checkpoint every 100 steps
    python tests/benchmarks/similarity_checkpoints.py runs/data2vec/version_0/checkpoints --data ../shared/data/emodb

Each line is one layer and one pair of consecutive checkpoints: `similarity` at resolution 0.1 and CKA of the same
frames, with intervals, from a few frames of each recording; and from 60 frames of each, to compare with. The model is
the example's data2vec; its student's blocks are read.
"""

import argparse
import sys
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "examples"))

from data2vec import Data2Vec

from rankwatch.analysis.models.model_sources import NamedModel
from rankwatch.analysis.rows.collect_rows import collect_rows
from rankwatch.analysis.rows.extraction_plan import Extraction, ModelOptions
from rankwatch.analysis.rows.row_tables import FRAME
from rankwatch.corpora import read_corpus
from rankwatch.metrics import cka, similarity

MANY = 60
"""Frames of each recording that stand for the truth."""


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("checkpoints", type=Path)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--few", type=int, nargs="+", default=[4, 10])
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    corpus = read_corpus(arguments.data)
    count = len(corpus.utterances)
    plan = Extraction.planned(
        corpus, utterances=count, rows=MANY * count, max_seconds=15.0, sample_rate=16_000, seed=0, conventions={},
        folder=None,
    )  # fmt: skip
    files = sorted(arguments.checkpoints.glob("*.ckpt"), key=lambda file: int(file.stem.rpartition("=")[2]))
    before = None
    print(
        "| layer | steps | frames each | similarity | 90 % | status | CKA | 90 % |\n|---|---|---|---|---|---|---|---|"
    )
    for file in files:
        model = Data2Vec.load_from_checkpoint(file, map_location="cpu")
        rows = collect_rows(NamedModel(file.stem, model), ModelOptions(), plan, print)
        if before is not None:
            compare(before, rows, arguments.few)
        before = rows


def compare(before, after, few):
    """A line for each layer and number of frames."""
    steps = f"{before.name.rpartition('=')[2]} to {after.name.rpartition('=')[2]}"
    one, other = before.tables[FRAME], after.tables[FRAME]
    place = torch.tensor([key[1] for key in one.keys])
    for layer in after.layers:
        for frames in [*few, MANY]:
            # Times are in order: every so many of them, so that they are spread over the recording.
            chosen = (place * frames) // MANY != ((place - 1) * frames) // MANY if frames < MANY else place >= 0
            groups = one.utterances[chosen.numpy()]
            pair = one.rows[layer.path][chosen], other.rows[layer.path][chosen]
            s, c = similarity(*pair, groups=groups), cka(*pair, groups=groups)
            status = "+".join(sorted(s.status)) or "clean"
            print(
                f"| {layer.label} | {steps} | {frames} | {s.value:.3f} | {interval(s)} | {status} | {c.value:.3f} "
                f"| {interval(c)} |",
                flush=True,
            )


def interval(found):
    return f"{found.low:.3f} to {found.high:.3f}" if found.low is not None else ""


if __name__ == "__main__":
    main()
