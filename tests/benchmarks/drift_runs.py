"""Small live runs with drift: healthy ones, and what turns a layer over while its rank may hold. Records only.

    python tests/benchmarks/drift_runs.py --out FOLDER [--only conformer-hubert] [--data CORPORA]

Trains encoders of the zoo (`zoo_of_encoders/`), watched at frame level with 64 utterances and a reading every ten
steps. Each run is trained whole and healthy; after two thirds of it branches go off: ``reset`` (one block begins
anew), ``swapped`` (the weights of another seed's finished run), ``targets`` (units, codebook or teacher are others). A
finished run is a file of records, so this can be interrupted. `drift_warnings.py` replays the records.
"""

from __future__ import annotations

import argparse
import copy
import os
import shutil
import sys
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

for _name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_name] = "1"  # before torch is imported
sys.path.insert(0, str(Path(__file__).resolve().parent))

import torch  # noqa: E402
from torch.nn.functional import normalize  # noqa: E402
from zoo_of_encoders.catalogue import HEALTHY, Run  # noqa: E402
from zoo_of_encoders.method import WithTeacher  # noqa: E402
from zoo_of_encoders.probes import layer_names  # noqa: E402
from zoo_of_encoders.speech import waveforms  # noqa: E402
from zoo_of_encoders.train import Training  # noqa: E402

from rankwatch import RowSampling, Watch  # noqa: E402

STEPS, BATCH, SPLIT_AT = 200, 6, 140
BRANCH_STEPS = {"reset": 20, "swapped": 20, "targets": 50}
PAIRS = (  # those that thresholds may be chosen on and those that are held back in turn, cheap ones first
    ("cnn", "byol"),
    ("gru", "cpc"),
    ("mel_transformer", "hubert"),
    ("patches", "mae"),
    ("conformer", "bestrq"),
    ("patches", "barlow"),
    ("mel_transformer", "data2vec"),
    ("gru", "jepa"),
    ("cnn", "vicreg"),
    ("patches", "jepa"),
    ("cnn", "hubert"),
    ("gru", "mae"),
)
VARIANTS = ("plain", "high_rate", "restarts", "constant_rate", "other_data")


def runs() -> Iterator[Run]:
    """Two seeds of each pair, then one of each variant."""
    for seed, variant in [(0, "plain"), (1, "plain"), *((2, variant) for variant in VARIANTS[1:])]:
        for architecture, method in PAIRS:
            yield Run(
                architecture, method, seed, variant, **{"steps": STEPS, "batch": BATCH, **HEALTHY.get(variant, {})}
            )


def watched(method: Any, folder: Path, run: Run) -> Watch:
    """A watch of the encoder's layers, at frame level."""
    layouts = dict.fromkeys(layer_names(method), "(B, T, C)") if run.architecture == "patches" else {}
    return Watch(
        method,
        folder,
        layers=layer_names(method),
        watch=("frame", "drift"),
        rows=RowSampling(n_utterances=64, brief_utterances=None, layouts=layouts),
        every_n_steps=run.every,
        max_overhead=None,
    )


def steps(training: Training, watch: Watch, until: int) -> None:
    """Train."""
    while training.step < until:
        training.take_step(watch.batch)
        watch.step()


def change_targets(training: Training, first: dict[str, Any], data: Path | None) -> bool:
    """Units fitted anew, another random codebook, another teacher; whether the method has any of these."""
    method = training.method
    if hasattr(method, "units"):
        speech = waveforms(training.run.corpus, data)
        method.units.fit(list(speech[:: max(1, len(speech) // 50)]), seed=7)
    elif hasattr(method, "codebook"):
        method.codebook.copy_(normalize(torch.randn_like(method.codebook), dim=1))
    elif isinstance(method, WithTeacher):
        method.teacher.load_state_dict(_part(first, "teacher."))
    else:
        return False
    return True


def break_it(training: Training, way: str, first: dict[str, Any], other: Path, data: Path | None) -> bool:
    """Change one thing; whether the run has such a thing. `first` is the state at initialisation."""
    if way == "reset":
        training.method.encoder.blocks[1].load_state_dict(_part(first, "encoder.blocks.1."))
    elif way == "swapped" and other.exists():
        training.method.load_state_dict(torch.load(other, weights_only=True))
    else:
        return way == "targets" and change_targets(training, first, data)
    return True


def _part(state: dict[str, Any], prefix: str) -> dict[str, Any]:
    return {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}


def train(run: Run, data: Path | None, out: Path) -> None:
    """One run with its branches; its records go into `out`, one file for the whole and one for each branch."""
    warnings.filterwarnings("ignore")
    folder = Path(tempfile.mkdtemp())
    training = Training(run, data)
    first = copy.deepcopy(training.method.state_dict())
    watch = watched(training.method, folder / "whole", run)
    steps(training, watch, SPLIT_AT)
    state = copy.deepcopy(watch.state_dict())
    ways = BRANCH_STEPS if run.variant == "plain" else {}
    branches = {way: copy.deepcopy(training) for way in ways}
    steps(training, watch, run.steps)
    watch.close()
    torch.save(training.method.state_dict(), out / f"{run.name}.pt")
    other = out / f"{run.architecture}-{run.method}-plain-healthy-{1 - run.seed}.pt"
    for way, branch in branches.items():
        if break_it(branch, way, first, other, data):
            watch = watched(branch.method, folder / way, run)
            watch.load_state_dict(copy.deepcopy(state))
            steps(branch, watch, SPLIT_AT + ways[way])
            watch.close()
            shutil.copy(folder / way / "RankWatch.jsonl", out / f"{run.name}.{way}.jsonl")
    shutil.copy(folder / "whole" / "RankWatch.jsonl", out / f"{run.name}.whole.jsonl")
    shutil.rmtree(folder)


def main() -> None:
    """Make what is missing."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--only", default="")
    parser.add_argument("--shard", default="0/1", help="i/n: every n-th pair, beginning with the i-th (from 0)")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    first, stride = (int(number) for number in options.shard.split("/"))
    mine = PAIRS[first::stride]
    for run in runs():
        there = (options.out / f"{run.name}.whole.jsonl").exists()
        if options.only in run.name and (run.architecture, run.method) in mine and not there:
            print(run.name, flush=True)
            train(run, options.data and options.data.resolve(), options.out)


if __name__ == "__main__":
    main()
