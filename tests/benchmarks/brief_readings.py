"""Brief readings beside full ones, of the same runs: the same alarms, and curves within each other's intervals?

    python tests/benchmarks/brief_readings.py ../shared/data [--seeds 2]

Runs of the zoo (`zoo/`), healthy and broken in the middle, under two watches at once: one whose readings are all full
(512 utterances), and one with brief readings between full ones. A line for each run: first critical alarm of either, in
steps after the break; utterances run by the second in per cent of the first's; and of the brief readings' frame level
the median and largest difference from the full reading of the same step, and how many of their 90 % intervals hold it.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import io
import math
import sys
import tempfile
import warnings
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parent / "zoo"))

import breaks
from catalogue import Run, catalogue
from corpus import AudioBatch, batches, waveforms
from methods import METHODS
from train import EVERY, _groups, _rate, _step

from rankwatch import RowSampling, Watch
from rankwatch.readings.reading import Reading

VARIANTS = ("plain", "rate_x20", "decay_x1000", "no_stop_gradient", "one_cluster", "gain_to_zero", "dead_layer")
FULL = RowSampling(brief_utterances=None)


class Both:
    """Two watches where a loop expects one."""

    def __init__(self, watches: list[Watch]) -> None:
        self.watches = watches

    @contextlib.contextmanager
    def batch(self, batch: AudioBatch):
        """One training batch, for both."""
        with self.watches[0].batch(batch), self.watches[1].batch(batch):
            yield


def train(run: Run, data: Path) -> list[Watch]:
    """The watch whose readings are all full, and the other."""
    torch.manual_seed(1000 + run.seed)
    method = METHODS[run.method](run.width, 0.1)
    draws = torch.Generator().manual_seed(2000 + run.seed)
    speech = waveforms(data, run.corpus)
    method.prepare(list(speech[:: max(1, len(speech) // 150)]))
    optimizer = torch.optim.AdamW(_groups(method, run), run.rate, (0.9, 0.98), weight_decay=0.01)
    watches = [
        Watch(method, Path(tempfile.mkdtemp()), rows=rows, every_n_steps=EVERY, max_overhead=None)
        for rows in (FULL, RowSampling())
    ]
    for step in range(run.steps):
        for group in optimizer.param_groups:
            group["lr"] = _rate(run, step) * breaks.rate_factor(run, step) * group["share"]
        if step == run.switch:
            breaks.break_it(run, method, optimizer)
        batch = batches(data, run.corpus, run.batch, draws)
        _step(run, method, breaks.spoil(run, batch) if step >= run.switch else batch, Both(watches), optimizer, step)
        for watch in watches:
            watch.step()
    for watch in watches:
        watch.close()
    return watches


def frames(watch: Watch) -> dict[tuple[int, str], Reading]:
    """Frame level of the first batches, by step and layer."""
    return {
        (one.step, one.layer): one for one in watch.readings if (one.level, one.source) == ("frame", "first_batches")
    }


def critical(watch: Watch, run: Run) -> str:
    """Steps from the break to the first critical alarm, and its kind."""
    first = next((alarm for alarm in watch.alarms if alarm.severity == "critical"), None)
    begins = run.switch if run.when != "healthy" else 0
    return "none" if first is None else f"{first.kind} {first.step - begins}"


def line(run: Run, watches: list[Watch]) -> tuple[str, list[float], list[bool]]:
    """One row, the differences of ln r, and whether intervals hold the full value."""
    full, brief = (frames(watch) for watch in watches)
    common = [(one, full[key]) for key, one in brief.items() if one.brief and key in full and one.ok and full[key].ok]
    gaps = [math.log(one.effective_rank / other.effective_rank) for one, other in common]
    held = [
        one.effective_rank_low <= other.effective_rank <= one.effective_rank_high
        for one, other in common
        if one.effective_rank_low is not None and one.effective_rank_high is not None
    ]
    ran = [sum({one.step: one.utterances for one in some.values()}.values()) for some in (full, brief)]
    median, worst = (100 * float(np.median(np.abs(gaps))), 100 * float(np.max(np.abs(gaps)))) if gaps else (0.0, 0.0)
    text = (
        f"{run.name:40}{critical(watches[0], run):>32}{critical(watches[1], run):>32}{100 * ran[1] / ran[0]:7.0f}"
        f"{median:8.1f}{worst:8.1f}{100 * float(np.mean(held)) if held else math.nan:7.0f}"
    )
    return text, gaps, held


def main() -> None:
    """Print the table."""
    warnings.filterwarnings("ignore")
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--steps", type=int, default=300)
    options = parser.parse_args()
    heads = ("utt., %", "median", "worst", "held")
    print(f"{'run':40}{'all full':>32}{'brief between':>32}{heads[0]:>7}{heads[1]:>8}{heads[2]:>8}{heads[3]:>7}")
    gaps, held = [], []
    for run in catalogue():
        if run.variant not in VARIANTS or run.when == "start" or run.seed >= options.seeds:
            continue
        with contextlib.redirect_stdout(io.StringIO()):
            watches = train(dataclasses.replace(run, steps=options.steps), options.data.resolve())
        text, differences, holds = line(run, watches)
        print(text, flush=True)
        gaps, held = gaps + differences, held + holds
    print(f"all: median {100 * np.median(np.abs(gaps)):.1f} %, worst {100 * np.max(np.abs(gaps)):.1f} %, ", end="")
    print(f"{100 * np.mean(held):.0f} % of {len(held)} intervals hold")


if __name__ == "__main__":
    main()
