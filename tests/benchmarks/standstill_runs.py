"""How far layers move in live runs that learn nothing, beside healthy ones: what `frozen_representation` goes by.

    python tests/benchmarks/standstill_runs.py [--data CORPORA] [--only conformer]

Trains encoders of the zoo (`zoo_of_encoders/`) with gradients clipped to a norm of 1e-8, from the start or from a third
on, and healthy ones, watched with drift, 64 utterances and a reading every ten of 300 steps. For each run the smallest
value, over readings at a fifth of the highest learning rate or more, of the largest drift of any layer in the newest
eight readings; and when a standstill is told.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import sys
import tempfile
import warnings
from pathlib import Path

for _name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_name] = "1"  # before torch is imported
sys.path.insert(0, str(Path(__file__).resolve().parent))

import numpy as np  # noqa: E402
from zoo_of_encoders.catalogue import HEALTHY, Run  # noqa: E402
from zoo_of_encoders.probes import layer_names  # noqa: E402
from zoo_of_encoders.train import Training  # noqa: E402

from rankwatch import RowSampling, Watch  # noqa: E402
from rankwatch.alarms.detectors import FrozenRepresentation  # noqa: E402
from rankwatch.readings.drift.layer_drift import PREVIOUS  # noqa: E402

RUNS = (
    ("conformer", "vicreg", "clipped", "start"),
    ("conformer", "byol", "clipped_later", "middle"),
    ("cnn", "wav2vec2", "clipped_later", "middle"),
    ("cnn", "hubert", "clipped", "start"),
    ("mel_transformer", "hubert", "clipped_later", "middle"),
    ("conformer", "barlow", "clipped_later", "middle"),
    ("conformer", "jepa", "clipped", "start"),
    ("raw_waveform", "mae", "clipped_later", "middle"),
    ("conformer", "vicreg", "plain", "healthy"),
    ("cnn", "wav2vec2", "plain", "healthy"),
    ("mel_transformer", "hubert", "low_rate", "healthy"),
    ("raw_waveform", "wav2vec2", "plain", "healthy"),
    ("conformer", "cpc", "low_rate", "healthy"),
    ("raw_waveform", "bestrq", "plain", "healthy"),
    ("gru", "mae", "low_rate", "healthy"),
)
"""Kinds that thresholds may be chosen on and kinds that are held back; the slowest healthy ones among them."""


def train(run: Run, data: Path | None) -> str:
    """What there is to say of one run."""
    detector = FrozenRepresentation()
    with tempfile.TemporaryDirectory() as folder:
        training = Training(run, data)
        watch = Watch(
            training.method,
            folder,
            layers=layer_names(training.method),
            watch=("frame", "utterance", "drift"),
            rows=RowSampling(n_utterances=64, brief_utterances=None),
            every_n_steps=run.every,
            optimizer=training.optimizer,
            max_overhead=None,
        )
        rates: dict[int, float] = {}
        with contextlib.redirect_stdout(io.StringIO()):
            while training.step < run.steps:
                training.take_step(watch.batch)
                watch.step()
                rates[training.step] = training.optimizer.param_groups[0]["lr"]
            watch.close()
    moved: dict[int, float] = {}
    for reading in watch.readings:
        drift = reading.drift_since(PREVIOUS)
        if reading.level == "frame" and drift is not None:
            moved[reading.step] = max(moved.get(reading.step, 0.0), drift.value)
    steps, far = list(moved), np.array(list(moved.values()))
    peak = max(rates.values())
    over = [
        far[i - detector.readings + 2 : i + 1].max()
        for i in range(detector.readings - 2, len(far))
        if rates[steps[i]] >= detector.rate * peak
    ]
    told = [alarm.step for alarm in watch.alarms if alarm.kind == detector.kind]
    return f"{min(over):.1e} | {min(told) if told else '-'}"


def main() -> None:
    """Print a row for each."""
    warnings.filterwarnings("ignore")
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--only", default="")
    parser.add_argument("--seed", type=int, default=7)
    options = parser.parse_args()
    print("| run | part | smallest of the largest drifts over eight readings | told at step |\n|---|---|---|---|")
    for architecture, method, variant, when in RUNS:
        run = Run(architecture, method, options.seed, variant, when, **HEALTHY.get(variant, {}))
        if options.only in run.name:
            print(f"| {run.name} | {run.part} | {train(run, options.data and options.data.resolve())} |", flush=True)


if __name__ == "__main__":
    main()
