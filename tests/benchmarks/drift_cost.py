"""What drift adds to a reading: processor time of one, with and without, in the same process.

    python tests/benchmarks/drift_cost.py [--layers 13 --width 768 --utterances 512 --frames 4 --repeats 5]

A full reading as the first process works it out once all rows are there: every layer at frame and at utterance level.
The forward pass isn't counted: with it the ratio is smaller. Both readings of a repetition follow each other, in turn
in either order; their ratio is the median over repetitions. `--no-brief` leaves out what a full reading learns for
brief ones.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import time
from pathlib import Path

for _name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_name] = "1"  # before torch is imported
sys.path.insert(0, str(Path(__file__).resolve().parent))

import torch  # noqa: E402

from rankwatch import RowSampling  # noqa: E402
from rankwatch.extraction.rows.row_buffer import Key, Rows  # noqa: E402
from rankwatch.extraction.rows.row_labels import unlabelled  # noqa: E402
from rankwatch.extraction.rows.row_sampling import BRIEF, FULL, whole_sample  # noqa: E402
from rankwatch.readings.brief_links import BriefLinks  # noqa: E402
from rankwatch.readings.drift.drift_memory import DriftMemory  # noqa: E402
from rankwatch.readings.layer_readings import layer_readings  # noqa: E402
from rankwatch.readings.protocol import Protocol  # noqa: E402

SOURCE, LEVELS = "first_batches", ("frame", "utterance")


def shares(options: argparse.Namespace, moved: float) -> dict[Key, list[Rows]]:
    """Rows of every layer, half of whose variance is the utterance's own; `moved` of it is new."""
    found = {}
    g, m, d = options.utterances, options.frames, options.width
    brief = 0 if options.no_brief else min(64, g // 2)
    more = -(-g * m // 64)
    sizes = torch.tensor([more if i < brief else m for i in range(g)])
    keys = torch.arange(g).repeat_interleave(sizes)
    samples = torch.cat(
        [
            torch.tensor([FULL | BRIEF] * m + [BRIEF] * (more - m) if i < brief else [FULL] * m, dtype=torch.uint8)
            for i in range(g)
        ]
    )
    for number in range(options.layers):
        generator = torch.Generator().manual_seed(number)
        mix = torch.linalg.qr(torch.randn(d, d, generator=generator)).Q * torch.arange(1, d + 1)[:, None] ** -0.5

        def draw(generator: torch.Generator = generator) -> torch.Tensor:
            own = torch.randn(g, d, generator=generator)[keys]
            return own + torch.randn(len(keys), d, generator=generator)

        first, second = draw(), draw()
        rows = (first + moved * second) @ mix
        zeros = torch.zeros(len(keys), dtype=torch.float64)
        found[SOURCE, "frame", f"layers.{number}"] = [Rows(rows, keys, zeros, samples, unlabelled(len(keys)))]
        sums = torch.zeros(g, d).index_add_(0, keys, rows) / sizes[:, None]
        own = torch.arange(g)
        found[SOURCE, "utterance", f"layers.{number}"] = [Rows(sums, own, zeros[:g], whole_sample(own), unlabelled(g))]
    return found


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (("layers", 13), ("width", 768), ("utterances", 512), ("frames", 4), ("repeats", 5)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--no-brief", action="store_true")
    options = parser.parse_args()
    sampling = RowSampling(n_utterances=options.utterances, frames_per_utterance=options.frames)
    protocols = {
        (SOURCE, level): Protocol(SOURCE, level, options.utterances, options.frames, 0, None) for level in LEVELS
    }
    layers = [f"layers.{number}" for number in range(options.layers)]
    memory = DriftMemory()

    def reading(moved: float, kept: DriftMemory | None) -> float:
        rows = shares(options, moved)
        start = time.process_time()
        found = layer_readings(
            0,
            rows,
            protocols,
            BriefLinks(),
            {},
            sources=[SOURCE],
            layers=layers,
            sampling=sampling,
            memory=kept,
            settled=True,
        )
        taken = time.process_time() - start
        assert not found.failures, found.failures
        return taken

    reading(0.0, memory)
    reading(0.1, memory)  # from here on there are a reading before and a first one
    ratios, without, added = [], [], []
    for number in range(options.repeats):
        order = [memory, None] if number % 2 else [None, memory]
        times = {kept is None: reading(0.2 + 0.1 * number, kept) for kept in order}
        ratios.append(times[False] / times[True])
        without.append(times[True])
        added.append(times[False] - times[True])
    print(f"without drift {statistics.median(without):.2f} s, drift adds {statistics.median(added):.2f} s")
    print(f"ratio {statistics.median(ratios):.3f} ({min(ratios):.3f} to {max(ratios):.3f})")
    kept = sum(
        value.nbytes
        for _, earlier in memory.state_dict()
        for one in earlier.values()
        for value in [one["keys"], *one["rows"].values()]
        if isinstance(value, torch.Tensor)
    )
    print(f"kept: {kept / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
