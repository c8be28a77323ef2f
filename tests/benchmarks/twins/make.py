"""Train twins, runs at half the learning rate and runs with a broken teacher, and keep their encoders.

    python tests/benchmarks/twins/make.py --out FOLDER      # about 20 CPU seconds each; begun again it goes on

Encoders, methods and corpora are those of the zoo of encoders, and so is the split: what `rankwatch compare` takes for
alike is chosen on the part of it that is declared for choosing, and counted on the rest.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
import warnings
from contextlib import nullcontext
from pathlib import Path

for _name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_name] = "1"  # before torch is imported
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import torch  # noqa: E402
from zoo_of_encoders.catalogue import Run  # noqa: E402
from zoo_of_encoders.train import Training  # noqa: E402

STEPS = 150
CHOSEN = (("mel_transformer", "hubert"), ("conformer", "data2vec"), ("cnn", "byol"))
HELD_OUT = (("raw_waveform", "jepa"), ("gru", "data2vec"), ("cnn", "jepa"), ("gru", "cpc"))
HALF_RATE = 5e-4
BROKEN = (
    (("raw_waveform", "jepa"), "no_stop_gradient", "start"),
    (("gru", "data2vec"), "no_stop_gradient", "start"),
    (("raw_waveform", "jepa"), "fast_teacher", "middle"),
    (("gru", "data2vec"), "teacher_lost", "middle"),
)


def runs() -> list[Run]:
    """In the order in which they are made: whatever is there already is balanced."""
    found = [Run(a, m, seed, steps=STEPS) for seed in (0, 1) for a, m in HELD_OUT]
    found += [Run(a, m, 0, "half_rate", steps=STEPS, rate=HALF_RATE) for a, m in HELD_OUT]
    found += [Run(a, m, 0, way, when, steps=STEPS) for (a, m), way, when in BROKEN]
    found += [Run(a, m, seed, steps=STEPS) for seed in (0, 1) for a, m in CHOSEN]
    found += [Run(a, m, 1, "half_rate", steps=STEPS, rate=HALF_RATE) for a, m in HELD_OUT]
    return found + [Run(a, m, 2, steps=STEPS) for a, m in (*HELD_OUT, *CHOSEN)]


def make(run: Run, out: Path) -> None:
    """Train one, and write its encoder's weights."""
    training = Training(run, None)
    while training.step < run.steps:
        training.take_step(lambda batch: nullcontext())
    aside = out / f"{run.name}.part{os.getpid()}"
    torch.save(training.method.encoder.state_dict(), aside)
    aside.replace(out / f"{run.name}.pt")


def main() -> None:
    """Make what is missing."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--shard", default="0/1")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    warnings.filterwarnings("ignore")
    first, of = map(int, options.shard.split("/"))
    for run in runs()[first::of]:
        if not (options.out / f"{run.name}.pt").exists():
            begun = time.process_time()
            make(run, options.out)
            print(f"{run.name}: {time.process_time() - begun:.0f} s", flush=True)


if __name__ == "__main__":
    main()
