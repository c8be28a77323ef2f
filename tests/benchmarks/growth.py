"""How the cost of one reading grows, with one thing changed at a time: width, layers, length, batches, utterances.

    python tests/benchmarks/growth.py --plot growth.png [--quick] [--sweeps width layers ...]

A stack of cheap blocks (a residual bottleneck and a norm) is watched with `rankwatch.Watch`, with an evaluation set of
noise, and nothing is trained, so nothing runs beside the decomposition. Seconds are those that the callback tells of
itself: ``forward`` and ``drawing`` in the training's thread, ``decomposition`` in a thread of its own on one core, and
``reporting`` (event file, JSONL, now and then pictures). The first reading, in which things are made ready, doesn't
count. The forward pass is this cheap stack's: a real encoder's is larger.

Slopes are those of log seconds over log x by least squares over the larger half of the points: 1 is proportional.
"""

from __future__ import annotations

import argparse
import json
import logging
import math
import statistics
import tempfile
import textwrap
import time
import warnings
from dataclasses import dataclass, replace
from pathlib import Path

import matplotlib
import numpy as np
import torch
from torch import Tensor, nn

from rankwatch import Loader, RowSampling, Watch

INPUTS = 32
"""Features of an input frame."""

PARTS = ("forward", "drawing", "decomposition", "reporting")
COLOURS = ("#0072B2", "#E69F00", "#D55E00", "#009E73")
"""Of Okabe and Ito's palette, which everybody can tell apart."""

MARKERS = "os^D"


@dataclass(frozen=True)
class Setting:
    """What is measured."""

    width: int = 768
    layers: int = 1
    length: int = 25
    batch: int = 32
    utterances: int = 512


WORDS = {
    "width": "width of the layers, d (columns)",
    "layers": "watched layers",
    "length": "length of an utterance (frames)",
    "batch": "utterances per evaluation pass",
    "utterances": "utterances in the evaluation set",
}

SWEEPS = {
    "width": (256, 512, 768, 1024, 2048, 4096),
    "layers": (1, 2, 4, 12, 24, 48),
    "length": (25, 50, 100, 200, 400),
    "batch": (4, 8, 16, 32, 64, 128),
    "utterances": (64, 128, 256, 512, 1024, 2048),
}

QUICK = {
    "width": (256, 512, 768),
    "layers": (1, 2, 4),
    "length": (25, 50, 100),
    "batch": (8, 16, 32),
    "utterances": (64, 128, 256),
}


