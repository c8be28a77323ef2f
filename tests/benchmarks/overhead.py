"""What watching costs: the same steps with and without it, in turns, in one process.

    python tests/benchmarks/overhead.py [ROW ...]

Two twins of a model are trained in turns, segment by segment, one of them under `Watch` at its defaults. A segment of
the watched one begins with a reading and is as long as its outcome takes to arrive and some steps more; the other twin
makes as many steps before or after it. So a drift of the machine's speed meets both. From n segments:

    cost of a reading = seconds of a watched segment - seconds of a plain one     (median, 90 % interval by bootstrap)
    overhead          = (cost of a reading + 500 x what watching costs in an ordinary step) / (500 x a plain step)

The last is measured apart, from 10,000 calls around no work at all. The 99th percentile is that of 500 steps of which
one is followed by a reading: the steps at which a reading was under way count once, the others as often as is missing.
Memory is the most that the process ever held in a segment (VmHWM, reset before each), watched less plain.

On a machine with a GPU the rows whose names begin with `cuda` run too.
"""

from __future__ import annotations

import argparse
import contextlib
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from transformers import HubertConfig, HubertModel

from rankwatch import RowSampling, Watch

INTERVAL = 500


@dataclass(frozen=True)
class Row:
    """One row of the table.

    Attributes:
        width: Of the transformer.
        layers: Transformer blocks.
        batch: Utterances in a forward pass.
        accumulate: Forward and backward passes to an optimiser step.
        precision: ``"32-true"`` or ``"bf16-mixed"``.
        compiled: Whether the model is compiled.
        seconds: Of audio in an utterance.
        steps: Optimiser steps in a segment.
        device: Where it runs.
        brief: Whether brief readings are measured, of which a run at the defaults has most; else full ones.
        arguments: Of `Watch`.
    """

    width: int = 256
    layers: int = 4
    batch: int = 16
    accumulate: int = 1
    precision: str = "32-true"
    compiled: bool = False
    seconds: float = 1.0
    steps: int = 10
    device: str = "cpu"
    brief: bool = False
    arguments: dict[str, Any] = field(default_factory=dict)


SMALL = {"every_n_steps": 60}  # only for the time that an outcome takes: 6 steps instead of 50
ROWS = {
    "cpu, 16 utterances a step": Row(arguments=SMALL, steps=20),
    "cpu, 16, brief readings": Row(arguments=SMALL, steps=20, brief=True),
    "cpu, 64 utterances a step": Row(accumulate=4, arguments=SMALL),
    "cpu, 64, bf16-mixed": Row(accumulate=4, precision="bf16-mixed", arguments=SMALL),
    "cpu, 64, compiled": Row(accumulate=4, compiled=True, arguments=SMALL),
    "cpu, 64, frame level alone": Row(accumulate=4, arguments={**SMALL, "watch": ["frame"]}),
    "cpu, 64, d = 768": Row(width=768, layers=2, accumulate=4, arguments=SMALL, steps=9),
    "cpu, 64, d = 768, unprojected": Row(
        width=768,
        layers=2,
        accumulate=4,
        arguments={**SMALL, "rows": RowSampling(projection=None, brief_utterances=None)},
        steps=9,
    ),
    "cuda, HuBERT-base": Row(768, 12, 32, precision="bf16-mixed", seconds=10.0, steps=80, device="cuda"),
    "cuda, HuBERT-base, compiled": Row(
        768, 12, 32, precision="bf16-mixed", compiled=True, seconds=10.0, steps=80, device="cuda"
    ),
    "cuda, 24 layers of 1024": Row(1024, 24, 16, precision="bf16-mixed", seconds=10.0, steps=80, device="cuda"),
}


