"""Train twins, runs at half the learning rate and runs with a broken teacher, and keep their encoders and records.

    python tests/benchmarks/twins/make.py --out FOLDER      # about 30 CPU seconds each; begun again it goes on

Encoders, methods and corpora are those of the zoo of encoders, and so is the split: what `rankwatch compare` takes for
alike is chosen on the part of it that is declared for choosing, and counted on the rest.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import time
import warnings
from pathlib import Path

for _name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_name] = "1"  # before torch is imported
_BENCHMARKS = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(_BENCHMARKS), str(_BENCHMARKS.parents[1] / "examples")]

import torch  # noqa: E402
from speech_synthesis import synthetic_speech  # noqa: E402
from zoo_of_encoders.catalogue import Run  # noqa: E402
from zoo_of_encoders.probes import layer_names  # noqa: E402
from zoo_of_encoders.train import Training  # noqa: E402

from rankwatch import AudioFolder, RowSampling, Watch  # noqa: E402

STEPS = 150
CHOSEN = (("mel_transformer", "hubert"), ("conformer", "data2vec"), ("cnn", "byol"))
HELD_OUT = (("raw_waveform", "jepa"), ("gru", "data2vec"), ("cnn", "jepa"), ("gru", "cpc"))
MORE_CHOSEN = (
    ("mel_transformer", "data2vec"),
    ("conformer", "hubert"),
    ("cnn", "vicreg"),
    ("mel_transformer", "wav2vec2"),
    ("conformer", "bestrq"),
)
"""Further ones of the part for choosing, for how fast layers move (two seeds each)."""
MORE_HELD_OUT = (("gru", "barlow"), ("raw_waveform", "mae"), ("gru", "jepa"), ("conformer", "cpc"))
HALF_RATE = 5e-4
UTTERANCES = 64
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
    found += [Run(a, m, 2, steps=STEPS) for a, m in (*HELD_OUT, *CHOSEN)]
    found += [Run(a, m, seed, steps=STEPS) for seed in (0, 1) for a, m in (*MORE_CHOSEN, *MORE_HELD_OUT)]
    slower = (*CHOSEN, *MORE_CHOSEN, *MORE_HELD_OUT)
    return found + [Run(a, m, 0, "half_rate", steps=STEPS, rate=HALF_RATE) for a, m in slower]


def make(run: Run, out: Path) -> None:
    """Train one under watch, and write its encoder's weights and its record."""
    training = Training(run, None)
    folder = out / f"{run.name}.watched"
    shutil.rmtree(folder, ignore_errors=True)
    watch = Watch(
        training.method,
        folder,
        layers=layer_names(training.method),
        eval_sets={"speech": AudioFolder(synthetic_speech(seed=1), max_seconds=1.0)},
        rows=RowSampling(n_utterances=UTTERANCES, brief_utterances=None),
        every_n_steps=10,
        max_overhead=None,
    )
    while training.step < run.steps:
        training.take_step(watch.batch)
        watch.step()
    watch.close()
    (folder / "RankWatch.jsonl").replace(out / f"{run.name}.jsonl")
    shutil.rmtree(folder)
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