class Block(nn.Module):
    """(B, T, d) to the same: a residual bottleneck, so that it costs little at any width."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.down, self.up = nn.Linear(width, 16), nn.Linear(16, width)
        self.norm = nn.LayerNorm(width)

    def forward(self, x: Tensor) -> Tensor:
        """One pass."""
        return self.norm(x + self.up(torch.relu(self.down(x))))


class Stack(nn.Module):
    """(B, T, inputs) to (B, T, d) through blocks; random features give the first of them many directions."""

    def __init__(self, width: int, layers: int) -> None:
        super().__init__()
        self.front = nn.Linear(INPUTS, width)
        self.blocks = nn.ModuleList(Block(width) for _ in range(layers))

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        """One pass; lengths are there for the callback."""
        x = torch.tanh(2.0 * self.front(x))
        for block in self.blocks:
            x = block(x)
        return x


def readings(setting: Setting, count: int) -> dict[str, float]:
    """Median seconds of a reading by part, over `count` readings after a first one."""
    torch.manual_seed(0)
    model = Stack(setting.width, setting.layers)
    data = torch.randn(setting.utterances, setting.length, INPUTS)
    lengths = torch.full((setting.utterances,), setting.length)
    probes = list(zip(data.split(setting.batch), lengths.split(setting.batch), strict=True))
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about ranks; here only time counts
        watch = Watch(
            model,
            folder,
            layers=["blocks.*"],
            eval_sets={"noise": Loader(probes, forward=lambda module, batch: module(*batch))},
            rows=RowSampling(n_utterances=setting.utterances),
            every_n_steps=1,
            max_overhead=None,
            strict=True,
        )
        with watch:
            for _ in range(count + 1):
                with watch.batch(probes[0]):
                    pass
                watch.step()
        records = [json.loads(line) for line in next(Path(folder).glob("*.jsonl")).read_text().splitlines()]
    costs = [record["seconds"] for record in records if record["record"] == "cost"]
    found = {}
    for part in PARTS:
        skipped = 2 if part == "reporting" and count > 1 else 1  # it is told with the next reading
        found[part] = statistics.median(cost.get(part, 0.0) for cost in costs[skipped:])
    return found


def slope(x: list[int], y: list[float]) -> float:
    """Of log y over log x, over the larger half of the points, and at least two."""
    half = max(2, math.ceil(len(x) / 2))
    return float(np.polyfit(np.log(x[-half:]), np.log(np.maximum(y[-half:], 1e-6)), 1)[0])


def sweep(name: str, values: tuple[int, ...], base: Setting, count: int) -> dict[str, list[float]]:
    """Measure one, and print its table."""
    fixed = ", ".join(f"{key} {getattr(base, key)}" for key in WORDS if key != name)
    print(f"\n{WORDS[name]}; {fixed}\n")
    print(f"| {name} | " + " | ".join(f"{part}, s" for part in PARTS) + " |\n|" + "---:|" * (len(PARTS) + 1))
    found: dict[str, list[float]] = {part: [] for part in PARTS}
    for value in values:
        seconds = readings(replace(base, **{name: value}), count)
        for part in PARTS:
            found[part].append(seconds[part])
        print(f"| {value} | " + " | ".join(f"{seconds[part]:.4f}" for part in PARTS) + " |", flush=True)
    slopes = [slope(list(values), found[part]) for part in PARTS]
    print("| slope | " + " | ".join(f"{one:.2f}" for one in slopes) + " |", flush=True)
    return found


def draw(path: Path, found: dict[str, dict[str, list[float]]], values: dict[str, tuple[int, ...]], note: str) -> None:
    """Small multiples, both axes logarithmic, all with the same seconds."""
    matplotlib.use("Agg")
    from matplotlib import pyplot

    columns = min(3, len(found) + 1)
    lines = -(-(len(found) + 1) // columns)
    figure, axes = pyplot.subplots(lines, columns, figsize=(4.2 * columns, 3.6 * lines), sharey=True, squeeze=False)
    panels = list(axes.flat)
    for axis, (name, parts) in zip(panels, found.items(), strict=False):
        x = list(values[name])
        ends = [parts[part][-1] for part in PARTS]
        for part, colour, marker, place in zip(PARTS, COLOURS, MARKERS, spread(ends), strict=True):
            axis.loglog(x, parts[part], color=colour, marker=marker, markersize=4.5, linewidth=1.6, label=part)
            text = f"{slope(x, parts[part]):.1f}"
            axis.annotate(text, (x[-1], place), (6, 0), textcoords="offset points", color=colour, va="center", size=9)
        axis.set_xticks(x, [str(value) for value in x])
        axis.minorticks_off()
        axis.set_xlim(x[0] / 1.25, x[-1] * 1.6)
        axis.set_xlabel(WORDS[name])
        axis.grid(alpha=0.3)
    for line in axes:
        line[0].set_ylabel("time of one reading (s)")
    for axis in panels[len(found) :]:
        axis.set_axis_off()
    handles, labels = panels[0].get_legend_handles_labels()
    panels[len(found)].legend(handles, labels, loc="upper left", frameon=False)
    panels[len(found)].text(0.02, 0.5, note, va="top", size=8.5, transform=panels[len(found)].transAxes)
    figure.tight_layout()
    figure.savefig(path, dpi=150)


def spread(ends: list[float], apart: float = 1.6) -> list[float]:
    """Where labels stand: at the lines' ends, but at least this factor from each other."""
    places = list(ends)
    last = 0.0
    for index in sorted(range(len(ends)), key=ends.__getitem__):
        places[index] = last = max(ends[index], last * apart)
    return places


def main() -> None:
    """Print the tables, and draw them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--plot", type=Path, help="where the figure goes")
    parser.add_argument("--readings", type=int, default=3, help="of which the median is taken")
    parser.add_argument("--quick", action="store_true", help="few and small points")
    parser.add_argument("--sweeps", nargs="+", choices=list(SWEEPS), default=list(SWEEPS))
    arguments = parser.parse_args()
    logging.getLogger("rankwatch").addHandler(logging.NullHandler())  # no table of each stack
    values = QUICK if arguments.quick else SWEEPS
    base = Setting(utterances=256) if arguments.quick else Setting()
    start = time.perf_counter()
    readings(Setting(width=256, utterances=64), 1)  # imports, and the libraries' first calls
    found = {name: sweep(name, values[name], base, arguments.readings) for name in arguments.sweeps}
    print(f"\n({time.perf_counter() - start:.0f} s, {torch.get_num_threads()} threads for the forward pass)")
    if arguments.plot is not None:
        settings = ", ".join(f"{key} {getattr(base, key)}" for key in WORDS)
        note = (
            f"Medians of {arguments.readings} readings, 4 frames and a mean\nof each utterance. "
            f"One thing is changed at a time\nfrom {textwrap.fill(settings, 44)}.\n\n"
            "Numbers at the lines' ends: slope over the larger\nhalf of the points (1 is proportional).\n\n"
            "The decomposition is done beside the training,\non one core; the rest in the training's thread."
        )
        draw(arguments.plot, found, values, note)


if __name__ == "__main__":
    main()
