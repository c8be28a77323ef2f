"""Small live runs with drift: healthy ones, and what turns a layer over while its rank may hold. Records only.

    python tests/benchmarks/drift_runs.py --out FOLDER [--only conformer-hubert] [--data CORPORA]

Trains encoders of the zoo (`zoo_of_encoders/`), watched at frame level with 64 utterances and a reading every ten
steps. Each run is trained whole and healthy; after two thirds of it branches go off: ``reset`` (one block begins
anew), ``swapped`` (the weights of another seed's finished run), ``targets`` (units, codebook or teacher are others). A
finished run is a file of records, so this can be interrupted. `drift_warnings.py` replays the records.
"""

from __future__ import annotations

import argparse
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

SPLIT_AT, BRANCH_STEPS = 200, 50
PAIRS = (  # those that thresholds may be chosen on first, then those that are held back, cheap ones first
    ("mel_transformer", "hubert"),
    ("cnn", "byol"),
    ("conformer", "bestrq"),
    ("mel_transformer", "data2vec"),
    ("gru", "cpc"),
    ("patches", "mae"),
    ("raw_waveform", "jepa"),
    ("patches", "barlow"),
    ("cnn", "vicreg"),
    ("mel_transformer", "wav2vec2"),
    ("gru", "jepa"),
    ("raw_waveform", "mae"),
)
VARIANTS = ("plain", "high_rate", "restarts", "constant_rate", "other_data")


def runs() -> Iterator[Run]:
    """Two seeds of each pair, then one of each variant."""
    for seed, variant in [(0, "plain"), (1, "plain"), *((2, variant) for variant in VARIANTS[1:])]:
        for architecture, method in PAIRS:
            yield Run(architecture, method, seed, variant, **HEALTHY.get(variant, {}))


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


def reset(training: Training) -> None:
    """The second block begins anew."""
    training.method.encoder.blocks[1].load_state_dict(training.fresh().encoder.blocks[1].state_dict())


def change_targets(training: Training, data: Path | None) -> bool:
    """Units fitted anew, another random codebook, another teacher; whether the method has any of these."""
    method = training.method
    if hasattr(method, "units"):
        speech = waveforms(training.run.corpus, data)
        method.units.fit(list(speech[:: max(1, len(speech) // 150)]), seed=7)
    elif hasattr(method, "codebook"):
        method.codebook.copy_(normalize(torch.randn_like(method.codebook), dim=1))
    elif isinstance(method, WithTeacher):
        method.teacher.load_state_dict(training.fresh().teacher.state_dict())
    else:
        return False
    return True


def branch(run: Run, saved: dict[str, Any], way: str, data: Path | None, other: Path, folder: Path) -> bool:
    """From the middle of a run on, with one thing changed; whether the run has such a thing."""
    training = Training(run, data)
    training.step = SPLIT_AT
    training.method.load_state_dict(saved["method"])
    training.optimizer.load_state_dict(saved["optimizer"])
    training.draws.set_state(saved["draws"])
    if way == "reset":
        reset(training)
    elif way == "swapped" and other.exists():
        training.method.load_state_dict(torch.load(other, weights_only=True))
    elif way != "targets" or not change_targets(training, data):
        return False
    watch = watched(training.method, folder, run)
    watch.load_state_dict(saved["watch"])
    steps(training, watch, SPLIT_AT + BRANCH_STEPS)
    watch.close()
    return True


def train(run: Run, data: Path | None, out: Path) -> None:
    """One run with its branches; its records go into `out`, one file for the whole and one for each branch."""
    warnings.filterwarnings("ignore")
    folder = Path(tempfile.mkdtemp())
    training = Training(run, data)
    watch = watched(training.method, folder / "whole", run)
    steps(training, watch, SPLIT_AT)
    saved = {
        "method": {name: value.clone() for name, value in training.method.state_dict().items()},
        "optimizer": training.optimizer.state_dict(),
        "draws": training.draws.get_state(),
        "watch": watch.state_dict(),
    }
    torch.save(saved, folder / "saved.pt")  # a copy, as training goes on
    steps(training, watch, run.steps)
    watch.close()
    torch.save(training.method.state_dict(), out / f"{run.name}.pt")
    other = out / f"{run.architecture}-{run.method}-plain-healthy-{1 - run.seed}.pt"
    for way in ("reset", "swapped", "targets") if run.variant == "plain" else ():
        again = torch.load(folder / "saved.pt", weights_only=True)
        if branch(run, again, way, data, other, folder / way):
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
