"""What the callback costs: the same steps with and without it, in turns, in one process.

    python tests/benchmarks/overhead.py

A small HuBERT-like encoder is trained on ragged noise, in turns without and with `RankWatch` (A B A B ...), so that a
drift of the machine's speed meets both. Printed: the ratio of the medians, and the share that
the callback measured of itself, by part.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import lightning.pytorch as pl

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from toys import Module, loader, trainer

from rankwatch import RankWatch


class Clock(pl.Callback):
    """Seconds of the whole fit, from the first batch to the last."""

    def on_train_start(self, *_: Any) -> None:
        """Start."""
        self.began = time.perf_counter()

    def on_train_end(self, *_: Any) -> None:
        """Stop."""
        self.seconds = time.perf_counter() - self.began


def fit(folder: str, steps: int, width: int, watch: RankWatch | None) -> float:
    """Seconds of one run."""
    pl.seed_everything(0, verbose=False)
    clock = Clock()
    callbacks = [clock, *([watch] if watch is not None else [])]
    data = loader(count=256, batch_size=16, shuffle=True, shortest=4000, longest=16000)
    run = trainer(folder, *callbacks, max_steps=steps, log_every_n_steps=10)
    run.fit(Module(width=width, layer_drop=0.0), data)
    return clock.seconds


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--every", type=int, default=100)
    parser.add_argument("--utterances", type=int, default=64)
    parser.add_argument("--width", type=int, default=128)
    arguments = parser.parse_args()
    plain, watched, records = [], [], []
    with tempfile.TemporaryDirectory() as folder:
        for i in range(arguments.rounds + 1):  # the first round warms up
            watch = RankWatch(every_n_steps=arguments.every, n_utterances=arguments.utterances, frames_per_utterance=16)
            seconds = [fit(folder, arguments.steps, arguments.width, None)]
            seconds.append(fit(folder, arguments.steps, arguments.width, watch))
            if i > 0:
                plain.append(seconds[0])
                watched.append(seconds[1])
        for path in Path(folder).rglob("*.jsonl"):
            records += [json.loads(line) for line in path.read_text().splitlines()]
    ratios = [b / a for a, b in zip(plain, watched, strict=True)]
    ends = [record for record in records if record["record"] == "end"][1:]
    print(f"{arguments.steps} steps, a reading every {arguments.every}, d {arguments.width}")
    print(f"seconds without {statistics.median(plain):.2f}, with {statistics.median(watched):.2f}")
    print(f"ratio with / without: median {statistics.median(ratios):.4f}, {min(ratios):.4f} to {max(ratios):.4f}")
    print(f"share that the callback measured: median {100 * statistics.median(e['share'] for e in ends):.2f} %")
    costs = [record["seconds"] for record in records if record["record"] == "cost"]
    for part in sorted({part for cost in costs for part in cost}):
        print(f"  {part}: median {1000 * statistics.median(c.get(part, 0.0) for c in costs):.1f} ms per reading")


if __name__ == "__main__":
    main()