class Student(nn.Module):
    """A small HuBERT: predicts which of 100 clusters each frame belongs to."""

    def __init__(self, row: Row) -> None:
        super().__init__()
        config = HubertConfig(
            hidden_size=row.width,
            num_hidden_layers=row.layers,
            num_attention_heads=row.width // 64,
            intermediate_size=4 * row.width,
            conv_dim=(max(row.width // 4, 64),) * 7,
            layerdrop=0.0,
            apply_spec_augment=False,
        )
        self.encoder = HubertModel(config)
        self.head = nn.Linear(row.width, 100)

    def forward(self, waveforms: Tensor) -> Tensor:
        """Loss."""
        scores = self.head(self.encoder(waveforms).last_hidden_state)
        targets = torch.arange(scores.shape[1], device=scores.device).remainder(100).expand(len(scores), -1)
        return nn.functional.cross_entropy(scores.flatten(0, 1), targets.flatten())


class Twin:
    """A model that is trained, watched or not."""

    def __init__(self, row: Row, folder: Path | None) -> None:
        torch.manual_seed(0)
        self.row = row
        self.model = Student(row).to(row.device)
        self.call = torch.compile(self.model) if row.compiled else self.model
        self.optimizer = torch.optim.AdamW(self.model.parameters(), 1e-5)
        self.data = torch.randn(64, row.batch, int(16_000 * row.seconds))
        self.steps = 0
        if folder is not None:
            settings = {"max_overhead": None, "autocast": self.autocast, "precision": row.precision, **row.arguments}
            if not row.brief:
                settings.setdefault("rows", RowSampling(brief_utterances=None))
            self.watch: Watch | None = Watch(self.call, folder, **settings)
        else:
            self.watch = None

    def autocast(self) -> contextlib.AbstractContextManager[Any]:
        """As in training."""
        mixed = self.row.precision == "bf16-mixed"
        return torch.autocast(self.row.device, torch.bfloat16, enabled=mixed)

    def step(self) -> float:
        """Seconds of one optimiser step, and of what watching does after it."""
        start = time.perf_counter()
        for index in range(self.row.accumulate):
            batch = self.data[(self.steps * self.row.accumulate + index) % len(self.data)].to(self.row.device)
            with self.watch.batch(batch) if self.watch is not None else contextlib.nullcontext():
                with self.autocast():
                    loss = self.call(batch) / self.row.accumulate
                loss.backward()
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.steps += 1
        if self.watch is not None:
            self.watch.step()
        if self.row.device == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter() - start

    def read_next(self) -> None:
        """The next step ends with a reading."""
        assert self.watch is not None
        self.watch._session.monitor._next_step = self.steps + 1


def segment(twin: Twin) -> tuple[list[float], float]:
    """Seconds of its steps, and the most memory that was held, in MB."""
    on_gpu = twin.row.device == "cuda"
    if on_gpu:
        torch.cuda.reset_peak_memory_stats()
    else:
        Path("/proc/self/clear_refs").write_text("5")
    if twin.watch is not None:
        twin.read_next()
    seconds = [twin.step() for _ in range(twin.row.steps)]
    if on_gpu:
        return seconds, torch.cuda.max_memory_allocated() / 1e6
    status = Path("/proc/self/status").read_text()
    return seconds, int(status.split("VmHWM:")[1].split()[0]) / 1e3


def ordinary_step(row: Row) -> float:
    """Seconds that watching takes around a step in which nothing is due."""
    small = Row(64, 1, 2, seconds=0.5)
    with tempfile.TemporaryDirectory() as folder:
        twin = Twin(small, Path(folder))
        assert twin.watch is not None
        batch = twin.data[0]
        for _ in range(4):
            twin.step()
        twin.watch.epoch()
        twin.step()
        twin.watch._session.monitor.outcome()
        twin.watch._session.monitor._next_step = 1 << 60
        start = time.perf_counter()
        for _ in range(10_000):
            for _ in range(row.accumulate):
                with twin.watch.batch(batch):
                    pass
            twin.watch.step()
        return (time.perf_counter() - start) / 10_000


def bootstrap(values: np.ndarray, of: Callable[[np.ndarray], float]) -> tuple[float, float, float]:
    """A statistic and its 90 % interval."""
    generator = np.random.default_rng(0)
    drawn = [of(values[generator.integers(len(values), size=len(values))]) for _ in range(2000)]
    return of(values), float(np.quantile(drawn, 0.05)), float(np.quantile(drawn, 0.95))


def percentile(rare: list[float], usual: list[float], segments: int) -> float:
    """The 99th of INTERVAL steps of which those around one reading are `rare`."""
    weights = [1.0 / segments] * len(rare)
    weights += [(INTERVAL - len(rare) / segments) / len(usual)] * len(usual)
    order = np.argsort(rare + usual)
    total = np.cumsum(np.array(weights)[order])
    return float(np.array(rare + usual)[order][np.searchsorted(total, 0.99 * total[-1])])


def measured(row: Row, segments: int) -> Iterator[str]:
    """Cells of the table."""
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        plain, watched = Twin(row, None), Twin(row, Path(folder))
        assert watched.watch is not None
        while not watched.watch.readings:  # collects its evaluation set, makes its first reading
            watched.step()
        while row.brief and not watched.watch.readings[-1].brief:  # the first ones are full
            segment(watched)
        for _ in range(3):
            plain.step()
        pairs: list[tuple[list[float], list[float]]] = []
        memory = []
        for index in range(segments):
            first, second = (plain, watched) if index % 2 else (watched, plain)
            found = {id(twin): segment(twin) for twin in (first, second)}
            if watched.watch.readings[-1].brief != row.brief:
                continue
            pairs.append((found[id(plain)][0], found[id(watched)][0]))
            memory.append(found[id(watched)][1] - found[id(plain)][1])
        lag = watched.watch.settings.lag + 1
        watched.watch.close(RuntimeError("enough"))
    step = statistics.median(s for one, _ in pairs for s in one)
    extra = np.array([sum(two) - sum(one) for one, two in pairs])
    cost, low, high = bootstrap(extra, lambda x: float(np.median(x)))
    ordinary = ordinary_step(row)
    for value in (cost, low, high):
        yield f"{100 * (value + INTERVAL * ordinary) / (INTERVAL * step):.2f}"
    usual = [s for one, _ in pairs for s in one]
    rare, calm = [s for _, two in pairs for s in two[:lag]], [s for _, two in pairs for s in two[lag:]]
    yield f"{percentile(rare, calm, segments) / percentile([], usual, segments):.3f}"
    yield f"{step:.3f}"
    yield f"{cost:.2f}"
    yield f"{1e6 * ordinary:.0f}"
    yield f"{statistics.median(memory):.0f}"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rows", nargs="*", help="names, or parts of them; all by default")
    parser.add_argument("--segments", type=int, default=6)
    arguments = parser.parse_args()
    print("| row | overhead, % | from | to | 99th percentile, ratio | step, s | reading, s | ordinary step, us | MB |")
    print("|---|---|---|---|---|---|---|---|---|")
    for name, row in ROWS.items():
        wanted = not arguments.rows or any(part in name for part in arguments.rows)
        if wanted and (row.device == "cpu" or torch.cuda.is_available()):
            print(f"| {name} | {' | '.join(measured(row, arguments.segments))} |", flush=True)


if __name__ == "__main__":
    main()
